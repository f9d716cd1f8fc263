"""Drills: what was ordered, and what was measured."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from streams.models.channel import Channel
from streams.models.history import Run


class Drill(models.Model):
    """Faults that are brought about on purpose, one after the other.

    People order it. The process that claims it, by its name in `worker`, writes the rest.
    """

    class Status(models.TextChoices):
        ORDERED = "ordered", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Ended early"

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="drills")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="+")
    node = models.CharField(max_length=128)
    faults = models.JSONField(default=list, help_text="Faults, in their order.")
    status = models.CharField(max_length=8, choices=Status, default=Status.ORDERED)
    worker = models.CharField(max_length=64, blank=True, help_text="The process that runs it.")
    requested_by = models.CharField(max_length=150)
    created_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    fault = models.CharField(max_length=16, blank=True, help_text="The fault that is on.")
    fault_at = models.DateTimeField(null=True)
    results = models.JSONField(default=list)
    note = models.TextField(blank=True, help_text="Why it ended early.")

    class Meta:
        ordering: ClassVar = ["-created_at", "-pk"]
        indexes: ClassVar = [models.Index(fields=["channel", "-created_at"])]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["node"],
                condition=models.Q(status__in=["ordered", "running"]),
                name="one_open_drill_per_node",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["ordered", "running", "done", "failed"]),
                name="drill_status_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"Drill of {self.channel}, {self.created_at:%Y-%m-%d %H:%M}"

    @property
    def is_open(self) -> bool:
        return self.status in {self.Status.ORDERED, self.Status.RUNNING}
