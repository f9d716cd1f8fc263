from __future__ import annotations

import json as as_json
import sys
import time
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management import BaseCommand, CommandError
from django.utils import timezone

from media_library.models import SyncRun
from media_library.sync import runner
from media_library.sync.runner import SyncError

#: Status of a process that Ctrl-C ended: 128 and the number of SIGINT.
INTERRUPTED: Final = 130


class Command(BaseCommand):
    help = "Compare the storage with the library and bring the library up to it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only show the difference.")
        parser.add_argument(
            "--accept",
            "--accept-gone",
            dest="accept_gone",
            action="store_true",
            help="Take what is gone or changed for true, however much it is.",
        )
        parser.add_argument("--json", action="store_true", help="End with one line of JSON.")

    def handle(self, *, dry_run: bool, accept_gone: bool, json: bool, **_: Any) -> None:
        began = time.monotonic()
        try:
            left = runner.prepare(by="sync_media", dry=dry_run, accept_gone=accept_gone)
            run = runner.run(left.pk, progress=_Progress() if sys.stderr.isatty() else None)
        except SyncError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            self.stderr.write("\nStopped. The next sync goes on from here.")
            sys.exit(INTERRUPTED)
        if run.status == SyncRun.Status.RUNNING:
            raise CommandError("Another worker took this sync over: look at the syncs' page.")
        if dry_run and not json:
            for what, key in run.differences:
                self.stdout.write(f"{what:8} {key}")
        counts = {
            name: getattr(run, name) for name in ("added", "changed", "gone", "unchanged")
        }
        if json:
            counts["seconds"] = round(time.monotonic() - began, 3)
            self.stdout.write(as_json.dumps(counts))
        else:
            words = ", ".join(f"{count} {name}" for name, count in counts.items())
            waiting = run.absent - run.gone if run.status == SyncRun.Status.DONE else 0
            missed = f" {waiting} absent: marked if the next sync does not find them either."
            self.stdout.write(f"{words}.{missed if waiting else ''}")
            if run.left_out:
                self.stdout.write(f"{run.left_out} left out: hidden, in a trash or the like.")
            if run.growing:
                self.stdout.write(f"{run.growing} still growing: taken up once they rest.")
        if run.status != SyncRun.Status.DONE:
            raise CommandError(run.fault)


class _Progress:
    """One line on the terminal, written over and over."""

    def __call__(self, run: SyncRun) -> None:
        seconds = max(1e-3, (timezone.now() - run.started_at).total_seconds())
        of = f" of about {run.known:,}" if run.known > run.seen else ""
        line = f"\r{run.seen:,}{of} objects, {run.added:,} added, {run.seen / seconds:,.0f}/s"
        sys.stderr.write(f"{line:78}")
        sys.stderr.flush()
