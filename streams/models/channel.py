"""Channels and their outputs, as operators configure them. Workers never write these rows."""

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
from django.utils import timezone

from media_library.house_format import RATES, HouseFormat, Logo
from media_library.models import Playlist
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
from streams.playout.contract.picture import Remedy
from streams.programme.model import Order as PlayOrder
from streams.programme.model import Return
from streamsite.security.fields import SecretField
from streamsite.security.secret import Secret, Unreadable
from streamsite.security.text import OneLineText

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


#: Years. No country's film ratings exceed this.
MAX_AGE_RATING: Final = 21


def validate_max_rating(age: int | None) -> None:
    """Raises `ValidationError` for an age above `MAX_AGE_RATING`."""
    if age is not None and age > MAX_AGE_RATING:
        raise ValidationError(
            {"max_rating": f"Choose an age of {MAX_AGE_RATING} years at most."}
        )


def _even(value: int) -> None:
    if value % 2:
        raise ValidationError(f"{value} is odd: H.264 needs an even number of pixels.")


def default_time_zone() -> str:
    """Returns the site's time zone."""
    return str(settings.TIME_ZONE)


def validate_time_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError(
            f"There is no time zone {name}. Use a name such as Europe/Berlin or UTC."
        )


@cache
def zone_of(name: str) -> ZoneInfo:
    """Returns the time zone; UTC if the name is unknown."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Forms reject it, but one channel's invalid row must not block the others.
        log.warning("time_zone.unknown", name=name)
        return ZoneInfo("UTC")


#: What may be done about a flaw of picture or sound.
ON_A_FLAW: Final = [
    (Remedy.IGNORE.value, "Ignore it"),
    (Remedy.REPORT.value, "Report it"),
    (Remedy.SKIP.value, "Report it, and skip the item"),
    (Remedy.FILLER.value, "Report it, and play a filler, then the next item"),
]


class Channel(OneLineText):
    """A 24/7 linear programme in one house format."""

    class DesiredState(models.TextChoices):
        OFF = "off", "Off"
        ON = "on", "On"

    class Live(models.TextChoices):
        AUTO = "auto", "Automatic"
        TAKE = "take", "Taken by an operator"
        RETURN = "return", "Returned by an operator"

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
        help_text="Plays when the programme can't be played. It is stored on this machine's "
        "disk.",
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
        validators=[validate_time_zone],
        help_text="Blocks and on-air hours use this time zone, for example Europe/Berlin.",
    )
    max_rating = models.PositiveSmallIntegerField(
        "maximum age rating",
        null=True,
        blank=True,
        help_text="Years, for the whole channel. Items with a higher rating and items without "
        "a "
        "rating are not played.",
    )
    on_return = models.CharField(
        "after an interruption",
        max_length=10,
        choices=[
            (Return.CONTINUE.value, "Continue the item where it was cut"),
            (Return.WALL_CLOCK.value, "Continue where the playlist would be by now"),
            (Return.RESTART.value, "Play the item again from its start"),
            (Return.NEXT.value, "Continue with the next item"),
        ],
        default=Return.CONTINUE.value,
        help_text="Applies when a block, a failure or a stop has cut an item.",
    )
    preview = models.BooleanField(
        default=True, help_text="Show the video in the admin. It counts as an output."
    )
    public_guide = models.BooleanField(
        default=False,
        help_text="The guide for players (XMLTV) and the now-and-next data for overlays are "
        "readable without a login.",
    )
    public_status = models.BooleanField(
        "public status page",
        default=False,
        # Until its restart, the version before adds channels without it.
        db_default=False,
        help_text="Whether it is on the air, and its uptime of 90 days, are readable without a "
        "login. Causes and addresses are not.",
    )

    test_channel = models.BooleanField(
        default=False,
        # Until its restart, the version before adds channels without it.
        db_default=False,
        help_text="Faults may be drilled on it without a further confirmation.",
    )

    # Their defaults of the database: until its restart, the version before adds channels
    # without them.
    if_black = models.CharField(
        "a black picture",
        max_length=8,
        choices=ON_A_FLAW,
        default=Remedy.REPORT.value,
        db_default=Remedy.REPORT.value,
        help_text="After 15 seconds.",
    )
    if_still = models.CharField(
        "a still picture",
        max_length=8,
        choices=ON_A_FLAW,
        default=Remedy.REPORT.value,
        db_default=Remedy.REPORT.value,
        help_text="After two minutes. Radio with one picture is no flaw: ignore it.",
    )
    if_silent = models.CharField(
        "missing sound",
        max_length=8,
        choices=ON_A_FLAW,
        default=Remedy.REPORT.value,
        db_default=Remedy.REPORT.value,
        help_text="After 20 seconds of silence, five minutes of sound that is hardly audible, "
        "or two minutes of sound that is far too loud.",
    )
    if_late = models.CharField(
        "an output that is late",
        max_length=8,
        choices=[
            (Remedy.REPORT.value, "Report it"),
            (Remedy.RENEW.value, "Report it, and start a new session"),
        ],
        default=Remedy.REPORT.value,
        db_default=Remedy.REPORT.value,
        help_text="When its destination takes less than is sent for 30 seconds. A new session "
        "may get a better connection. Twice an hour at most.",
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
        help_text="Hash of the image. It is stored as logos/<hash>.png.",
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
        help_text="Percent of the video's width.",
    )

    desired_state = models.CharField(
        max_length=3, choices=DesiredState, default=DesiredState.OFF, editable=False
    )
    ordered_at = models.DateTimeField(null=True, editable=False)
    ordered_by = models.CharField(max_length=150, blank=True, editable=False)
    switched_at = models.DateTimeField(
        null=True,
        editable=False,
        help_text="Time of the last start or stop order. Restarts do not count.",
    )
    hours_changed_at = models.DateTimeField(
        null=True, editable=False, help_text="The on-air hours take effect from this time on."
    )
    live_debounce = models.PositiveSmallIntegerField(
        "takes over after",
        default=2,
        validators=[MaxValueValidator(30)],
        help_text="Seconds for which a live feed must arrive before it takes over. If there "
        "is no "
        "picture two seconds later, viewers see a slate that announces it.",
    )
    live_hold = models.PositiveSmallIntegerField(
        "waits for a lost feed",
        default=20,
        validators=[MaxValueValidator(600)],
        help_text="Seconds for which a slate is shown. Then the programme continues.",
    )
    live_order = models.CharField(max_length=6, choices=Live, default=Live.AUTO, editable=False)
    live_ordered_at = models.DateTimeField(null=True, editable=False)
    live_broadcaster = models.ForeignKey(
        "streams.Broadcaster",
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        editable=False,
        help_text="The broadcaster whom an operator took.",
    )
    # Counters, not flags: the worker stores the orders it has carried out in its own row
    # (ChannelState). An order is never lost and never carried out twice, and neither side
    # writes the other's row.
    restarts = models.PositiveIntegerField(default=0, editable=False)
    skips = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]
        permissions: ClassVar = [("operate_channel", "Can start, stop and skip")]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(desired_state__in=["on", "off"]),
                name="channel_desired_state_is_on_or_off",
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
            models.CheckConstraint(
                condition=models.Q(if_black__in=[value for value, _ in ON_A_FLAW])
                & models.Q(if_still__in=[value for value, _ in ON_A_FLAW])
                & models.Q(if_silent__in=[value for value, _ in ON_A_FLAW])
                & models.Q(if_late__in=[Remedy.REPORT.value, Remedy.RENEW.value]),
                name="channel_remedies_are_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("admin:streams_channel_change", args=[self.pk])

    def clean(self) -> None:
        validate_max_rating(self.max_rating)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of its blocks and hours; UTC if the name is unknown."""
        return zone_of(self.time_zone)

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
