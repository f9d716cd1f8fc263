"""The words of alerts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: What to do, by the beginning of an incident's subject. Causes often say it themselves.
ADVICE: Final = {
    "output": "Look at the destination's own page, and check its stream key.",
    "session": "Nothing to do: the session is renewed.",
    "storage": "Check the storage and the network. The programme goes on with what is local.",
    "programme": "Look at the playlist: replace or repair what can't be played.",
    "pace": "Prepare the items, run fewer channels here, or use a machine with more cores.",
    "database": "Check the database and the network to it.",
    "live": "Ask the broadcaster to connect again.",
    "picture": "Look at the item on air, or skip it.",
    "sound": "Listen to the item on air, or skip it.",
    "platform": "Look at the platform's own page of the broadcast.",
    "drill": "Nothing to do: somebody has ordered it.",
}
LABELS: Final = {"lost": "Off air", "degraded": "Degraded", "planned": "Planned"}
_HOUR_S: Final = 3600
_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Report:
    """One incident at one stage. Times have the receiver's time zone."""

    channel: str
    subject: str
    severity: str
    cause: str
    #: opened, lasting or closed.
    stage: str
    opened_at: datetime
    closed_at: datetime | None
    link: str = ""


def lasted(seconds: float) -> str:
    """Return a duration, such as `42 s`, `12 min 5 s` or `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def line(report: Report, now: datetime) -> str:
    since = f"{report.opened_at:%d %b %H:%M:%S %Z}"
    state = f"{report.channel}: {LABELS[report.severity]}"
    if report.closed_at is not None:
        took = lasted((report.closed_at - report.opened_at).total_seconds())
        text = f"{report.channel}: over after {took}, since {since}. It was: {report.cause}"
    elif report.stage == "lasting":
        took = lasted((now - report.opened_at).total_seconds())
        text = f"{state} for {took}, since {since}. {report.cause}"
    else:
        text = f"{state} since {since}. {report.cause}"
    advice = ADVICE.get(report.subject.partition("-")[0], "")
    if report.closed_at is None and advice:
        text += f" {advice}"
    return f"{text} {report.link}".rstrip()


def subject(reports: Sequence[Report], others: Sequence[str]) -> str:
    """Return the subject of a message. `others`: subjects of reports without incident."""
    if len(reports) == 1 and not others:
        (report,) = reports
        ending = "over" if report.closed_at else LABELS[report.severity].lower()
        return f"{report.channel}: {ending}"
    if not reports:
        return others[0] if len(others) == 1 else f"{len(others)} reports"
    names = ", ".join(dict.fromkeys(report.channel for report in reports))
    still = sum(report.closed_at is None for report in reports)
    return f"{names}: {still} open, {len(reports) - still} over"
