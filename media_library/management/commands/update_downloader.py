"""`manage.py update_downloader`: installs, tests and activates a newer yt-dlp."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from media_library.downloads import ytdlp_versions
from media_library.downloads.ytdlp_versions import UpdateError


class Command(BaseCommand):
    help = (
        "Installs the newest yt-dlp into an environment of its own, tests it with a download "
        "from this machine, and uses it from then on. Running downloads keep theirs. Run it on "
        "each machine that downloads."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--rollback", action="store_true", help="use the previous yt-dlp again"
        )
        what.add_argument(
            "--check", action="store_true", help="show the current and the newest version"
        )
        parser.add_argument(
            "--from",
            dest="source",
            type=Path,
            metavar="FOLDER",
            help="take wheels from this folder instead of the package index",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        source: Path | None = options["source"]
        if source is not None and not source.is_dir():
            raise CommandError(f"{source} is not a folder: give one with wheels in it.")
        try:
            self.stdout.write(self._done(source, options))
        except UpdateError as error:
            raise CommandError(str(error)) from None

    def _done(self, source: Path | None, options: dict[str, Any]) -> str:
        if options["rollback"]:
            return ytdlp_versions.roll_back(timezone.now())
        if not options["check"]:
            return ytdlp_versions.update(timezone.now(), source=source)
        used, newest = ytdlp_versions.about(), ytdlp_versions.newest(source=source)
        if used is None:
            raise CommandError(
                f"The current yt-dlp can't be started. Newest: {newest}. Update it."
            )
        if ytdlp_versions.numbers(newest) <= ytdlp_versions.numbers(used.version):
            return f"yt-dlp {used.version} is used, which is the newest."
        return f"yt-dlp {used.version} is used; {newest} is available: update_downloader."
