from __future__ import annotations

from django.db import models


class Reservation(models.Model):
    """A key that a file on its way will have: of two uploads only one can hold it.

    Made before the storage is asked whether the key is free, and removed when the item is
    there. One that a crash left behind counts no more from `until` on.
    """

    key = models.CharField(max_length=1024, unique=True)
    #: Of the upload that holds it; empty until that is begun.
    upload_id = models.TextField(blank=True)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.key
