"""Explains why a worker has not reported.

If its reports are missing from the database, the worker may have died, or the database may
refuse them. On the worker's own machine its run directory distinguishes the two. For another
machine only the silence is known.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final

from django.conf import settings
from django.utils import timezone

from streams.playout.node import witness
from streams.playout.node.witness import LedgerFault
from streamsite.http import database_faults

#: A supervisor touches its file every 2 s, and its lease lasts 12 s.
FRESH: Final = timedelta(seconds=15)
#: With less free space a database can't grow by a page and its journal.
MIN_FREE_BYTES: Final = 1_000_000

UNKNOWN_FAULT: Final = "the log of the playout service has the error (ledger.failed)"


@dataclass(frozen=True, slots=True)
class Here:
    """This machine's worker: the time it was last alive, and the fault of its ledger.

    disk: the data folder if its disk is full, else empty.
    """

    node: str
    alive_at: datetime | None
    fault: LedgerFault | None
    disk: str = ""

    def lives(self, now: datetime) -> bool:
        return self.alive_at is not None and abs(now - self.alive_at) <= FRESH


def local_worker() -> Here:
    """Read the state of this machine's worker from the file system."""
    record = witness.read(settings.RUN_DIR)
    alive = record.alive_at
    return Here(
        node=settings.NODE_NAME,
        alive_at=datetime.fromtimestamp(alive, UTC) if alive is not None else None,
        fault=record.fault,
        disk=_full(settings.DATA_DIR),
    )


def _full(folder: Path) -> str:
    try:
        return str(folder) if shutil.disk_usage(folder).free < MIN_FREE_BYTES else ""
    except OSError:
        return ""


def clock(moment: datetime | None, zone: tzinfo | None = None) -> str:
    """Formats a moment for a sentence, in `zone` or else in the site's time zone."""
    if moment is None:
        return "the start"
    return timezone.localtime(moment, zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def meaning(error: str) -> str:
    """Returns the meaning of a ledger fault, to be used within a sentence."""
    return database_faults.meaning(error) or UNKNOWN_FAULT


def sentence(
    here: Here | None, owner: str, seen: datetime | None, now: datetime, zone: tzinfo | None
) -> str:
    """Returns why the state is unknown, with a full stop at the end.

    owner: the node that has the channel, "" for none. seen: the last report of that node, or of
    any node.
    """
    since = f"since {clock(seen, zone)}" if seen else "yet"
    if here is None or owner not in {"", here.node}:
        return (
            f"node {owner} has not reported {since}."
            if owner
            else f"no playout worker has reported {since}."
        )
    if not here.lives(now):
        gone = (
            f"the playout worker has not run since {clock(here.alive_at, zone)}"
            if here.alive_at
            else "no playout worker runs on this machine"
        )
        return f"{gone}: start it (manage.py run_cluster playout)."
    if here.fault is not None:
        began = clock(datetime.fromtimestamp(here.fault.since, UTC), zone)
        return f"the playout worker runs, but can't report since {began}: {_why(here)}."
    if here.disk:
        return f"the playout worker runs, but has not reported {since}: {_why(here)}."
    return f"the playout worker runs, but has not reported {since}."


def _why(here: Here) -> str:
    if here.disk:
        return f"the disk of {here.disk} is full: make room on it"
    return meaning(here.fault.error) if here.fault else UNKNOWN_FAULT
