"""The schedule that operators set up: blocks over the base playlist, and on-air hours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time, timedelta
from typing import Any, ClassVar, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from media_library.models import MediaItem, Playlist
from streams.models.channel import Channel, validate_max_rating
from streams.programme.model import NO_LIST, Order, Rotation, Start
from streams.programme.model import Block as TimeBlock
from streamsite.security.text import OneLineText

#: Monday is the lowest bit of `days`.
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EVERY_DAY: Final = 0b111_1111
#: Highest and lowest priority (±): keeps a typing error from making a block that no other
#: block can override.
MAX_PRIORITY: Final = 100
_DAY: Final = timedelta(days=1)


def clock(at: time) -> str:
    """Formats a time of day as HH:MM, with seconds unless they are zero."""
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


class Span(OneLineText):
    """A daily time range on some weekdays, in the channel's time zone.

    An end that is not after the start is on the next day.
    """

    days = models.PositiveSmallIntegerField(
        default=EVERY_DAY,
        help_text="Sum of the weekdays: Monday is 1, Tuesday 2, Wednesday 4 ... Sunday 64.",
    )
    starts = models.TimeField("from")
    ends = models.TimeField(
        "to", help_text="An end that is not after the start is on the next day."
    )
    first_day = models.DateField(null=True, blank=True)
    last_day = models.DateField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def weekdays(self) -> frozenset[int]:
        """The weekdays; Monday is 0."""
        return frozenset(day for day in range(7) if self.days >> day & 1)

    @staticmethod
    def of_weekdays(days: Iterable[int]) -> int:
        """Returns the value of `days` for these weekdays; Monday is 0."""
        return sum(1 << day for day in set(days))

    @property
    def days_in_words(self) -> str:
        if self.days == EVERY_DAY:
            return "every day"
        return ", ".join(WEEKDAYS[day] for day in sorted(self.weekdays))

    @property
    def dates_in_words(self) -> str:
        """The date limits in words; empty: no limits."""
        first, last = (
            f"{day.day} {day:%b %Y}" if day else "" for day in (self.first_day, self.last_day)
        )
        if first and first == last:
            return f"only on {first}"
        return " ".join(
            word for word in (first and f"from {first}", last and f"until {last}") if word
        )

    @property
    def in_words(self) -> str:
        """Days, times and dates; for a single day only its date and times."""
        if self.first_day and self.first_day == self.last_day and self.has_a_day:
            return f"{self.dates_in_words}, {self.times_in_words}"
        parts = (self.days_in_words, self.times_in_words, self.dates_in_words)
        return ", ".join(filter(None, parts)) + ("" if self.has_a_day else ": never")

    @property
    def times_in_words(self) -> str:
        return f"{clock(self.starts)} to {clock(self.ends)}"

    @property
    def has_a_day(self) -> bool:
        """Whether at least one of its weekdays is within its dates."""
        if self.first_day is None or self.last_day is None:
            return bool(self.weekdays)
        first, days = self.first_day, (self.last_day - self.first_day).days + 1
        within = {(first + number * _DAY).weekday() for number in range(min(days, 7))}
        return bool(within & self.weekdays)

    def timed(self, rotation: Rotation = NO_LIST, **more: Any) -> TimeBlock:
        """Return it as a value, whose occurrences can be computed."""
        return TimeBlock(
            pk=self.pk,
            rotation=rotation,
            starts=self.starts,
            ends=self.ends,
            days=self.weekdays,
            first_day=self.first_day,
            last_day=self.last_day,
            **{"name": ""} | more,
        )

    def clean(self) -> None:
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValidationError({"last_day": "The last day is before the first day."})
        if not 0 < self.days <= EVERY_DAY:
            raise ValidationError({"days": "Choose at least one day."})
        if not self.has_a_day:
            raise ValidationError(
                {
                    "days": "None of these days is within the dates below. Change the days or "
                    "dates."
                }
            )


class Block(Span):
    """A playlist that replaces the base playlist at certain times."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="blocks")
    name = models.CharField(max_length=80)
    playlist = models.ForeignKey(Playlist, on_delete=models.PROTECT, related_name="blocks")
    order = models.CharField(
        max_length=8,
        choices=[(order.value, order.value.capitalize()) for order in Order],
        default=Order.LOOP.value,
    )
    priority = models.SmallIntegerField(
        default=0,
        help_text="If blocks overlap, the highest priority wins; of equal ones, the last to "
        "start.",
    )
    start = models.CharField(
        max_length=4,
        choices=[
            (Start.SOFT.value, "Soft: waits for the item's end"),
            (Start.HARD.value, "Hard: cuts in at its time"),
        ],
        default=Start.SOFT.value,
    )
    fit = models.BooleanField(
        "exact fit",
        default=False,
        help_text="The block ends on time. Items that no longer fit are replaced by filler.",
    )
    max_rating = models.PositiveSmallIntegerField(
        "maximum age rating",
        null=True,
        blank=True,
        help_text="Years. Items with a higher rating and items without a rating are not "
        "played.",
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering: ClassVar = ["channel", "starts", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel", "name"], name="block_name_is_unique_in_its_channel"
            ),
            models.CheckConstraint(
                condition=models.Q(days__gte=1, days__lte=EVERY_DAY), name="block_has_a_day"
            ),
            models.CheckConstraint(
                condition=models.Q(first_day=None)
                | models.Q(last_day=None)
                | models.Q(last_day__gte=models.F("first_day")),
                name="block_does_not_end_before_its_first_day",
            ),
            models.CheckConstraint(
                condition=models.Q(order__in=[order.value for order in Order]),
                name="block_order_is_loop_or_shuffle",
            ),
            models.CheckConstraint(
                condition=models.Q(start__in=[start.value for start in Start]),
                name="block_start_is_hard_or_soft",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def timed(self, rotation: Rotation = NO_LIST, **more: Any) -> TimeBlock:
        return super().timed(
            rotation,
            name=self.name,
            priority=self.priority,
            start=Start(self.start),
            fit=self.fit,
            max_rating=self.max_rating,
            **more,
        )

    def clean(self) -> None:
        super().clean()
        if abs(self.priority) > MAX_PRIORITY:
            raise ValidationError(
                {"priority": f"Choose a priority from -{MAX_PRIORITY} to {MAX_PRIORITY}."}
            )
        validate_max_rating(self.max_rating)


class OnAirHours(Span):
    """Times at which a channel starts and stops automatically.

    Operators may also start and stop it in between.
    """

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="hours")

    class Meta:
        ordering: ClassVar = ["channel", "starts", "pk"]
        verbose_name = "on-air hours"
        verbose_name_plural = "on-air hours"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(days__gte=1, days__lte=EVERY_DAY), name="hours_have_a_day"
            ),
            models.CheckConstraint(
                condition=models.Q(first_day=None)
                | models.Q(last_day=None)
                | models.Q(last_day__gte=models.F("first_day")),
                name="hours_do_not_end_before_their_first_day",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.days_in_words}, {self.times_in_words}"


class UpcomingProblem(models.Model):
    """A problem that will occur on air unless it is fixed. Workers write these rows."""

    channel = models.ForeignKey(
        Channel, on_delete=models.CASCADE, related_name="upcoming_problems"
    )
    item = models.ForeignKey(MediaItem, null=True, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(
        max_length=80, help_text="The cause and item, such as missing-7 or filler."
    )
    soft = models.BooleanField(
        default=False, help_text="The item will be on air, but not as intended."
    )
    sentence = models.TextField(help_text="The problem, and the action to take.")
    airs_at = models.DateTimeField(help_text="The first time it affects what is on air.")
    detected_at = models.DateTimeField(default=timezone.now)
    notified_at = models.DateTimeField(
        null=True, help_text="The time at which a notification was sent."
    )
    cleared_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["airs_at", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel", "item"],
                condition=models.Q(cleared_at__isnull=True),
                name="one_open_problem_per_item_and_channel",
            ),
            models.UniqueConstraint(
                fields=["channel", "subject"],
                condition=models.Q(cleared_at__isnull=True),
                name="one_open_problem_per_subject",
            ),
        ]

    def __str__(self) -> str:
        return self.sentence
