"""Broadcasters who may take a channel over, and the takeovers that occurred."""

from __future__ import annotations

from typing import ClassVar

from django.core.validators import MinValueValidator
from django.db import models

from streams.models.channel import Channel
from streams.models.history import Run
from streams.models.ingest import Broadcaster, LiveStream


class TakeoverRight(models.Model):
    """A broadcaster who may take a channel over. Operators write it."""

    channel = models.ForeignKey(
        Channel, on_delete=models.CASCADE, related_name="takeover_rights"
    )
    broadcaster = models.ForeignKey(
        Broadcaster, on_delete=models.CASCADE, related_name="takeover_rights"
    )
    rank = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1)],
        help_text="If several broadcasters are live, the lowest rank wins.",
    )

    class Meta:
        ordering: ClassVar = ["channel", "rank", "pk"]
        verbose_name = "takeover right"
        verbose_name_plural = "takeover rights"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel", "broadcaster"], name="broadcaster_has_one_rank_per_channel"
            )
        ]

    def __str__(self) -> str:
        return f"{self.broadcaster} on {self.channel}"


class Takeover(models.Model):
    """A period in which a live feed replaced the programme, or was about to.

    Workers write it.
    """

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="takeovers")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="takeovers")
    broadcaster = models.ForeignKey(
        Broadcaster, null=True, on_delete=models.SET_NULL, related_name="takeovers"
    )
    stream = models.ForeignKey(
        LiveStream, null=True, on_delete=models.SET_NULL, related_name="takeovers"
    )
    requested_at = models.DateTimeField(
        "requested", help_text="The broadcaster went live, or an operator took them."
    )
    on_air_at = models.DateTimeField("on air", null=True)
    ended_at = models.DateTimeField("ended", null=True)
    cause = models.TextField(blank=True, help_text="Why it ended.")

    class Meta:
        ordering: ClassVar = ["-requested_at", "-pk"]
        indexes: ClassVar = [models.Index(fields=["channel", "-requested_at"])]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["channel", "stream"],
                condition=models.Q(ended_at__isnull=True),
                name="one_open_takeover_per_stream",
            )
        ]

    def __str__(self) -> str:
        return f"{self.broadcaster or 'Somebody'}, {self.requested_at:%Y-%m-%d %H:%M:%S}"

    @property
    def transition(self) -> float | None:
        """Seconds from the request to being on air; None if it was never on air."""
        if self.on_air_at is None:
            return None
        return max(0.0, round((self.on_air_at - self.requested_at).total_seconds(), 3))
