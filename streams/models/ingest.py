"""Broadcasters, their stream keys, and present and past streams at the ingest server.

Operators write broadcasters, and mint and revoke keys. Callbacks and the reconciler write a
key's lease and the live streams by conditional update.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final

from django.core.validators import RegexValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from streamsite.security.text import OneLineText

#: A key's lease expires after this time without use: a lost callback locks nobody out.
LEASE: Final = timedelta(seconds=15)
#: A single-use key is accepted again from the same address for this long after its last use:
#: OBS reconnects automatically.
GRACE: Final = timedelta(seconds=60)
#: The RTMP application, and the prefix of every stream's path.
APPLICATION: Final = "live"
#: The pattern that deploy/mediamtx/mediamtx.yml accepts after `live/`.
SLUG: Final = r"[A-Za-z0-9_-]{1,64}"


class Broadcaster(OneLineText):
    """A person or team that goes live, always at the same path."""

    name = models.CharField(max_length=80, unique=True)
    slug = models.CharField(
        "path",
        max_length=64,
        unique=True,
        validators=[RegexValidator(rf"^{SLUG}\Z", "Use letters, digits, - and _ only.")],
        help_text="They publish to live/<path>. It is visible in playback addresses.",
    )
    enabled = models.BooleanField(
        default=True,
        help_text="If it is off, all keys are refused and live streams are disconnected within "
        "seconds.",
    )
    note = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("admin:streams_broadcaster_change", args=[self.pk])

    @property
    def path(self) -> str:
        return f"{APPLICATION}/{self.slug}"


class StreamKey(OneLineText):
    """A broadcaster's stream key. Only the SHA-256 of the key is stored."""

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        IN_USE = "in_use", "In use"
        USED_UP = "used_up", "Used up"
        EXPIRED = "expired", "Expired"
        REVOKED = "revoked", "Revoked"

    broadcaster = models.ForeignKey(Broadcaster, on_delete=models.CASCADE, related_name="keys")
    label = models.CharField(max_length=80, blank=True, help_text="For example: OBS at home.")
    prefix = models.CharField(
        max_length=8, editable=False, help_text="The first characters of the key."
    )
    # An unsalted digest is enough: a key has 192 random bits, so it can't be guessed.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(
        "expires",
        null=True,
        blank=True,
        help_text="Empty: never. A stream that is live at that time continues.",
    )
    single_use = models.BooleanField(
        "for one use",
        default=False,
        help_text="The key is accepted once, and again within 60 seconds from the same "
        "address.",
    )
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, editable=False)

    last_used_at = models.DateTimeField("last used", null=True, editable=False)
    last_address = models.CharField("from", max_length=64, blank=True, editable=False)
    # The lease: the source that uses the key now.
    source_id = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text="The ingest server's id of the connection.",
    )
    source_address = models.CharField(max_length=64, blank=True, editable=False)
    protocol = models.CharField(max_length=16, blank=True, editable=False)
    lease_seen_at = models.DateTimeField(
        null=True, editable=False, help_text="Empty or older than 15 seconds: the key is free."
    )

    class Meta:
        ordering: ClassVar = ["broadcaster", "-created_at", "-pk"]
        indexes: ClassVar = [
            models.Index(fields=["source_id"], name="stream_key_by_source"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.label})" if self.label else f"{self.prefix}…"

    def leased(self, now: datetime) -> bool:
        return self.lease_seen_at is not None and self.lease_seen_at > now - LEASE

    def state(self, now: datetime) -> State:
        if self.revoked_at:
            return self.State.REVOKED
        if self.leased(now):
            return self.State.IN_USE
        if self.expires_at and self.expires_at <= now:
            return self.State.EXPIRED
        if self.single_use and self.last_used_at and self.last_used_at <= now - GRACE:
            return self.State.USED_UP
        return self.State.ACTIVE


class LiveStream(models.Model):
    """One publish session at the ingest server, from its start to its end."""

    broadcaster = models.ForeignKey(
        Broadcaster, null=True, on_delete=models.SET_NULL, related_name="streams"
    )
    key = models.ForeignKey(
        StreamKey, null=True, on_delete=models.SET_NULL, related_name="streams"
    )
    server = models.CharField(max_length=16, help_text="The kind: mediamtx or nginx-rtmp.")
    path = models.CharField(max_length=80)
    source_type = models.CharField(max_length=24, blank=True)
    source_id = models.CharField(max_length=64)
    address = models.CharField(max_length=64, blank=True)
    started_at = models.DateTimeField("started", default=timezone.now)
    ended_at = models.DateTimeField("ended", null=True)
    seen_at = models.DateTimeField(
        default=timezone.now, help_text="The last time it was seen live."
    )
    grown_at = models.DateTimeField(null=True, help_text="The last time bytes arrived.")
    bytes_in = models.PositiveBigIntegerField(null=True)
    bitrate = models.PositiveBigIntegerField(null=True, help_text="bit/s, from bytes_in")
    tracks = models.JSONField(default=list, help_text="Names of codecs.")
    unknown = models.BooleanField(
        default=False,
        help_text="The ingest server can't be reached, so the stream may have ended.",
    )
    # nginx-rtmp calls twice at the end of a stream: the sequence numbers of the two calls.
    unpublished_call = models.PositiveBigIntegerField(null=True, editable=False)
    disconnected_call = models.PositiveBigIntegerField(null=True, editable=False)

    class Meta:
        ordering: ClassVar = ["-started_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["server", "path"],
                condition=models.Q(ended_at__isnull=True),
                name="one_live_stream_per_path",
            ),
            models.CheckConstraint(
                condition=models.Q(ended_at=None)
                | models.Q(ended_at__gte=models.F("started_at")),
                name="live_stream_does_not_end_before_it_begins",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["path", "source_id"], name="live_stream_by_source"),
        ]

    def __str__(self) -> str:
        return self.path


class IngestServer(models.Model):
    """One row per kind of server: the node that polls it, and whether it answers."""

    kind = models.CharField(max_length=16, unique=True)
    owner = models.CharField(max_length=128, blank=True, help_text="The node that polls it.")
    lease_until = models.DateTimeField(null=True)
    reached_at = models.DateTimeField(null=True)
    fault = models.TextField(blank=True, help_text="Why it can't be polled. Empty: it answers.")

    class Meta:
        ordering: ClassVar = ["kind"]

    def __str__(self) -> str:
        return self.kind
