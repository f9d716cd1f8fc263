"""One report of an installation, which can be sent to others: it holds no secret.

Each part runs in a thread of its own and has its time; one that fails or hangs is a line of the
report.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import IntEnum
from functools import partial
from typing import Any, Final

from django.db import connections

from streamsite import __version__
from streamsite.maintenance import redaction

#: Seconds for all parts together, which run at the same time. The longest, the storage's
#: test, takes 36 s where nothing answers.
TIMEOUT_S: Final = 60.0
#: Seconds for reading the secrets that the report must not show.
SECRETS_TIMEOUT_S: Final = 20.0
#: Characters of a sentence.
MAX_CHARACTERS: Final = 1000
UNSAFE: Final = "Left out: the stored secrets could not be read, so one might be in it."


class Verdict(IntEnum):
    """Also the exit status: that of the worst line."""

    OK = 0
    WARNING = 1
    FAULT = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One finding of a part."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True)
class Part:
    """`of_rows`: its sentences may quote what is in the database."""

    name: str
    examine: Callable[[datetime], Iterable[Line]]
    of_rows: bool = True


@dataclass(frozen=True, slots=True)
class Report:
    made_at: datetime
    lines: tuple[tuple[str, Line], ...]

    @property
    def verdict(self) -> Verdict:
        return max((line.verdict for _, line in self.lines), default=Verdict.OK)

    def as_text(self) -> str:
        width = max(len(name) for name, _ in self.lines)
        rows = [
            f"{line.verdict.name.lower():8} {name:{width}}  {line.sentence}"
            for name, line in self.lines
        ]
        head = f"streamsite {__version__}, {self.made_at:%Y-%m-%d %H:%M:%S %Z}"
        return "\n".join([head, *rows, self._sum()])

    def as_data(self) -> dict[str, Any]:
        lines = [
            {"part": name} | asdict(line) | {"verdict": line.verdict.name.lower()}
            for name, line in self.lines
        ]
        return {
            "version": __version__,
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "verdict": self.verdict.name.lower(),
            "lines": lines,
        }

    def _sum(self) -> str:
        count = [line.verdict for _, line in self.lines].count
        return f"{count(Verdict.FAULT)} faults, {count(Verdict.WARNING)} warnings."


class Reading:
    """Reads something slow in a thread that nobody waits for without a bound."""

    def __init__(self, name: str, read: Callable[[], Iterable[Any]]) -> None:
        self._read = read
        #: What it has read so far.
        self.rows: list[Any] = []
        self.error: Exception | None = None
        # A daemon: the end of the process does not wait for a disk that hangs.
        self._thread = threading.Thread(target=self._run, name=f"doctor {name}", daemon=True)
        self._thread.start()

    def ended(self, until: float) -> bool:
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for one in self._read():
                self.rows.append(one)
        except Exception as error:  # noqa: BLE001 - it becomes a line; the log could show a secret
            self.error = error
        finally:
            connections.close_all()


def report(parts: Sequence[Part], now: datetime, timeout_s: float = TIMEOUT_S) -> Report:
    """Examines all parts at the same time, for `timeout_s` seconds at most."""
    begun = time.monotonic()
    stored = Reading("secrets", redaction.of_database)
    running = [(part, Reading(part.name, partial(part.examine, now))) for part in parts]
    secrets = redaction.of_settings()
    complete = stored.ended(begun + min(SECRETS_TIMEOUT_S, timeout_s)) and stored.error is None
    secrets += stored.rows
    lines = [
        (part, line)
        for part, reading in running
        for line in _lines(reading, begun + timeout_s, timeout_s)
    ]
    sentences = [
        UNSAFE if part.of_rows and not complete else " ".join(line.sentence.split())
        for part, line in lines
    ]
    # All at once: there may be hundreds of secrets.
    shown = redaction.redacted("\n".join(sentences), secrets).split("\n")
    return Report(
        now,
        tuple(
            (part.name, Line(line.verdict, sentence[:MAX_CHARACTERS]))
            for (part, line), sentence in zip(lines, shown, strict=True)
        ),
    )


def _lines(reading: Reading, until: float, timeout_s: float) -> list[Line]:
    if not reading.ended(until):
        late = f"Unknown: it did not end within {timeout_s:.0f} s."
        return [*reading.rows, Line(Verdict.FAULT, late)]
    if (error := reading.error) is not None:
        failed = f"Unknown: it failed ({type(error).__name__}: {error})."
        return [*reading.rows, Line(Verdict.FAULT, failed)]
    return reading.rows
