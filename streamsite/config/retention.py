"""Days for which each kind of row is kept: see `streamsite.maintenance.retention`."""

from __future__ import annotations

from typing import Final

#: Days, by kind. RETENTION_DAYS changes them.
DAYS: Final = {
    "as-run": 730,
    "runs": 730,
    "incidents": 730,
    "evidence": 30,
    "takeovers": 730,
    "drills": 365,
    "live-streams": 365,
    "broadcasts": 365,
    "watch-days": 730,
    "samples": 730,
    "upcoming-problems": 30,
    "nodes": 90,
    "syncs": 90,
    "copies": 90,
    "downloads": 90,
    "download-batches": 90,
    "site-pauses": 1,
    "deliveries": 30,
    "key-changes": 730,
    "admin-history": 730,
    "audit-log": 730,
    "sessions": 1,
    "logins": 90,
    "failures": 30,
    "jobs": 30,
    "messages": 30,
}
#: Fewer days than these would take rows that pages and reports still read: uptime counts 90
#: days, downloads' quotas 30, watch hours twelve months and four weeks.
MIN_DAYS: Final = {
    "as-run": 90,
    "runs": 90,
    "incidents": 90,
    "takeovers": 90,
    "watch-days": 400,
    "downloads": 31,
}
#: A century.
MAX_DAYS: Final = 36_500


def retention(words: list[str]) -> dict[str, int]:
    """Returns the days by kind; `words`: changes such as "samples=7".

    Raises `ValueError` with a sentence.
    """
    days = dict(DAYS)
    for word in words:
        kind, _, number = (part.strip() for part in word.partition("="))
        if kind not in DAYS:
            raise ValueError(f"there is no kind {kind!r}: it is one of {', '.join(DAYS)}")
        least = MIN_DAYS.get(kind, 1)
        if not number.isdecimal() or not least <= int(number) <= MAX_DAYS:
            raise ValueError(f"write {kind}= and days, from {least} to {MAX_DAYS}")
        days[kind] = int(number)
    return days
