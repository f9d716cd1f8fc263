"""The table of deploy/retention.md.

`python -m streamsite.maintenance.retention_table` prints it.
"""

from __future__ import annotations

import os

import django

from streamsite.config.retention import DAYS


def as_markdown() -> str:
    """The kinds of rows, and when they are removed."""
    from streamsite.maintenance.retention import KINDS  # noqa: PLC0415 - after the set-up

    lines = [("Kind", "Rows", "Days", "Removed"), ("---", "---", "--:", "---")]
    for kind in KINDS:
        rows = str(kind.model._meta.verbose_name_plural).lower()
        lines.append((f"`{kind.name}`", rows, str(DAYS[kind.name]), kind.rule))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "streamsite.settings")
    django.setup()
    print(as_markdown())  # noqa: T201 - it is what was asked for
