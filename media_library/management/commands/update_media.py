"""`manage.py update_media FILE`: titles, tags and notes of items from an M3U or a CSV."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from media_library import storage
from media_library.formatting import counted
from media_library.playlists import importer
from media_library.playlists.edit import PlaylistError
from media_library.playlists.m3u_csv import ExchangeError, read


class Command(BaseCommand):
    help = (
        "Writes the data of an M3U or a CSV about the library's items (title, tags, age "
        "rating, source, rights), and makes a playlist of it. Lines without an item are "
        "reported; all"
        " others are applied. Columns of a CSV: key, title, tags, age_rating, source, rights."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--playlist",
            default="",
            metavar="NAME",
            help="create or replace this playlist; an M3U names its own",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="show the changes without making them"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CommandError(f"{path} can't be read: {error.strerror}.") from None
        dry = options["dry_run"]
        try:
            outcome = importer.run(
                read(content, folder=_folder(path), host=urlsplit(storage.origin()).netloc),
                playlist=options["playlist"],
                dry=dry,
            )
        except (ExchangeError, PlaylistError) as error:
            raise CommandError(str(error)) from None
        for problem in outcome.problems:
            self.stderr.write(str(problem))
        would = "would be " if dry else ""
        self.stdout.write(
            f"{counted(outcome.matched, 'line')} found, {counted(outcome.updated, 'item')} "
            f"{would}changed, {outcome.created:,} {would}added, "
            f"{counted(len(outcome.problems), 'line')} skipped."
        )
        if outcome.entries is not None:
            name = f"“{outcome.playlist}”" if outcome.playlist else "The playlist"
            has = "would have" if dry else "has"
            self.stdout.write(
                f"{name} {has} {counted(outcome.entries, 'entry', 'entries')} of the file."
            )


def _folder(path: Path) -> str:
    """Returns the file's folder in the library as a prefix of keys; empty if outside."""
    root, parent = Path(settings.MEDIA_ROOT).resolve(), path.resolve().parent
    if settings.STORAGE_PROVIDER != "local" or not parent.is_relative_to(root):
        return ""
    return "" if parent == root else f"{parent.relative_to(root).as_posix()}/"
