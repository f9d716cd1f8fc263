from __future__ import annotations

from django.db import models


class Reservation(models.Model):
    """A reserved key for a file that is being uploaded: only one upload can hold it.

    Created before the check whether the key is free, and removed when the item exists. A
    leftover of a crash is ignored from `until` on.
    """

    key = models.CharField(max_length=1024, unique=True)
    #: Id of the upload that holds it; empty until the upload begins.
    upload_id = models.TextField(blank=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.key
