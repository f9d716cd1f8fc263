"""Outputs of channels, as operators configure them. Workers never write these rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from streams.models.channel import Channel
from streams.outputs.platforms import (
    MAX_SESSION_HOURS,
    PLATFORMS,
    UPLOADS,
    Platform,
    address_fault,
    query_fault,
    secret_fault,
    session,
    session_fault,
    typed_address_fault,
    typed_query_fault,
    watch_url_fault,
)
from streamsite.security.fields import SecretField
from streamsite.security.secret import Secret, Unreadable
from streamsite.security.text import OneLineText


class Output(OneLineText):
    """One destination of a channel."""

    added_at = models.DateTimeField(
        null=True,
        default=timezone.now,
        editable=False,
        help_text="Its uptime counts from then on; empty for outputs of an earlier version.",
    )
    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="outputs")
    name = models.CharField(max_length=80)
    platform = models.CharField(
        max_length=24,
        choices=[(platform.value, PLATFORMS[platform].label) for platform in Platform],
        default=Platform.YOUTUBE.value,
    )
    url = models.CharField(
        "address",
        max_length=500,
        blank=True,
        help_text="If empty, the platform's own address is used. It is shown to everybody, so "
        "it "
        "must not contain a key, password or token.",
    )
    key = SecretField("stream key", blank=True, default="")
    secret_query = SecretField(
        "secret parameters",
        blank=True,
        default="",
        help_text="The parameters your server expects after the “?” of its address, such as "
        "token=… or, for SRT, passphrase=….",
    )
    verify_certificate = models.BooleanField(
        "verify the certificate",
        default=True,
        help_text="For rtmps:// and https:// addresses. If it is off, anyone on the network "
        "path between "
        "this machine and the server can read the stream key.",
    )
    roll_over_hours = models.PositiveSmallIntegerField(
        "new session every",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_SESSION_HOURS)],
        help_text="Hours. The session changes at the end of an item. Empty: the platform's "
        "default.",
    )
    second_node = models.BooleanField(
        "send from a second node",
        default=False,
        # Until its restart, the version before adds outputs without it.
        db_default=False,
        help_text="Another node plays the same programme, in step, and sends this output: it "
        "goes on when the node that plays the channel is lost. For a platform's backup ingest. "
        "Without another node, the node that plays the channel sends it.",
    )
    account = models.ForeignKey(
        "streams.PlatformAccount",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="outputs",
        help_text="The platform is asked through it whether viewers see the stream.",
    )
    watch_url = models.CharField(
        "address to look at",
        max_length=500,
        blank=True,
        default="",
        # Until its restart, the version before adds outputs without it.
        db_default="",
        help_text="The page or HLS address at which viewers watch it. It is shown to "
        "everybody.",
    )
    title_template = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="The platform's title. {channel}, {now} and {next} stand for the names. "
        "Empty: the title stays.",
    )
    description_template = models.TextField(
        max_length=4000,
        blank=True,
        default="",
        db_default="",
        help_text="YouTube's description, in the same way. Empty: the description stays.",
    )
    category = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="Twitch: the id of the category (game_id). Empty: it stays.",
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering: ClassVar = ["channel", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel", "name"], name="output_name_is_unique_in_its_channel"
            ),
            models.CheckConstraint(
                # The rest of the rule is `address_fault`.
                condition=~models.Q(url__contains="@")
                & ~models.Q(url__icontains="passphrase=")
                & ~models.Q(url__icontains="streamid=")
                & ~models.Q(url__icontains="token="),
                name="output_address_holds_no_secret",
                violation_error_message="The address must not hold secrets: put them into the "
                "stream key or the secret parameters.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.name}"

    @property
    def address(self) -> str:
        """The address it is sent to, without the key."""
        return self.url or PLATFORMS[Platform(self.platform)].url

    @property
    def roll_over(self) -> tuple[timedelta, timedelta]:
        """Session ages at which it is rolled over: at an item's end, and at the latest."""
        return session(Platform(self.platform), self.roll_over_hours)

    @property
    def keyed(self) -> bool:
        """Whether the address needs no secret: one is stored, or the platform has keys."""
        preset = PLATFORMS[Platform(self.platform)]
        return bool(self.key or self.secret_query) or preset.needs_key

    @property
    def encrypted(self) -> bool:
        """Whether the server presents a certificate (rtmps, https)."""
        return self.address.lower().startswith(("rtmps:", "https:"))

    @property
    def unverified(self) -> bool:
        """Whether the stream and its key go to a server whose certificate is not verified."""
        return self.encrypted and not self.verify_certificate

    @property
    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields each field with the fault that keeps it from being sent; empty: no fault."""
        key, query = self.key or Secret(""), self.secret_query or Secret("")
        uploads = Platform(self.platform) in UPLOADS
        yield "url", address_fault(self.address, keyed=self.keyed, uploads=uploads)
        yield "key", secret_fault(key)
        yield "secret_query", query_fault(self.address, query, key)

    def clean(self) -> None:
        for name in ("key", "secret_query"):
            value: Any = getattr(self, name)
            if isinstance(value, str):
                setattr(self, name, Secret(value))
        for name, fault in self.faults:
            # An unreadable secret was not typed here: it stays as stored.
            if fault and not isinstance(getattr(self, name), Unreadable):
                raise ValidationError({name: fault})
        if fault := typed_address_fault(self.address):
            raise ValidationError({"url": fault})
        if fault := typed_query_fault(self.address, self.secret_query or Secret("")):
            raise ValidationError({"secret_query": fault})
        if fault := watch_url_fault(self.watch_url):
            raise ValidationError({"watch_url": fault})
        if self.account is not None and (fault := self.account.fits(self)):
            raise ValidationError(fault)
        if fault := session_fault(Platform(self.platform), self.roll_over_hours):
            # Not tied to a field: some forms with the platform do not have the hours.
            raise ValidationError(fault)
