"""Current state: rows that only workers write, by conditional update."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.db import models

from streams.models.channel import Channel
from streams.models.history import Run
from streams.models.output import Output
from streams.playout.contract.states import AirState, OutputAir


class Node(models.Model):
    """A machine whose playout worker has reported at least once."""

    name = models.CharField(max_length=128, unique=True)
    pid = models.PositiveIntegerField(null=True)
    version = models.CharField(max_length=32, blank=True)
    ffmpeg = models.CharField(
        max_length=120, blank=True, help_text="Version. Empty: FFmpeg is missing."
    )
    hides_keys = models.BooleanField(
        "FFmpeg hides keys",
        null=True,
        help_text="Whether this FFmpeg accepts stream keys without showing them to other "
        "users.",
    )
    started_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(
        null=True, help_text="The last report, by the database server's clock."
    )
    max_channels = models.PositiveIntegerField(
        null=True, help_text="Channels that it may play (MAX_CHANNELS on the node)."
    )
    clock_ahead = models.FloatField(
        null=True,
        help_text="Seconds by which its clock is ahead of the database server's.",
    )
    # Ordered by people; the node carries it out.
    drain_ordered_at = models.DateTimeField(null=True)
    # The default of the database: until its restart, the version before adds rows without it.
    drain_ordered_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    lost_at = models.DateTimeField(null=True, help_text="When its silence was reported.")

    class Meta:
        ordering: ClassVar = ["name"]
        permissions: ClassVar = [("drain_node", "Can drain nodes and end their drain")]

    def __str__(self) -> str:
        return self.name

    @property
    def drains(self) -> bool:
        """Whether it is ordered to give its channels away."""
        return self.drain_ordered_at is not None


class ChannelState(models.Model):
    """One row per channel: the node that plays it, and the latest measurements."""

    channel = models.OneToOneField(
        Channel, on_delete=models.CASCADE, primary_key=True, related_name="state"
    )
    owner = models.CharField(max_length=128, blank=True, help_text="The node that plays it.")
    epoch = models.PositiveBigIntegerField(default=0, help_text="Increases with every claim.")
    lease_until = models.DateTimeField(null=True)
    # The default of the database: until its restart, the version before adds rows without it.
    released_by = models.CharField(
        max_length=128,
        blank=True,
        default="",
        db_default="",
        help_text="The node that gave it away between two items; empty once another plays it.",
    )

    # Defaults of the database: until its restart, the version before adds rows without them.
    second_owner = models.CharField(
        max_length=128,
        blank=True,
        default="",
        db_default="",
        help_text="The node that plays it as well and sends its outputs for a second node.",
    )
    second_epoch = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="Increases with every claim of a second node."
    )
    second_lease_until = models.DateTimeField(null=True)
    second_ready = models.BooleanField(
        default=False, db_default=False, help_text="The second node could send."
    )
    second_outputs = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text="Outputs of the second node's claim; they stay the same while it has it.",
    )
    handed_over = models.PositiveBigIntegerField(
        default=0,
        db_default=0,
        help_text="The claim of a second node (second_epoch) for which the owner has stopped "
        "sending the second node's outputs.",
    )
    place = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="What is on air and since when (streams.node.place).",
    )
    place_at = models.DateTimeField(
        null=True, help_text="When that was written, by the database server's clock."
    )

    state = models.CharField(
        max_length=16,
        choices=[(s.value, s.label) for s in AirState],
        default=AirState.OFF.value,
    )
    since = models.DateTimeField(null=True)
    cause = models.TextField(blank=True, help_text="Why the state is not On air.")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="+")
    on_air_since = models.DateTimeField(null=True)

    now_title = models.CharField(max_length=255, blank=True)
    now_kind = models.CharField(max_length=16, blank=True)
    now_since = models.DateTimeField(null=True)
    now_until = models.DateTimeField(null=True)
    now_rule = models.CharField(max_length=80, blank=True)
    now_why = models.TextField(blank=True, help_text="Why this is on air.")
    next_title = models.CharField(max_length=255, blank=True)
    next_kind = models.CharField(max_length=16, blank=True)

    bitrate = models.PositiveBigIntegerField(null=True, help_text="bit/s, measured at the hub")
    inspected_at = models.DateTimeField(
        null=True, help_text="Until when the air was looked at and listened to."
    )
    flaws = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text="What is wrong with picture and sound, and since when (since the epoch).",
    )
    restarts_done = models.PositiveIntegerField(default=0)
    skips_done = models.PositiveIntegerField(default=0)
    cursors = models.JSONField(
        default=dict, help_text="Position in each playlist (streams.programme.cursor_codec)."
    )
    measured_at = models.DateTimeField(null=True)

    hours_done = models.DateTimeField(
        null=True, help_text="The last scheduled start or stop that was carried out."
    )

    class Meta:
        verbose_name = "channel state"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(second_owner="") | ~models.Q(second_owner=models.F("owner")),
                name="second_node_is_not_the_owner",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel}: {self.state}"

    def plays(self, now: datetime) -> bool:
        """Whether it is on air, according to a worker whose lease is valid."""
        claimed = self.lease_until is not None and self.lease_until > now
        return claimed and self.on_air_since is not None and self.state != AirState.STARTING


class OutputState(models.Model):
    output = models.OneToOneField(
        Output, on_delete=models.CASCADE, primary_key=True, related_name="state"
    )
    state = models.CharField(
        max_length=16,
        choices=[(s.value, s.label) for s in OutputAir],
        default=OutputAir.OFF.value,
    )
    since = models.DateTimeField(null=True)
    cause = models.TextField(blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="Consecutive failures.")
    retry_at = models.DateTimeField(null=True)
    bitrate = models.PositiveBigIntegerField(null=True, help_text="bit/s")
    fps = models.FloatField(null=True)
    speed = models.FloatField(null=True)
    lag_seconds = models.FloatField(null=True, help_text="Seconds behind the hub.")
    late = models.TextField(
        blank=True, default="", db_default="", help_text="Why it is late; empty: it is not."
    )
    acknowledged = models.PositiveBigIntegerField(
        null=True, help_text="bit/s that the destination's machine has acknowledged."
    )
    resent_percent = models.FloatField(
        null=True, help_text="Percent of the bytes that had to be sent again."
    )
    queued_bytes = models.PositiveBigIntegerField(
        null=True, help_text="Bytes that wait in this machine."
    )
    session_since = models.DateTimeField(null=True, help_text="Start of the current session.")
    node = models.CharField(
        max_length=128,
        blank=True,
        default="",
        db_default="",
        help_text="The node that sends it.",
    )
    measured_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "output state"

    def __str__(self) -> str:
        return f"{self.output}: {self.state}"
