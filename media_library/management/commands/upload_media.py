from __future__ import annotations

import json as as_json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError

from media_library import storage
from media_library.models import MediaItem
from media_library.models.titles import LONGEST_TITLE
from media_library.storage import MultipartUpload, StorageError
from media_library.uploads import service
from media_library.uploads.service import UploadError


class Command(BaseCommand):
    help = "Upload files of this machine to the storage, and add them to the library."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument("--folder", default="", help="Folder of the storage: films/1950s.")
        parser.add_argument("--title", default="", help="Title of one file; default: its name.")
        parser.add_argument("--json", action="store_true", help="End with one line of JSON.")

    def handle(
        self, *, paths: list[Path], folder: str, title: str, json: bool, **_: Any
    ) -> None:
        if title and len(paths) > 1:
            raise CommandError("--title is for one file: omit it, or upload one by one.")
        items: list[MediaItem] = []
        failed: list[str] = []
        for path in paths:
            try:
                item = self._take_in(path, folder, title)
            except (UploadError, StorageError) as error:
                failed.append(str(path))
                self.stderr.write(self.style.ERROR(str(error)))
                continue
            items.append(item)
            if not json:
                self.stdout.write(f"{path} is {item.key} in the library.")
        if json:
            uploaded = [{"id": item.pk, "key": item.key, "title": item.title} for item in items]
            self.stdout.write(as_json.dumps({"uploaded": uploaded, "failed": failed}))
        if failed:
            raise CommandError(f"Not uploaded: {', '.join(failed)}.")

    def _take_in(self, path: Path, folder: str, title: str) -> MediaItem:
        """Uploads a file. After `UploadError` or `StorageError` nothing of it is stored."""
        if not path.is_file():
            raise UploadError(f"{path} is not a file of this machine: check its name.")
        size = path.stat().st_size
        upload = service.begin(path.name, size, folder)
        try:
            with path.open("rb") as file:
                self._send(upload, file, path.name)
            item = service.finish(upload)
        except OSError as error:
            service.abort(upload)
            raise UploadError(f"{path} can't be read: {error.strerror or error}.") from None
        except BaseException:
            service.abort(upload)
            raise
        if title:
            item.title = title[:LONGEST_TITLE]
            MediaItem.objects.filter(pk=item.pk).update(title=item.title)
        return item

    def _send(self, upload: MultipartUpload, file: Any, name: str) -> None:
        for number in range(1, upload.parts + 1):
            storage.store_part(upload, number, file.read(upload.bytes_of(number)))
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{name}: {number * 100 // upload.parts} %")
                sys.stderr.write("\n" if number == upload.parts else "")
                sys.stderr.flush()
