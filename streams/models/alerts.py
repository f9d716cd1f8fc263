"""Receivers of alerts, and each message to one of them.

People write receivers. Messages are written in the transaction of what they report, and from
then on by the sender, by conditional update.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models
from django.utils import timezone

from streams.models.channel import Channel, default_time_zone, validate_time_zone
from streams.models.history import Incident
from streamsite.security.fields import SecretField
from streamsite.security.text import OneLineText


class AlertReceiver(OneLineText):
    """A person, group or program that gets alerts."""

    class Kind(models.TextChoices):
        TELEGRAM = "telegram", "Telegram"
        DISCORD = "discord", "Discord"
        SLACK = "slack", "Slack"
        NTFY = "ntfy", "ntfy"
        MAIL = "mail", "E-mail"
        MATRIX = "matrix", "Matrix"
        PUSHOVER = "pushover", "Pushover"
        GOTIFY = "gotify", "Gotify"
        TEAMS = "teams", "Microsoft Teams"
        WEBHOOK = "webhook", "Webhook (JSON)"
        APPRISE = "apprise", "Any other (Apprise address)"

    #: By rank: a receiver gets its lowest severity and those after it.
    SEVERITIES: ClassVar = (
        Incident.Severity.PLANNED,
        Incident.Severity.DEGRADED,
        Incident.Severity.LOST,
    )

    name = models.CharField(max_length=80, unique=True)
    kind = models.CharField("service", max_length=12, choices=Kind)
    address = SecretField(editable=False)
    channels = models.ManyToManyField(
        Channel, blank=True, related_name="+", help_text="Empty: all channels."
    )
    lowest = models.CharField(
        "from this severity on",
        max_length=8,
        choices=Incident.Severity,
        default=Incident.Severity.DEGRADED,
        help_text="Lost: viewers see nothing. Degraded: something is wrong. Planned: also what "
        "is intended, such as a new session.",
    )
    opened = models.BooleanField("when an incident begins", default=True)
    repeat_minutes = models.PositiveSmallIntegerField(
        "again while it lasts, every",
        default=60,
        validators=[MaxValueValidator(1440)],
        help_text="Minutes. 0: not again.",
    )
    closed = models.BooleanField("when it is over", default=True)
    problems = models.BooleanField(
        "upcoming problems and nodes",
        default=True,
        help_text="What will be missing from the programme, and nodes that are lost or back.",
    )
    group_seconds = models.PositiveSmallIntegerField(
        "collect for",
        default=5,
        validators=[MaxValueValidator(600)],
        help_text="Seconds. What happens meanwhile comes in one message.",
    )
    quiet_from = models.TimeField(
        null=True, blank=True, help_text="From then on messages wait for the end."
    )
    quiet_until = models.TimeField(null=True, blank=True)
    time_zone = models.CharField(
        max_length=64, default=default_time_zone, validators=[validate_time_zone]
    )
    urgent = models.BooleanField(
        "lost air breaks the quiet hours",
        default=True,
        help_text="Incidents of the severity Lost are sent at once at night too.",
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(quiet_from=None, quiet_until=None)
                | models.Q(quiet_from__isnull=False, quiet_until__isnull=False),
                name="quiet_hours_have_both_ends",
                violation_error_message="Quiet hours need both times, or neither.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def channel_slugs(self) -> list[str]:
        """The slugs of the chosen channels; none: all channels."""
        return [channel.slug for channel in self.channels.all()]

    def clean(self) -> None:
        if self.quiet_from is not None and self.quiet_from == self.quiet_until:
            raise ValidationError({"quiet_until": "Quiet hours end at another time."})


class AlertMessage(models.Model):
    """One report for one receiver, and whether it has it."""

    class Stage(models.TextChoices):
        OPENED = "opened", "Began"
        LASTING = "lasting", "Still open"
        CLOSED = "closed", "Over"
        OTHER = "other", "Upcoming problem or node"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    receiver = models.ForeignKey(
        AlertReceiver, on_delete=models.CASCADE, related_name="messages"
    )
    incident = models.ForeignKey(
        Incident, null=True, on_delete=models.CASCADE, related_name="alerts"
    )
    stage = models.CharField(max_length=8, choices=Stage)
    subject = models.CharField(max_length=200, blank=True)
    lines: Any = models.JSONField(default=list, help_text="Without an incident: what it says.")
    created_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(help_text="The time of the next attempt.")
    fault = models.TextField(blank=True, help_text="Why the last attempt failed.")
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(
                fields=["next_at"],
                name="alert_messages_due",
                condition=models.Q(state="waiting"),
            ),
            models.Index(fields=["created_at"], name="alert_messages_age"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(state="delivered", delivered_at__isnull=False)
                | (~models.Q(state="delivered") & models.Q(delivered_at=None)),
                name="delivered_alert_has_its_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stage} to {self.receiver}"
