"""Webhooks: endpoints of other systems, and each delivery.

People write endpoints. Deliveries are written by the outbox, and from then on by the sender, by
conditional update.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from streamsite.security.fields import SecretField
from streamsite.security.text import OneLineText
from streamsite.security.urls import host_only, is_address


class Event(models.TextChoices):
    ON_AIR = "channel.on_air", "A channel came on the air"
    OFF_AIR = "channel.off_air", "A channel went off the air"
    INCIDENT_OPENED = "incident.opened", "An incident began"
    INCIDENT_CLOSED = "incident.closed", "An incident ended"
    TAKEOVER_STARTED = "takeover.started", "A live feed replaced the programme"
    TAKEOVER_ENDED = "takeover.ended", "The programme is back"
    NODE_LOST = "node.lost", "A node has stopped reporting"
    NODE_BACK = "node.back", "A lost node is back"
    DOWNLOAD_FINISHED = "download.finished", "A download is done"
    DOWNLOAD_FAILED = "download.failed", "A download failed for good"
    LIBRARY_FAULT = "library.fault", "Items of the library can't be played"


#: Sent by a button, to try an endpoint. Nobody chooses it.
PING: Final = "ping"


def checked_url(value: str) -> None:
    """Raises `ValidationError` for what no request can be sent to."""
    if not is_address(value) or urlsplit(value).scheme not in {"http", "https"}:
        raise ValidationError("Write the whole address, beginning with https://.")
    if "@" in urlsplit(value).netloc:
        raise ValidationError(
            "A name and password in the address would be shown: leave it out."
        )


def checked_events(value: object) -> None:
    if not isinstance(value, list) or not set(value) <= set(Event.values):
        raise ValidationError("Choose from the list.")


class Endpoint(OneLineText):
    name = models.CharField(
        max_length=80, unique=True, help_text="The system that listens there."
    )
    url = models.CharField("address", max_length=1000, validators=[checked_url])
    secret = SecretField(editable=False)
    events = models.JSONField(default=list, validators=[checked_events])
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["name"]
        verbose_name = "webhook"

    def __str__(self) -> str:
        return self.name

    @property
    def shown_url(self) -> str:
        """For those who may not change it: whoever has the whole address may write there."""
        return host_only(self.url)


class Delivery(models.Model):
    """One event for one endpoint, and how its telling went."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="deliveries")
    event = models.CharField(max_length=32)
    message_id = models.UUIDField(help_text="The same at each attempt and replay.")
    body = models.TextField(help_text="As it is sent, to the byte.")
    created_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=12, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(
        default=timezone.now, help_text="The time of the next attempt."
    )
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP, of the last answer.")
    fault = models.TextField(blank=True, help_text="Why the last attempt failed.")
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        verbose_name_plural = "deliveries"
        indexes: ClassVar = [
            models.Index(
                fields=["next_at"],
                name="webhook_deliveries_due",
                condition=models.Q(state="waiting"),
            ),
            models.Index(fields=["created_at"], name="webhook_deliveries_age"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["endpoint", "message_id"], name="one_delivery_per_endpoint_and_message"
            ),
            models.CheckConstraint(
                condition=models.Q(state="delivered", delivered_at__isnull=False)
                | (~models.Q(state="delivered") & models.Q(delivered_at=None)),
                name="delivered_has_its_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} to {self.endpoint}"

    @property
    def next_attempt(self) -> datetime | None:
        """`next_at` means nothing in a finished delivery."""
        return self.next_at if self.state == self.State.WAITING else None
