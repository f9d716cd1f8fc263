"""What people want on air when: blocks over the base playlist, and a channel's hours."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time, timedelta
from typing import ClassVar, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from media_library.models import MediaItem, Playlist
from streams.models.channel import Channel, checked_age
from streams.programme.model import Order, Start
from streamsite.security.text import OneLineText

#: Monday is the first bit of `days`.
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EVERY_DAY: Final = 0b111_1111
#: Either way: a slip of the pen is not the one block that nothing stands over any more.
MOST_PRIORITY: Final = 100
_DAY: Final = timedelta(days=1)


def clock(at: time) -> str:
    """A time of day, with seconds where it has any."""
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


class Span(OneLineText):
    """On some days, from a time to a time, in the channel's time zone.

    An end that is not after the start is the next day's.
    """

    days = models.PositiveSmallIntegerField(
        default=EVERY_DAY, help_text="Monday is 1, Tuesday 2, Wednesday 4 ... Sunday 64: added."
    )
    starts = models.TimeField("from")
    ends = models.TimeField("to", help_text="Not after the start: on the next day.")
    first_day = models.DateField(null=True, blank=True)
    last_day = models.DateField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def weekdays(self) -> frozenset[int]:
        """Monday is 0."""
        return frozenset(day for day in range(7) if self.days >> day & 1)

    @staticmethod
    def of_weekdays(days: Iterable[int]) -> int:
        """The number for some weekdays; Monday is 0."""
        return sum(1 << day for day in set(days))

    @property
    def days_in_words(self) -> str:
        if self.days == EVERY_DAY:
            return "every day"
        return ", ".join(WEEKDAYS[day] for day in sorted(self.weekdays))

    @property
    def dates_in_words(self) -> str:
        """Empty: at all times."""
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
        """Days, times and dates; of a single day the date says it all."""
        if self.first_day and self.first_day == self.last_day and self.has_a_day:
            return f"{self.dates_in_words}, {self.times_in_words}"
        told = (self.days_in_words, self.times_in_words, self.dates_in_words)
        return ", ".join(filter(None, told)) + ("" if self.has_a_day else ": never")

    @property
    def times_in_words(self) -> str:
        return f"{clock(self.starts)} to {clock(self.ends)}"

    @property
    def has_a_day(self) -> bool:
        """Whether any of its weekdays lies within its dates."""
        if self.first_day is None or self.last_day is None:
            return bool(self.weekdays)
        first, days = self.first_day, (self.last_day - self.first_day).days + 1
        within = {(first + number * _DAY).weekday() for number in range(min(days, 7))}
        return bool(within & self.weekdays)

    def clean(self) -> None:
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValidationError({"last_day": "It is before the first day."})
        if not 0 < self.days <= EVERY_DAY:
            raise ValidationError({"days": "Choose one day at least."})
        if not self.has_a_day:
            raise ValidationError(
                {"days": "None of these days lies within the dates below: change one of both."}
            )


class Block(Span):
    """A playlist over the base playlist."""

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
        help_text="The highest wins where blocks overlap; among equals, the last to begin.",
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
        help_text="It ends on time: what does not fit any more gives way to filler.",
    )
    max_rating = models.PositiveSmallIntegerField(
        "maximum age rating",
        null=True,
        blank=True,
        help_text="Years. Nothing above it is played, and nothing that nobody has rated.",
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

    def clean(self) -> None:
        super().clean()
        if abs(self.priority) > MOST_PRIORITY:
            raise ValidationError(
                {"priority": f"Choose one from -{MOST_PRIORITY} to {MOST_PRIORITY}."}
            )
        checked_age(self.max_rating)


class OnAirHours(Span):
    """When a channel is started and stopped by itself. People may do so in between as well."""

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


class Forewarning(models.Model):
    """Something that will go wrong on air, found before its time. Workers write these."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="forewarnings")
    item = models.ForeignKey(MediaItem, null=True, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=80, help_text="What it is about: missing-7, filler.")
    soft = models.BooleanField(
        default=False, help_text="On air it will be all the same, but not as it should."
    )
    sentence = models.TextField(help_text="What is wrong and what to do.")
    airs_at = models.DateTimeField(help_text="When it would be on air first.")
    found_at = models.DateTimeField(default=timezone.now)
    told_at = models.DateTimeField(null=True, help_text="When somebody was told of it.")
    cleared_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["airs_at", "pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel", "item"],
                condition=models.Q(cleared_at__isnull=True),
                name="one_open_forewarning_per_item_and_channel",
            ),
            models.UniqueConstraint(
                fields=["channel", "subject"],
                condition=models.Q(cleared_at__isnull=True),
                name="one_open_forewarning_per_subject",
            ),
        ]

    def __str__(self) -> str:
        return self.sentence
