"""Comparisons of the storage with the library."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from media_library.models.item import MediaItem


class SyncRun(models.Model):
    """A sync: its progress while it runs, then its result. A worker writes it."""

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped by the deletion guard"
        FAILED = "failed", "Failed"

    status = models.CharField(max_length=8, choices=Status, default=Status.RUNNING)
    dry = models.BooleanField(
        default=False, help_text="Only shows the differences and writes nothing else."
    )
    accept_gone = models.BooleanField(
        default=False, help_text="The deletion guard is off: missing items are marked at once."
    )
    started_at = models.DateTimeField(default=timezone.now)
    started_by = models.CharField(max_length=150, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(
        default=timezone.now, help_text="Last heartbeat of the worker."
    )
    claim = models.CharField(max_length=32, blank=True, editable=False)
    after = models.CharField(
        max_length=1024,
        blank=True,
        help_text="All keys up to this one are compared and written.",
    )
    items_before = models.PositiveIntegerField(
        default=0, help_text="Items in the library when it began."
    )
    seen = models.PositiveIntegerField(default=0, help_text="Objects listed so far.")
    added = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    absent = models.PositiveIntegerField(default=0, help_text="Items not in the listing.")
    gone = models.PositiveIntegerField(
        default=0, help_text="Absent items marked as missing: absent for the second time."
    )
    unchanged = models.PositiveIntegerField(default=0)
    left_out = models.PositiveIntegerField(
        default=0, help_text="Hidden files, trash folders and similar, which are no media."
    )
    growing = models.PositiveIntegerField(
        default=0, help_text="Files changed within half a minute: a later sync adds them."
    )
    differences = models.JSONField(
        default=list, blank=True, help_text="The first differences: verdict and key."
    )
    fault = models.TextField(blank=True)

    class Meta:
        ordering: ClassVar = ["-started_at", "-pk"]
        verbose_name = "sync"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["status"],
                condition=models.Q(status="running"),
                name="one_sync_at_a_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(status__in=["failed", "stopped"]) | ~models.Q(fault=""),
                name="sync_fault_is_in_words",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M:%S}"

    @property
    def other_kinds(self) -> int:
        """Objects seen without a media extension."""
        media = self.added + self.changed + self.unchanged + self.growing
        return max(0, self.seen - media)


class Absence(models.Model):
    """An item that a sync has not found so far, or found changed.

    Recorded in the batch that moves the cursor, and applied when the listing is complete.
    """

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="absences")
    item = models.ForeignKey(MediaItem, on_delete=models.CASCADE, related_name="absences")
    # For a changed item: its old and its new etag.
    before = models.CharField(max_length=128, blank=True)
    etag = models.CharField(max_length=128, blank=True)
    size_bytes = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "item"], name="item_is_absent_once")
        ]

    def __str__(self) -> str:
        return f"{self.item_id} in {self.run_id}"
