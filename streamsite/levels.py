"""What an API key may do: one table, a row for each route. Pure.

`python -m streamsite.levels` prints it as deploy/api.md has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Level(StrEnum):
    """Of a key. Each may do what those before it may."""

    READ_ONLY = "READ_ONLY"
    DOWNLOAD = "DOWNLOAD"
    ADMIN = "ADMIN"
    FULL_ACCESS = "FULL_ACCESS"

    def includes(self, other: Level) -> bool:
        return _RANK[self] >= _RANK[other]


_RANK: Final = {level: rank for rank, level in enumerate(Level)}


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may call a route: keys of that level and above, and staff with that permission."""

    level: Level
    permission: str


def _rows(
    level: Level, permission: str, *routes: str, prefix: str = "/api/v1/"
) -> dict[str, Rule]:
    """Routes as `GET channels/{slug}`."""
    rule = Rule(level, permission)
    return {
        f"{verb} {prefix}{path}": rule for verb, path in (route.split(" ") for route in routes)
    }


#: A route that is not in it can't be called at all.
TABLE: Final[dict[str, Rule]] = {
    # ---- health
    **_rows(
        Level.READ_ONLY,
        "streams.view_channel",
        "GET health/detailed",
        "GET health/metrics",
        "GET health/uptime",
    ),
    **_rows(
        Level.READ_ONLY,
        "streams.view_channel",
        "GET health/detailed",
        "GET health/metrics",
        "GET health/uptime",
        prefix="/",
    ),
    # ---- what is on air
    **_rows(
        Level.READ_ONLY,
        "streams.view_channel",
        "GET channels",
        "GET channels/{slug}",
        "GET channels/{slug}/status",
    ),
    **_rows(
        Level.ADMIN,
        "streams.operate_channel",
        "POST channels/{slug}/start",
        "POST channels/{slug}/stop",
        "POST channels/{slug}/restart",
        "POST channels/{slug}/skip",
    ),
}


def rule_of(method: str, path: str) -> Rule | None:
    """The rule of a route such as `/api/v1/channels/{slug}`."""
    return TABLE.get(f"{method} {path}")


def as_markdown() -> str:
    """The table for people: a line a route, a mark under each level that may call it."""
    head = ["Route", *(level.value for level in Level), "Staff need"]
    lines = [head, ["---", *(":-:" for _ in Level), "---"]]
    for route, rule in TABLE.items():
        marks = ("✓" if level.includes(rule.level) else "" for level in Level)
        lines.append([f"`{route}`", *marks, f"`{rule.permission}`"])
    return "\n".join(f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in lines)


if __name__ == "__main__":
    print(as_markdown())  # noqa: T201 - it is what was asked for
