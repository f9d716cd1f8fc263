"""The one door to the storage: R2, S3 or a local folder."""

from __future__ import annotations

from django.conf import settings
from django.core.files.storage import FileSystemStorage


class DefaultStorage(FileSystemStorage):
    def __init__(self) -> None:
        super().__init__(location=settings.MEDIA_ROOT)
