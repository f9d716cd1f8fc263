"""What people want: channels and their outputs. Workers never write these rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo, available_timezones

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse

from media_library.house_format import RATES, HouseFormat, Logo
from media_library.models import Playlist
from streams.outputs.platforms import (
    MAX_SESSION_HOURS,
    PLATFORMS,
    Platform,
    address_fault,
    query_fault,
    secret_fault,
    session,
    session_fault,
    typed_address_fault,
    typed_query_fault,
)
from streams.programme.model import Order as PlayOrder
from streams.programme.model import Return
from streamsite.security.fields import SecretField
from streamsite.security.secret import Secret, Unreadable
from streamsite.security.text import OneLineText

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


#: Years: no country's ratings of films go beyond.
OLDEST: Final = 21


def checked_age(age: int | None) -> None:
    """Raises `ValidationError` for a maximum that nobody can mean."""
    if age is not None and age > OLDEST:
        raise ValidationError({"max_rating": f"Choose an age of {OLDEST} years at most."})


def _even(value: int) -> None:
    if value % 2:
        raise ValidationError(f"{value} is odd: H.264 needs an even number of pixels.")


def default_time_zone() -> str:
    """The site's."""
    return str(settings.TIME_ZONE)


def _known_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError(
            f"There is no time zone {name}: they are named like Europe/Berlin or UTC."
        )


@cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # No form lets it in; but one channel's wrong row must not hold up all others.
        log.warning("time_zone.unknown", name=name)
        return ZoneInfo("UTC")


class Channel(OneLineText):
    """A 24/7 linear programme in one house format."""

    class Order(models.TextChoices):
        OFF = "off", "Off"
        ON = "on", "On"

    class Live(models.TextChoices):
        AUTO = "auto", "By itself"
        TAKE = "take", "Taken by hand"
        RETURN = "return", "Returned by hand"

    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    playlist = models.ForeignKey(
        Playlist, null=True, blank=True, on_delete=models.PROTECT, related_name="channels"
    )
    filler = models.ForeignKey(
        Playlist,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="filled_channels",
        help_text="Played when the programme can't be: it is kept on this machine's disk.",
    )
    playlist_order = models.CharField(
        max_length=8,
        choices=[
            (PlayOrder.LOOP.value, "Loop"),
            (PlayOrder.SHUFFLE.value, "Shuffle, without repeats soon after"),
        ],
        default=PlayOrder.LOOP.value,
    )
    time_zone = models.CharField(
        max_length=64,
        default=default_time_zone,
        validators=[_known_zone],
        help_text="Blocks and hours are in its time, as Europe/Berlin.",
    )
    max_rating = models.PositiveSmallIntegerField(
        "maximum age rating",
        null=True,
        blank=True,
        help_text="Years, for the whole channel. Nothing above it is played, and nothing that "
        "nobody has rated.",
    )
    on_return = models.CharField(
        "after an interruption",
        max_length=10,
        choices=[
            (Return.CONTINUE.value, "Go on where the item was cut"),
            (Return.WALL_CLOCK.value, "Go on where the list would be by now"),
            (Return.RESTART.value, "Play the item again from its beginning"),
            (Return.NEXT.value, "Go on with the item after it"),
        ],
        default=Return.CONTINUE.value,
        help_text="When a block, a failure or a stop has cut an item.",
    )
    preview = models.BooleanField(
        default=True, help_text="Show the picture in the admin. It counts as an output."
    )
    public_guide = models.BooleanField(
        default=False,
        help_text="Anybody may read what is on, without a login: the guide for players (XMLTV) "
        "and what plays now and next, for overlays.",
    )

    width = models.PositiveIntegerField(
        default=1280, validators=[MinValueValidator(64), MaxValueValidator(3840), _even]
    )
    height = models.PositiveIntegerField(
        default=720, validators=[MinValueValidator(64), MaxValueValidator(2160), _even]
    )
    fps = models.PositiveSmallIntegerField(
        "frame rate", default=30, choices=[(rate, f"{rate} fps") for rate in RATES]
    )
    video_bitrate = models.PositiveIntegerField(
        default=3_000_000,
        validators=[MinValueValidator(50_000), MaxValueValidator(51_000_000)],
        help_text="bit/s",
    )
    audio_bitrate = models.PositiveIntegerField(
        default=128_000,
        validators=[MinValueValidator(32_000), MaxValueValidator(320_000)],
        help_text="bit/s",
    )

    logo = models.CharField(
        max_length=16,
        blank=True,
        editable=False,
        help_text="Names the picture in the storage by its content: logos/<this>.png.",
    )
    logo_corner = models.CharField(
        max_length=2,
        default="tr",
        choices=[
            ("tl", "Top left"),
            ("tr", "Top right"),
            ("bl", "Bottom left"),
            ("br", "Bottom right"),
        ],
    )
    logo_width = models.PositiveSmallIntegerField(
        default=12,
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text="Percent of the picture's width.",
    )

    order = models.CharField(max_length=3, choices=Order, default=Order.OFF, editable=False)
    ordered_at = models.DateTimeField(null=True, editable=False)
    ordered_by = models.CharField(max_length=150, blank=True, editable=False)
    switched_at = models.DateTimeField(
        null=True, editable=False, help_text="When it was ordered on or off: no restart counts."
    )
    hours_changed_at = models.DateTimeField(
        null=True, editable=False, help_text="Its hours stop it from then on, not before."
    )
    live_debounce = models.PositiveSmallIntegerField(
        "goes over after",
        default=2,
        validators=[MaxValueValidator(30)],
        help_text="Seconds for which a live feed must have come. If there is no picture two "
        "seconds later, viewers see that somebody goes live soon.",
    )
    live_hold = models.PositiveSmallIntegerField(
        "waits for a lost feed",
        default=20,
        validators=[MaxValueValidator(600)],
        help_text="Seconds, with a slate on. Then the programme goes on.",
    )
    live_order = models.CharField(max_length=6, choices=Live, default=Live.AUTO, editable=False)
    live_ordered_at = models.DateTimeField(null=True, editable=False)
    live_broadcaster = models.ForeignKey(
        "streams.Broadcaster",
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        editable=False,
        help_text="Who was taken by hand.",
    )
    # Counters, not flags: the worker keeps what it has done in its own row (ChannelState), so
    # an order is never lost and never carried out twice, and neither pen writes in the other's
    # row.
    restarts = models.PositiveIntegerField(default=0, editable=False)
    skips = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]
        permissions: ClassVar = [("operate_channel", "Can start, stop and skip")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(order__in=["on", "off"]), name="channel_order_is_on_or_off"
            ),
            models.CheckConstraint(
                condition=models.Q(fps__in=list(RATES)), name="channel_rate_has_a_grid"
            ),
            models.CheckConstraint(
                condition=models.Q(playlist_order__in=[order.value for order in PlayOrder]),
                name="channel_playlist_order_is_loop_or_shuffle",
            ),
            models.CheckConstraint(
                condition=models.Q(on_return__in=[rule.value for rule in Return]),
                name="channel_return_rule_is_known",
            ),
            models.CheckConstraint(
                condition=models.Q(live_order__in=["auto", "take", "return"]),
                name="channel_live_order_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("admin:streams_channel_change", args=[self.pk])

    def clean(self) -> None:
        checked_age(self.max_rating)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of its blocks and hours; UTC where there is none of that name."""
        return _zone(self.time_zone)

    @property
    def house_format(self) -> HouseFormat:
        return HouseFormat(
            width=self.width,
            height=self.height,
            fps=self.fps,
            video_bitrate=self.video_bitrate,
            audio_bitrate=self.audio_bitrate,
            logo=Logo(self.logo, self.logo_corner, self.logo_width) if self.logo else None,
        )


class Output(OneLineText):
    """One destination of a channel."""

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
        help_text="Left empty, the platform's own address is used. It is shown to everybody: "
        "no key, password or token belongs in it.",
    )
    key = SecretField("stream key", blank=True, default="")
    secret_query = SecretField(
        "secret parameters",
        blank=True,
        default="",
        help_text="What your server wants after the “?” of its address, such as token=… or, of "
        "SRT, passphrase=….",
    )
    verify_certificate = models.BooleanField(
        "verify the certificate",
        default=True,
        help_text="Of rtmps:// addresses. Switched off, whoever stands between this machine "
        "and the server can read the stream key.",
    )
    roll_over_hours = models.PositiveSmallIntegerField(
        "new session every",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_SESSION_HOURS)],
        help_text="Hours, at an item's end. Left empty: what suits the platform.",
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
        """Where it is sent, without the key."""
        return self.url or PLATFORMS[Platform(self.platform)].url

    @property
    def roll_over(self) -> tuple[timedelta, timedelta]:
        """After how long its session is rolled over: at an item's end, and at the latest."""
        return session(Platform(self.platform), self.roll_over_hours)

    @property
    def keyed(self) -> bool:
        """Whether its address needs no secret in it."""
        preset = PLATFORMS[Platform(self.platform)]
        return bool(self.key or self.secret_query) or preset.needs_key

    @property
    def encrypted(self) -> bool:
        """Whether the server shows a certificate."""
        return self.address.lower().startswith("rtmps:")

    @property
    def unverified(self) -> bool:
        """Whether the stream and its key go to a server whose certificate is not verified."""
        return self.encrypted and not self.verify_certificate

    @property
    def faults(self) -> Iterator[tuple[str, str]]:
        """What keeps it from being sent, in sentences, each with the field that it is about."""
        key, query = self.key or Secret(""), self.secret_query or Secret("")
        yield "url", address_fault(self.address, keyed=self.keyed)
        yield "key", secret_fault(key)
        yield "secret_query", query_fault(self.address, query, key)

    def clean(self) -> None:
        for name in ("key", "secret_query"):
            value: Any = getattr(self, name)
            if isinstance(value, str):
                setattr(self, name, Secret(value))
        for name, fault in self.faults:
            # One that can't be read was not typed here, and stays as it is stored.
            if fault and not isinstance(getattr(self, name), Unreadable):
                raise ValidationError({name: fault})
        if fault := typed_address_fault(self.address):
            raise ValidationError({"url": fault})
        if fault := typed_query_fault(self.address, self.secret_query or Secret("")):
            raise ValidationError({"secret_query": fault})
        if fault := session_fault(Platform(self.platform), self.roll_over_hours):
            # Of no field: the hours are not in every form in which the platform is chosen.
            raise ValidationError(fault)
