"""`manage.py doctor`: one report of this installation, without a secret."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from streamsite.maintenance import doctor
from streamsite.maintenance.doctor_parts import PARTS


class Command(BaseCommand):
    help = (
        "Reports versions, settings, machine, services and channels; it shows no secret. "
        "Exit code 0: fine, 1: warnings, 2: faults."
    )
    # It runs them itself.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *, json: bool, **_: Any) -> None:
        report = doctor.report(PARTS, timezone.now())
        self.stdout.write(_json(report) if json else report.as_text())
        if report.verdict:
            sys.exit(report.verdict)


def _json(report: doctor.Report) -> str:
    return json.dumps(report.as_data(), indent=2)
