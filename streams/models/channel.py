"""Channels and their outputs, as operators configure them. Workers never write these rows."""

from __future__ import annotations

from functools import cache
from typing import ClassVar, Final
from zoneinfo import ZoneInfo, available_timezones

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse

from media_library.house_format import RATES, HouseFormat, Logo
from media_library.models import Playlist
from streams.playout.contract.picture import Remedy
from streams.programme.model import Order as PlayOrder
from streams.programme.model import Return
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
#: What may be done about an output that is late.
LATE_REMEDIES: Final = [
    (Remedy.REPORT.value, "Report it"),
    (Remedy.RENEW.value, "Report it, and start a new session"),
]


def _remedy(
    name: str, help_text: str, choices: list[tuple[str, str]] = ON_A_FLAW
) -> models.CharField[str, str]:
    return models.CharField(
        name,
        max_length=8,
        choices=choices,
        default=Remedy.REPORT.value,
        # Until its restart, the version before adds channels without it.
        db_default=Remedy.REPORT.value,
        help_text=help_text,
    )


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

    if_black = _remedy("a black picture", "After 15 seconds.")
    if_still = _remedy(
        "a still picture",
        "After two minutes. Radio with one picture is no flaw: ignore it.",
    )
    if_silent = _remedy(
        "missing sound",
        "After 20 seconds of silence, five minutes of sound that is hardly audible, or two "
        "minutes of sound that is far too loud.",
    )
    if_late = _remedy(
        "an output that is late",
        "When its destination takes less than is sent for 30 seconds. A new session may get a "
        "better connection. Twice an hour at most.",
        LATE_REMEDIES,
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
