"""The table of deploy/settings.md: the settings that the program reads, and what they mean.

`python -m streamsite.site.settings_table` prints it. Defaults and values come from
`streamsite.settings`, sections and meanings from .env.example.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from streamsite import settings

_SECTION: Final = re.compile(r"# ---- (.+) ----")
_SETTING: Final = re.compile(r"#([A-Z_]+)=")


def meanings(example: str) -> Iterator[tuple[str, str, str]]:
    """Yields section, name and meaning of each setting; "" where no comment stands before."""
    section = ""
    comment: list[str] = []
    for line in example.splitlines():
        if match := _SECTION.fullmatch(line):
            section = match[1]
        elif match := _SETTING.match(line):
            yield section, match[1], " ".join(comment)
            comment = []
        elif line.startswith("# "):
            comment.append(line.removeprefix("# "))
        else:
            comment = []


def as_markdown() -> str:
    """Every setting with default, values, unit and meaning, in the order of .env.example."""
    lines = [("Setting", "Default", "Values", "Meaning"), ("---", "---", "---", "---")]
    before = ""
    example = (settings.BASE_DIR / ".env.example").read_text()
    for section, name, meaning in meanings(example):
        if section != before:
            lines.append((f"**{section[0].upper()}{section[1:]}**", "", "", ""))
            before = section
        default = settings.env.defaults[name]
        # A long list may be broken at its commas.
        shown = f"`{default}`".replace(",", "`, `") if default else ""
        lines.append((f"`{name}`", shown, settings.env.kinds[name], meaning))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(as_markdown())  # noqa: T201 - it is what was asked for
