"""What the supervisor leaves on its own machine: that it runs, and what its ledger does.

Pages read its reports in the database. Where those stay away because the database itself can't
be written to, only this folder can say why.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Touched at every tick, whether the ledger answers or not: the cluster's master looks at it.
ALIVE_FILE: Final = "playout.alive"
#: There while the ledger fails.
FAULT_FILE: Final = "ledger-fault.json"
#: Characters of an error that are kept: its first line, for the next ones may quote a row.
MAX_ERROR_LENGTH: Final = 200
#: Characters of the file that are read: each of an error's may be written as twelve (\\uXXXX).
MAX_FILE_CHARS: Final = 4096
#: Seconds since the epoch that a datetime can hold: the year 9999.
MAX_EPOCH_S: Final = 253_000_000_000


@dataclass(frozen=True, slots=True)
class LedgerFault:
    """since: seconds since the epoch; error: as the database said it, "" for no answer."""

    since: float
    error: str


@dataclass(frozen=True, slots=True)
class Witness:
    """What this machine knows of its supervisor. `alive_at`: seconds since the epoch."""

    alive_at: float | None
    fault: LedgerFault | None


class FaultFile:
    """The supervisor's pen. Writes when the fault changes; a folder that refuses is logged."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FAULT_FILE
        self._fault: LedgerFault | None = None
        self._clean = False

    def failed(self, since: float, error: str) -> None:
        message = (error.splitlines() or [""])[0][:MAX_ERROR_LENGTH]
        if self._fault is not None:
            # access(), not exists(): that raises where the folder itself refuses.
            if message in {"", self._fault.error} and os.access(self._path, os.F_OK):
                return
            since = self._fault.since
        self._fault = LedgerFault(since, message)
        self._clean = False
        draft = self._path.with_suffix(".part")
        try:
            draft.write_text(json.dumps(asdict(self._fault)))
            draft.replace(self._path)
        except OSError as problem:
            log.warning("ledger.fault_not_kept", error=str(problem))

    def answered(self) -> None:
        self._fault = None
        if not self._clean:
            self._clean = True
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def read(run_dir: Path) -> Witness:
    """Two small files, read at once; what can't be read is not known."""
    alive_at: float | None = None
    fault: LedgerFault | None = None
    with suppress(OSError):
        alive_at = (run_dir / ALIVE_FILE).stat().st_mtime
    with suppress(OSError, ValueError), (run_dir / FAULT_FILE).open() as file:
        fault = _fault(file.read(MAX_FILE_CHARS))
    return Witness(alive_at, fault)


def _fault(text: str) -> LedgerFault | None:
    """None: a torn file, or one that no supervisor has written."""
    try:
        match json.loads(text):
            case {"since": float(since) | int(since), "error": str(error)} if (
                0 <= since < MAX_EPOCH_S
            ):
                return LedgerFault(float(since), error[:MAX_ERROR_LENGTH])
    except RecursionError:
        return None
    return None
