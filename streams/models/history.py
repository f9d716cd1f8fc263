"""Append-only history: runs, the as-run log, incidents, samples and log lines."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from media_library.models import MediaItem
from streams.models.channel import Channel
from streams.models.output import Output


class Run(models.Model):
    """One on-air session of a channel, from Start to Stop."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="runs")
    started_at = models.DateTimeField(default=timezone.now)
    started_by = models.CharField(max_length=150, blank=True)
    on_air_at = models.DateTimeField(
        null=True, help_text="The first time it was measured on air."
    )
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=150, blank=True)
    end_reason = models.TextField(blank=True)
    checks = models.JSONField(default=list, help_text="Results of its preflight.")
    checked_at = models.DateTimeField(null=True)
    checked_on = models.CharField(
        max_length=128, blank=True, help_text="The node that was checked."
    )

    class Meta:
        ordering: ClassVar = ["-started_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel"],
                condition=models.Q(ended_at__isnull=True),
                name="one_open_run_per_channel",
            )
        ]

    def __str__(self) -> str:
        return f"{self.channel}, {self.started_at:%Y-%m-%d %H:%M:%S}"

    @property
    def held_by(self) -> str:
        """The faults that prevent its start, as sentences; empty if there are none."""
        return " ".join(
            check["sentence"] for check in self.checks if check["stops"] and not check["ok"]
        )

    def seconds(self, now: datetime) -> float:
        return ((self.ended_at or now) - self.started_at).total_seconds()


class AsRun(models.Model):
    """An item that was on air, with its start and end."""

    class Kind(models.TextChoices):
        ITEM = "item", "Item"
        FILLER = "filler", "Filler"
        SLATE = "slate", "Slate"
        LIVE = "live", "Live"

    class Ending(models.TextChoices):
        WHOLE = "whole", "Whole"
        CUT = "cut", "Cut"
        FAILED = "failed", "Failed"

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="as_run")
    item = models.ForeignKey(MediaItem, null=True, on_delete=models.SET_NULL, related_name="+")
    title = models.CharField(max_length=255)
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.ITEM)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ending = models.CharField(max_length=8, choices=Ending, blank=True)
    cause = models.TextField(blank=True)
    rule = models.CharField(
        max_length=80,
        blank=True,
        help_text="base, block-<number>, filler, failover, or takeover.",
    )
    why = models.TextField(blank=True, help_text="Why it was on air.")
    in_point = models.FloatField(
        default=0, help_text="Seconds into the item at which it started."
    )

    class Meta:
        ordering: ClassVar = ["-started_at", "-pk"]
        verbose_name = "as-run entry"
        verbose_name_plural = "as-run log"
        indexes: ClassVar = [
            models.Index(fields=["run", "-started_at"]),
            models.Index(fields=["started_at", "id"], name="as_run_by_time"),
            # Few: the report of 90 days reads them.
            models.Index(
                fields=["started_at"],
                condition=models.Q(rule="failover"),
                name="as_run_failovers",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run"],
                condition=models.Q(ended_at__isnull=True),
                name="one_item_on_air_per_run",
            )
        ]

    def __str__(self) -> str:
        return self.title


class Incident(models.Model):
    """A stretch of degraded or lost air, with its cause."""

    #: The subject of a drill's faults: what is lost during them is planned.
    DRILL: ClassVar = "drill"
    #: What a platform says about an output: a job's, which no node opens or closes.
    PLATFORM: ClassVar = "platform-"

    class Severity(models.TextChoices):
        DEGRADED = "degraded", "Degraded"
        LOST = "lost", "Lost"
        #: Not a fault: a session that was rolled over, or a drill.
        PLANNED = "planned", "Planned"

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="incidents")
    output = models.ForeignKey(
        Output, null=True, blank=True, on_delete=models.SET_NULL, related_name="incidents"
    )
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="incidents")
    subject = models.CharField(
        max_length=80, help_text="The part affected, such as output-7 or programme."
    )
    severity = models.CharField(max_length=8, choices=Severity)
    cause = models.TextField()
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-opened_at", "-pk"]
        indexes: ClassVar = [models.Index(fields=["channel", "-opened_at"])]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel", "subject"],
                condition=models.Q(closed_at__isnull=True),
                name="one_open_incident_per_subject",
            )
        ]

    def __str__(self) -> str:
        return self.cause

    def lasted(self, now: datetime) -> timedelta:
        return (self.closed_at or now) - self.opened_at


class Evidence(models.Model):
    """What was on air when an incident was opened."""

    incident = models.OneToOneField(
        Incident, on_delete=models.CASCADE, primary_key=True, related_name="evidence"
    )
    still = models.BinaryField(help_text="A JPEG; empty: there was no picture.")
    clip = models.CharField(
        max_length=120,
        blank=True,
        help_text="File with the seconds around its beginning, on the node.",
    )
    node = models.CharField(max_length=128, blank=True)
    taken_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name_plural = "evidence"

    def __str__(self) -> str:
        return f"evidence of incident {self.pk}"


if TYPE_CHECKING:
    _FloatField = models.FloatField[float | None, float | None]
else:
    # Its types are known to the checker alone.
    _FloatField = models.FloatField


class RealField(_FloatField):
    """A number of single precision: four bytes of PostgreSQL, six digits."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:  # noqa: ARG002 - of Django
        return "real"


class Sample(models.Model):
    """One process of a channel, every ten seconds; a player, each minute. A job thins old ones.

    There are 27,000 a day for each channel: an index more takes as much as a value.
    """

    channel = models.ForeignKey(
        Channel, on_delete=models.CASCADE, related_name="samples", db_index=False
    )
    output = models.ForeignKey(
        Output, null=True, on_delete=models.SET_NULL, related_name="samples", db_index=False
    )
    role = models.CharField(max_length=16)
    at = models.DateTimeField()
    state = models.CharField(max_length=16)
    bitrate = models.PositiveBigIntegerField(null=True, help_text="bit/s")
    fps = RealField(null=True)
    speed = RealField(null=True)
    lag_seconds = RealField(null=True, help_text="Seconds behind the wall clock.")
    cpu_percent = RealField(null=True, help_text="Percent of one core.")
    memory_bytes = models.PositiveBigIntegerField(null=True)
    acknowledged = models.PositiveIntegerField(
        null=True, help_text="bit/s that the destination's machine has acknowledged."
    )
    resent_percent = RealField(null=True, help_text="Percent that had to be sent again.")
    queued_bytes = models.PositiveIntegerField(null=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["channel", "-at"])]

    def __str__(self) -> str:
        return f"{self.role} at {self.at:%H:%M:%S}"


class ThinnedSample(models.Model):
    """The samples of one process of a channel in `seconds` from `at` on, as one row.

    Means, and the worst values: a dip of ten seconds is not lost.
    """

    channel = models.ForeignKey(
        Channel, on_delete=models.CASCADE, related_name="thinned_samples", db_index=False
    )
    output = models.ForeignKey(
        Output, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    role = models.CharField(max_length=16)
    at = models.DateTimeField()
    seconds = models.PositiveSmallIntegerField(help_text="Length of its span.")
    samples = models.PositiveSmallIntegerField(help_text="Samples that it stands for.")
    bitrate = models.PositiveBigIntegerField(null=True, help_text="bit/s")
    bitrate_least = models.PositiveBigIntegerField(null=True)
    fps = models.FloatField(null=True)
    speed = models.FloatField(null=True)
    speed_least = models.FloatField(null=True)
    lag_seconds = models.FloatField(null=True, help_text="Seconds behind the wall clock.")
    lag_most = models.FloatField(null=True)
    cpu_percent = models.FloatField(null=True, help_text="Percent of one core.")
    cpu_most = models.FloatField(null=True)
    memory_bytes = models.PositiveBigIntegerField(null=True)
    memory_most = models.PositiveBigIntegerField(null=True)
    acknowledged = models.PositiveBigIntegerField(
        null=True, help_text="bit/s that the destination's machine has acknowledged."
    )
    resent_percent = models.FloatField(null=True)
    resent_most = models.FloatField(null=True)
    queued_most = models.PositiveBigIntegerField(null=True)

    class Meta:
        verbose_name = "thinned sample"
        indexes: ClassVar = [
            models.Index(fields=["channel", "seconds", "at"], name="thinned_by_channel")
        ]

    def __str__(self) -> str:
        return f"{self.role} from {self.at:%H:%M:%S}, {self.seconds} s"


class LogLine(models.Model):
    """A log line of a channel's processes, for the channel's page. A job deletes old lines."""

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="log_lines")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="+")
    at = models.DateTimeField()
    role = models.CharField(max_length=32)
    level = models.CharField(max_length=8)
    text = models.TextField()

    class Meta:
        ordering: ClassVar = ["pk"]
        indexes: ClassVar = [models.Index(fields=["channel", "id"])]

    def __str__(self) -> str:
        return self.text
