"""Who may go live and with which key, and what is or was live at the ingest server.

People write broadcasters, and mint and revoke keys. Callbacks and the reconciler write a key's
lease and the live streams, by conditional update.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar, Final

from django.core.validators import RegexValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from streamsite.security.text import OneLineText

#: A key that was seen in use so long ago is free again: a lost callback locks nobody out.
LEASE: Final = timedelta(seconds=15)
#: So long after it was in use last, a key for one use is taken again from the same address: OBS
#: reconnects by itself.
GRACE: Final = timedelta(seconds=60)
#: The application of RTMP, and what the path of each stream begins with.
APPLICATION: Final = "live"
#: What deploy/mediamtx/mediamtx.yml takes behind `live/`.
SLUG: Final = r"[A-Za-z0-9_-]{1,64}"


class Broadcaster(OneLineText):
    """Somebody who goes live, always at the same path."""

    name = models.CharField(max_length=80, unique=True)
    slug = models.CharField(
        "path",
        max_length=64,
        unique=True,
        validators=[RegexValidator(rf"^{SLUG}\Z", "Use letters, digits, - and _ only.")],
        help_text="They publish to live/ and this. It shows in playback addresses.",
    )
    enabled = models.BooleanField(
        default=True,
        help_text="Without it no key is accepted, and what is live is ended within seconds.",
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
    """A key of a broadcaster's. The key itself is not kept, only its SHA-256."""

    class State(models.TextChoices):
        ACTIVE = "active", "Active"
        IN_USE = "in_use", "In use"
        USED_UP = "used_up", "Used up"
        EXPIRED = "expired", "Expired"
        REVOKED = "revoked", "Revoked"

    broadcaster = models.ForeignKey(Broadcaster, on_delete=models.CASCADE, related_name="keys")
    label = models.CharField(max_length=80, blank=True, help_text="Such as: OBS at home.")
    prefix = models.CharField(max_length=8, editable=False, help_text="What it begins with.")
    # A plain digest is enough: a key is 192 random bits, which nobody guesses from it.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(
        "expires", null=True, blank=True, help_text="Empty: never. What is live then goes on."
    )
    single_use = models.BooleanField(
        "for one use",
        default=False,
        help_text="It is taken once, and again within 60 seconds from the same address.",
    )
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)
    created_by = models.CharField(max_length=150, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by = models.CharField(max_length=150, blank=True, editable=False)

    last_used_at = models.DateTimeField("last used", null=True, editable=False)
    last_address = models.CharField("from", max_length=64, blank=True, editable=False)
    # The lease: who uses it now.
    source_id = models.CharField(
        max_length=64, blank=True, editable=False, help_text="As the server names it."
    )
    source_address = models.CharField(max_length=64, blank=True, editable=False)
    protocol = models.CharField(max_length=16, blank=True, editable=False)
    lease_seen_at = models.DateTimeField(
        null=True, editable=False, help_text="Empty or 15 seconds old: it is free."
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
    started_at = models.DateTimeField("began", default=timezone.now)
    ended_at = models.DateTimeField("ended", null=True)
    seen_at = models.DateTimeField(default=timezone.now, help_text="When it was live last.")
    grown_at = models.DateTimeField(null=True, help_text="When bytes came last.")
    bytes_in = models.PositiveBigIntegerField(null=True)
    bitrate = models.PositiveBigIntegerField(null=True, help_text="bit/s, from bytes_in")
    tracks = models.JSONField(default=list, help_text="Names of codecs.")
    unknown = models.BooleanField(
        default=False, help_text="The server can't be asked, so it may have ended."
    )
    # nginx-rtmp calls twice at the end of a stream: numbers of these calls, in their order.
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
    """One row a kind of server: which node asks it, and whether it answers."""

    kind = models.CharField(max_length=16, unique=True)
    owner = models.CharField(max_length=128, blank=True, help_text="The node that asks it.")
    lease_until = models.DateTimeField(null=True)
    reached_at = models.DateTimeField(null=True)
    fault = models.TextField(blank=True, help_text="Why it can't be asked; empty: it can.")

    class Meta:
        ordering: ClassVar = ["kind"]

    def __str__(self) -> str:
        return self.kind
