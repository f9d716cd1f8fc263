"""Groups incidents by cause, and transitions by kind. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from streams.programme.lookahead import Span, merged

#: Groups of one period; the rest is summed up as `OTHERS`.
MAX_GROUPS: Final = 30
OTHERS: Final = "Other causes"
#: What differs between two incidents of one cause, and what takes its place.
_PARTICULARS: Final = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE), "…"),
    (re.compile(r"[“\"][^”\"]*[”\"]"), "…"),
    # Names of machines and files, and addresses.
    (re.compile(r"\[[0-9a-f:.]+\](?::\d+)?", re.IGNORECASE), "…"),
    (
        re.compile(r"\b(?:(?:[\w-]+\.)+[a-z][\w-]*|(?:\d+\.){3}\d+)(?::\d+)?\b", re.IGNORECASE),
        "…",
    ),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "N"),
)
#: Kind of part, severity, and cause.
Key = tuple[str, str, str]
#: Subjects whose causes begin with the output's name.
_NAMED: Final = ("output", "session", "platform")


@dataclass(frozen=True, slots=True)
class CauseGroup:
    """Incidents of one kind, severity and cause in a period, while the channel was ordered on.

    `kind`: the part affected, such as output, channel or programme. `cause`: without names,
    numbers and addresses. `seconds`: together, overlaps counted once.
    """

    kind: str
    severity: str
    cause: str
    incidents: int
    seconds: float
    longest_seconds: float
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """A transition: when it was over, and the seconds that it took."""

    kind: str
    at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Transitions:
    """The transition times of one kind in a period, in seconds.

    takeover: from the request to the live feed on air. failover: from the end of what failed
    to what replaced it on air. node: from the last of one node to the first of the next.
    """

    kind: str
    count: int
    median_seconds: float
    worst_seconds: float


def kind(subject: str) -> str:
    """Returns the kind of part: output for output-7."""
    return re.sub(r"-\d+$", "", subject)


def normalised(subject: str, cause: str, output: str = "") -> str:
    """Returns the cause without what differs between two incidents of the same cause.

    `output`: the name of the output with which its causes begin.
    """
    text = " ".join(cause.split())
    if kind(subject) in _NAMED:
        name = f"{output}: "
        # An output that was renamed or deleted since has another name in its old incidents.
        text = (
            text.removeprefix(name)
            if text.startswith(name)
            else text.partition(": ")[2] or text
        )
    for pattern, replacement in _PARTICULARS:
        text = pattern.sub(replacement, text)
    return text


def by_cause(incidents: Iterable[tuple[Key, Sequence[Span]]]) -> tuple[CauseGroup, ...]:
    """Returns the groups, the most seconds first. Incidents without a span are left out."""
    by_key: dict[Key, list[Sequence[Span]]] = {}
    for key, spans in incidents:
        if spans:
            by_key.setdefault(key, []).append(spans)
    groups = sorted(
        (_group(key, rows) for key, rows in by_key.items()),
        key=lambda group: (-group.seconds, group.kind, group.severity, group.cause),
    )
    if len(groups) <= MAX_GROUPS:
        return tuple(groups)
    shown, rest = groups[: MAX_GROUPS - 1], groups[MAX_GROUPS - 1 :]
    keys = [(group.kind, group.severity, group.cause) for group in rest]
    return (*shown, _group(("", "", OTHERS), [one for key in keys for one in by_key[key]]))


def _group(key: Key, incidents: Sequence[Sequence[Span]]) -> CauseGroup:
    spans = [span for one in incidents for span in one]
    return CauseGroup(
        *key,
        incidents=len(incidents),
        seconds=_length(merged(spans)),
        longest_seconds=max(map(_length, incidents)),
        last_at=max(begins for begins, _ in spans),
    )


def _length(spans: Iterable[Span]) -> float:
    return sum((ends - begins for begins, ends in spans), timedelta()).total_seconds()


def transitions(moments: Iterable[Moment], period: Span) -> tuple[Transitions, ...]:
    """Returns the transition times of each kind that occurred in the period."""
    by_kind: dict[str, list[float]] = {}
    for one in moments:
        if period[0] <= one.at < period[1]:
            by_kind.setdefault(one.kind, []).append(one.seconds)
    return tuple(
        Transitions(name, len(times), median(times), max(times))
        for name, times in sorted(by_kind.items())
    )
