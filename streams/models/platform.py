"""The operator's accounts at platforms, and what the platforms report."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse

from streams.models.channel import Channel
from streams.models.output import Output
from streamsite.security.fields import SecretField
from streamsite.security.secret import Secret
from streamsite.security.text import OneLineText


class PlatformAccount(OneLineText):
    """An account of the operator's own. People write it; its connection is `AccountState`."""

    class Kind(models.TextChoices):
        YOUTUBE = "youtube", "YouTube"
        TWITCH = "twitch", "Twitch"

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField("platform", max_length=8, choices=Kind, default=Kind.YOUTUBE)
    channel = models.ForeignKey(
        Channel,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="platform_accounts",
        help_text="The channel whose outputs may use it. Empty: all channels.",
    )
    client_id = models.CharField(
        "client ID", max_length=200, help_text="Of the OAuth client that you have created."
    )
    client_secret = SecretField(
        "client secret",
        blank=True,
        default="",
        help_text="Google gives one with the client ID. Twitch: only confidential clients.",
    )
    may_manage_broadcasts = models.BooleanField(
        "may create broadcasts",
        default=False,
        help_text="YouTube: when the broadcast has ended while an output still sends, a new "
        "one is created, with the settings of the old one, and auto-stop is turned off.",
    )
    may_write_titles = models.BooleanField(
        "may write titles",
        default=False,
        help_text="Titles, descriptions and the category follow the programme, by the "
        "templates of each output.",
    )
    daily_units = models.PositiveIntegerField(
        "units a day",
        default=10_000,
        validators=[MinValueValidator(100)],
        help_text="YouTube: what the project of this client ID may use until midnight in "
        "California. If several accounts share a client ID, divide it.",
    )

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(kind__in=["youtube", "twitch"]),
                name="platform_account_kind_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("admin:streams_platformaccount_change", args=[self.pk])

    def clean(self) -> None:
        typed: Any = self.client_secret
        if isinstance(typed, str):
            self.client_secret = Secret(typed)

    def fits(self, output: Output) -> str:
        """Return why the output can't use it, as a sentence; empty if it can."""
        if output.platform.partition("_")[0] != self.kind:
            return f"{self.name} is an account of {self.get_kind_display()}: choose another."
        if self.channel_id not in {None, output.channel_id}:
            return f"{self.name} is an account of another channel."
        return ""


class AccountState(models.Model):
    """The connection of an account, and what was used of its quota.

    People order a connection or its end; the worker that holds the claim, by its name in
    `worker`, writes the rest.
    """

    class Flow(models.TextChoices):
        NONE = "", "None"
        DEVICE = "device", "By a code"
        WEB = "web", "By the browser"

    account = models.OneToOneField(
        PlatformAccount, on_delete=models.CASCADE, primary_key=True, related_name="state"
    )
    refresh_token = SecretField(blank=True, default="")
    access_token = SecretField(blank=True, default="")
    access_until = models.DateTimeField(null=True)
    scopes = models.TextField(blank=True, default="")
    remote_id = models.CharField(max_length=64, blank=True, default="")
    remote_name = models.CharField(max_length=120, blank=True, default="")
    connected_at = models.DateTimeField(null=True)
    connected_by = models.CharField(max_length=150, blank=True, default="")
    fault = models.TextField(blank=True, default="", help_text="Why the last check failed.")

    flow = models.CharField(max_length=8, choices=Flow, blank=True, default=Flow.NONE)
    flow_by = models.CharField(max_length=150, blank=True, default="")
    flow_secret = SecretField(blank=True, default="", help_text="JSON of the flow.")
    flow_until = models.DateTimeField(null=True)
    flow_due_at = models.DateTimeField(null=True)
    flow_interval = models.PositiveIntegerField(default=5, help_text="Seconds.")
    user_code = models.CharField(max_length=32, blank=True, default="")
    verification_url = models.CharField(max_length=500, blank=True, default="")

    worker = models.CharField(max_length=64, blank=True, default="")
    worker_until = models.DateTimeField(null=True, help_text="The end of its claim.")
    due_at = models.DateTimeField(null=True, help_text="The next check.")
    quota_day = models.DateField(null=True, help_text="In Pacific time.")
    quota_spent = models.PositiveIntegerField(default=0)
    watched_at = models.DateTimeField(null=True, help_text="When watch time was read.")

    def __str__(self) -> str:
        return f"State of {self.account}"

    @property
    def connected(self) -> bool:
        return self.connected_at is not None


class PlatformReport(models.Model):
    """What the platform says about an output. A job writes it."""

    class Level(models.TextChoices):
        HEALTHY = "healthy", "Healthy"
        DEGRADED = "degraded", "Degraded"
        DOWN = "down", "Down"
        UNKNOWN = "unknown", "Unknown"

    output = models.OneToOneField(
        Output, on_delete=models.CASCADE, primary_key=True, related_name="platform_report"
    )
    level = models.CharField(max_length=8, choices=Level, default=Level.UNKNOWN)
    since = models.DateTimeField(null=True, help_text="The first check with this level.")
    sentence = models.TextField(blank=True, default="")
    details = models.JSONField(default=dict)
    checked_at = models.DateTimeField(null=True)
    valid_until = models.DateTimeField(null=True, help_text="Later, the level is unknown.")
    session_since = models.DateTimeField(null=True, help_text="The session at that check.")
    stream_id = models.CharField(max_length=128, blank=True, default="")
    broadcast_id = models.CharField(max_length=128, blank=True, default="")
    auto_stop_tried = models.CharField(max_length=128, blank=True, default="")
    titled_at = models.DateTimeField(null=True, help_text="When a title was written.")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(level__in=["healthy", "degraded", "down", "unknown"]),
                name="platform_report_level_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.output}: {self.level}"

    def is_valid(self, now: datetime) -> bool:
        """Whether it says something about now."""
        return self.valid_until is not None and now <= self.valid_until

    def level_at(self, now: datetime) -> str:
        return self.level if self.is_valid(now) else self.Level.UNKNOWN.value

    def sentence_at(self, now: datetime) -> str:
        if self.checked_at is None:
            return "The platform was not asked yet."
        if self.is_valid(now):
            return self.sentence
        return f"The platform was last asked at {self.checked_at:%Y-%m-%d %H:%M} UTC."


class BroadcastRenewal(models.Model):
    """A broadcast that is created in place of one that has ended. A job writes it.

    Each step is written before the next one begins, so that a job that is killed never creates
    a second one.
    """

    class Step(models.TextChoices):
        INTENDED = "intended", "To be created"
        CREATED = "created", "Created"
        BOUND = "bound", "Bound to the stream"
        LIVE = "live", "Live"
        FAILED = "failed", "Failed"

    account = models.ForeignKey(
        PlatformAccount, on_delete=models.CASCADE, related_name="renewals"
    )
    output = models.ForeignKey(
        Output, null=True, on_delete=models.SET_NULL, related_name="renewals"
    )
    stream_id = models.CharField(max_length=128)
    ended_id = models.CharField(max_length=128, help_text="The broadcast that has ended.")
    body = models.JSONField(default=dict, help_text="What was asked for.")
    broadcast_id = models.CharField(max_length=128, blank=True, default="")
    step = models.CharField(max_length=8, choices=Step, default=Step.INTENDED)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["-created_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "stream_id"],
                condition=models.Q(finished_at__isnull=True),
                name="one_open_renewal_per_stream",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.get_step_display()}"


class WatchDay(models.Model):
    """Watch time of an account on a day, as the platform says or as a person has typed it."""

    account = models.ForeignKey(
        PlatformAccount, on_delete=models.CASCADE, related_name="watch_days"
    )
    day = models.DateField()
    minutes = models.FloatField(null=True, blank=True, help_text="Minutes watched.")
    subscribers = models.PositiveIntegerField(null=True, blank=True)
    typed = models.BooleanField(default=False, help_text="A person has entered it.")

    class Meta:
        ordering: ClassVar = ["-day", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["account", "day"], name="one_watch_day_per_account_and_day"
            ),
            models.CheckConstraint(
                condition=models.Q(minutes=None) | models.Q(minutes__gte=0),
                name="watch_minutes_are_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account}, {self.day}"
