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

#: Exit status of a process ended by Ctrl-C: 128 and the number of SIGINT.
INTERRUPTED: Final = 130


class Command(BaseCommand):
    help = "Compare the storage with the library and bring the library up to it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only show the differences.")
        parser.add_argument(
            "--accept",
            "--accept-gone",
            dest="accept_gone",
            action="store_true",
            help="Accept missing and changed items, whatever their number.",
        )
        parser.add_argument("--json", action="store_true", help="End with one line of JSON.")

    def handle(self, *, dry_run: bool, accept_gone: bool, json: bool, **_: Any) -> None:
        began = time.monotonic()
        try:
            prepared = runner.prepare(by="sync_media", dry=dry_run, accept_gone=accept_gone)
            run = runner.run(prepared.pk, progress=_Progress() if sys.stderr.isatty() else None)
        except SyncError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            self.stderr.write("\nStopped. The next sync resumes here.")
            sys.exit(INTERRUPTED)
        if run.status == SyncRun.Status.RUNNING:
            raise CommandError(
                "Another worker took over this sync: check the page of the syncs."
            )
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
            missed = f" {waiting} absent: marked if the next sync does not list them either."
            self.stdout.write(f"{words}.{missed if waiting else ''}")
            if run.left_out:
                self.stdout.write(f"{run.left_out} skipped: hidden, in a trash or similar.")
            if run.growing:
                self.stdout.write(f"{run.growing} still growing: a later sync adds them.")
        if run.status != SyncRun.Status.DONE:
            raise CommandError(run.fault)


class _Progress:
    """Rewrites one line of the terminal."""

    def __call__(self, run: SyncRun) -> None:
        seconds = max(1e-3, (timezone.now() - run.started_at).total_seconds())
        of = f" of about {run.items_before:,}" if run.items_before > run.seen else ""
        line = f"\r{run.seen:,}{of} objects, {run.added:,} added, {run.seen / seconds:,.0f}/s"
        sys.stderr.write(f"{line:78}")
        sys.stderr.flush()
