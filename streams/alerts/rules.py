"""Decides which receiver gets what, and when. Pure: the tests are tables.

incident begins ──wanted──▶ message, due after the grouping time and the quiet hours
   │ lasts `repeat` since the last one ──▶ another one
   ▼ ends ──wanted──▶ message
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

#: Severities by rank, as incidents have them.
RANK: Final = {"planned": 0, "degraded": 1, "lost": 2}
URGENT: Final = "lost"


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours of a day in `zone`; they may span midnight."""

    begin: time
    end: time
    zone: ZoneInfo

    def ends(self, now: datetime) -> datetime | None:
        """Return when the quiet hours that are on now end; None: it is not quiet."""
        local = now.astimezone(self.zone)
        moment, day = local.time(), local.date()
        if self.begin < self.end:
            quiet = self.begin <= moment < self.end
        else:
            quiet = moment >= self.begin or moment < self.end
        if not quiet:
            return None
        if moment >= self.end:
            day += timedelta(days=1)
        return datetime.combine(day, self.end, self.zone)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a receiver wants."""

    lowest: str = "degraded"
    opened: bool = True
    closed: bool = True
    #: Time between reports of an incident that lasts; None: one is enough.
    repeat: timedelta | None = None
    group: timedelta = timedelta(0)
    quiet: Quiet | None = None
    #: Lost air is reported in quiet hours too.
    urgent: bool = True

    def wants(self, stage: str, severity: str) -> bool:
        """Whether it wants that stage of an incident (opened, lasting or closed)."""
        if RANK.get(severity, 1) < RANK[self.lowest]:
            return False
        return {
            "opened": self.opened,
            "lasting": self.repeat is not None,
            "closed": self.closed,
        }[stage]

    def due(self, severity: str | None, now: datetime, waiting: datetime | None) -> datetime:
        """Return when a message of now is sent. `severity`: None without an incident.

        `waiting`: when the next one that waits already is due: it takes this one along.
        """
        urgent = self.urgent and severity == URGENT
        quiet = None if self.quiet is None or urgent else self.quiet.ends(now)
        if quiet is not None:
            return quiet
        own = now + self.group
        return min(own, waiting) if waiting is not None and waiting > now else own

    def again(self, severity: str, last: datetime, now: datetime) -> bool:
        """Whether an incident that lasts is reported again. `last`: the last report of it."""
        repeat = self.repeat
        return repeat is not None and self.wants("lasting", severity) and now - last >= repeat
