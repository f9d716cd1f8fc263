"""`manage.py collectstatic`: Django's, but done only where something changed."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.staticfiles.management.commands import collectstatic

from streamsite.http import static_files


class Command(collectstatic.Command):
    help = "Collects the static files where they have changed since the last time."

    def handle(self, **options: Any) -> str | None:
        if options["dry_run"] or options["link"]:
            return super().handle(**options)
        current = static_files.fingerprint()
        if not options["clear"] and static_files.collected() == current:
            return "The static files have not changed."
        static_files.stamp("")
        # The packed copies beside each file get their mode from here.
        before = os.umask(0o777 & ~static_files.FOLDER_MODE)
        try:
            output: str | None = super().handle(**options)
            static_files.stamp(current)
        finally:
            os.umask(before)
        return output
