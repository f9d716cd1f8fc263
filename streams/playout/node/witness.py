"""Files in which the supervisor records that it runs and whether its ledger fails.

Pages read its reports from the database. When those stop because the database itself can't be
written to, only these files can explain why.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import structlog
from pydantic import Field, TypeAdapter

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Touched every tick whether the ledger answers or not; the cluster's master checks it.
ALIVE_FILE: Final = "playout.alive"
#: Exists while the ledger fails.
FAULT_FILE: Final = "ledger-fault.json"
#: Maximum characters kept of an error: its first line, because later ones may quote a row.
MAX_ERROR_LENGTH: Final = 200
#: Maximum characters read of the file: each character of an error may be written as twelve
#: (\\uXXXX).
MAX_FILE_CHARS: Final = 4096
#: The latest second since the epoch that a datetime can hold: the year 9999.
MAX_EPOCH_S: Final = 253_000_000_000


@dataclass(frozen=True, slots=True)
class LedgerFault:
    """since: seconds since the epoch; error: the database's message, "" for no answer."""

    since: Annotated[float, Field(strict=True, ge=0, lt=MAX_EPOCH_S)]
    error: Annotated[str, Field(max_length=MAX_ERROR_LENGTH)]


_FAULT: Final = TypeAdapter(LedgerFault)


@dataclass(frozen=True, slots=True)
class Witness:
    """State of this machine's supervisor. `alive_at`: seconds since the epoch."""

    alive_at: float | None
    fault: LedgerFault | None


class FaultFile:
    """Writes the fault file when the fault changes; logs a folder that can't be written."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FAULT_FILE
        self._fault: LedgerFault | None = None
        self._clean = False

    def failed(self, since: float, error: str) -> None:
        message = (error.splitlines() or [""])[0][:MAX_ERROR_LENGTH]
        if self._fault is not None:
            # access(), not exists(): that raises if the folder itself refuses access.
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
    """Read two small files; unreadable ones count as unknown."""
    alive_at: float | None = None
    fault: LedgerFault | None = None
    with suppress(OSError):
        alive_at = (run_dir / ALIVE_FILE).stat().st_mtime
    with suppress(OSError, ValueError), (run_dir / FAULT_FILE).open() as file:
        # A torn file, or one that no supervisor has written, is not valid.
        fault = _FAULT.validate_json(file.read(MAX_FILE_CHARS))
    return Witness(alive_at, fault)
