from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError

from streams.drill import runner
from streams.drill.promises import NOT_POSSIBLE, PROMISES, Fault, Verdict
from streams.drill.runner import DrillRefusedError, Result
from streams.management.channel_command import ChannelCommand, noted
from streamsite.accounts.shell_user import shell_user

#: Exit codes: a promise was missed; refused, or not everything could be measured.
MISSED: Final = 1
INCOMPLETE: Final = 2


class Command(ChannelCommand):
    help = (
        "Bring faults about on a channel that is on air, and measure its recovery; exit code 0 "
        "if all promises were kept, 1 if one was missed, 2 if refused or not measured."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--fault",
            action="append",
            choices=[fault.value for fault in Fault],
            help="A fault, and may be given several times. Left out: all of them.",
        )
        parser.add_argument(
            "--yes-this-channel",
            action="store_true",
            help="Drill a channel that is not marked as a test channel: viewers see it.",
        )
        parser.add_argument("--json", action="store_true", help="Print the results as JSON.")

    def handle(self, *, slug: str | None, **options: Any) -> None:
        channel = self.channel(slug)
        chosen = [Fault(name) for name in options["fault"] or Fault]
        try:
            ordered = runner.order(
                channel,
                chosen,
                by=shell_user(),
                note=noted(channel, f"Drill ({', '.join(chosen)})"),
                confirmed=options["yes_this_channel"],
                here=settings.NODE_NAME,
            )
        except DrillRefusedError as refusal:
            raise CommandError(str(refusal), returncode=INCOMPLETE) from None
        row = runner.take(ordered.pk)
        if row is None:
            raise CommandError("Another process runs the drill.", returncode=INCOMPLETE)
        if options["json"]:
            results: list[Result] = []
            runner.run(row, settings.RUN_DIR, results.append)
            document = {
                "channel": channel.slug,
                "results": [asdict(result) for result in results],
                "not_possible": NOT_POSSIBLE,
            }
            self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            self.stdout.write(f"Viewers of {channel.name} will see, in this order:")
            for fault in chosen:
                self.stdout.write(f"  {PROMISES[fault].label}: {PROMISES[fault].viewers}")
            results = []

            def report(result: Result) -> None:
                results.append(result)
                self.stdout.write(_lines(result))

            runner.run(row, settings.RUN_DIR, report)
            for what, why in NOT_POSSIBLE.items():
                self.stdout.write(f"{what}: not possible here. {why}")
        verdicts = {result.verdict for result in results}
        if Verdict.MISSED in verdicts:
            sys.exit(MISSED)
        if Verdict.UNKNOWN in verdicts:
            sys.exit(INCOMPLETE)


def _lines(result: Result) -> str:
    lines = [f"{result.label}: {result.verdict.upper()}", f"  Promise: {result.promise}"]
    if (measured := result.measured) is not None:
        recovered, lost = measured["recovered_s"], measured["air_lost_s"]
        kept = {True: "kept", False: "ended", None: "none"}[measured["session_kept"]]
        back = "no" if recovered is None else f"{recovered:.1f} s"
        air = "unknown" if lost is None else f"{lost:.1f} s"
        lines.append(
            f"  Recovered: {back} (at most {result.within_s:g} s). Air lost: {air}. "
            f"Sessions: {kept}. {measured['detail']}".rstrip()
        )
    if result.reason:
        lines.append(f"  {result.reason}")
    return "\n".join(lines)
