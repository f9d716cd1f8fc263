"""Each part of the machinery, with a sentence: what works, and what to do about the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Max, Q
from django_q.models import OrmQ, Task

from media_library.storage import state
from streams.models import Channel, Node
from streams.monitoring import preflight, worker_silence
from streams.monitoring.failing_jobs import failing
from streams.monitoring.formatting import span
from streams.monitoring.report import report
from streams.monitoring.worker_silence import FRESH, Here, clock
from streams.playout.node.witness import LedgerFault
from streamsite.http import database_faults
from streamsite.processes.cluster import SELF_TEST_TASK

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The jobs cluster runs its canary once a minute: after this nobody does.
SILENCE: Final = timedelta(minutes=5)
#: Kinds of failing job that are told one by one.
MOST_JOBS: Final = 3
#: A node that was silent for longer was taken away rather than lost.
TAKEN_AWAY: Final = timedelta(days=1)
#: Seconds for which the storage's answer is told again: watchdogs ask often, and it may be far.
STORAGE_KEPT: Final = 15
#: Seconds that such a question waits for the answer: the check takes no longer.
STORAGE_WAIT: Final = 9.5
#: Seconds after which its age is told too.
STORAGE_OLD: Final = 30
#: Without these nothing is known or played.
VITAL: Final = frozenset({"database", "nodes"})


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    ok: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Detailed:
    """status: ok; degraded: a part has a fault; down: nothing can be known or played."""

    status: str
    parts: tuple[Part, ...]
    channels: tuple[dict[str, Any], ...]

    def told(self) -> dict[str, Any]:
        return asdict(self)


def detailed(now: datetime) -> Detailed:
    """Asks everything there is, the storage too: 9 s at most where that is far or away."""
    parts = [_part(name, look, now) for name, look in PARTS.items()]
    try:
        air = report(now)
    except DatabaseError:
        return Detailed("down", tuple(parts), ())
    faulty = {part.name for part in parts if not part.ok}
    down = air.status == "down" or faulty & VITAL
    well = air.status == "ok" and not faulty
    status = "down" if down else "ok" if well else "degraded"
    return Detailed(status, tuple(parts), tuple(air.public()["channels"]))


def _part(name: str, look: Callable[[datetime], tuple[bool, str]], now: datetime) -> Part:
    try:
        return Part(name, *look(now))
    except DatabaseError:
        return Part(name, ok=False, sentence="It can't be told: the database can't be read.")


def _database(now: datetime) -> tuple[bool, str]:
    names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    name = names.get(connection.vendor, connection.vendor)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        cause = database_faults.meaning(str(error)) or "the log of the web has the error"
        log.warning("health.database", error=str(error))
        return False, f"{name} can't be read: {cause}."
    if (fault := _fault_of_ledger(now)) is not None:
        since = clock(datetime.fromtimestamp(fault.since, UTC))
        return False, (
            f"{name} can be read, but the playout worker has failed to report to it since "
            f"{since}: {worker_silence.meaning(fault.error)}."
        )
    return True, f"{name} answers."


def _fault_of_ledger(now: datetime) -> LedgerFault | None:
    """Of this machine's worker. What one that is gone has left is no news."""
    here = worker_silence.local_worker()
    return here.fault if here.lives(now) else None


def _queue(now: datetime) -> tuple[bool, str]:
    waiting = OrmQ.objects.filter(key=settings.Q_CLUSTER["name"]).count()
    last = (
        Task.objects.filter(func=SELF_TEST_TASK)
        .order_by("-stopped")
        .values_list("stopped", flat=True)
        .first()
    )
    jobs = f"{waiting} {'job waits' if waiting == 1 else 'jobs wait'}."
    if last is not None and now - last <= SILENCE:
        return True, f"The jobs cluster works; {jobs}"
    since = f"since {clock(last)}" if last else "yet"
    return False, (
        f"No job has been done {since}; {jobs} Start the jobs cluster (manage.py run_cluster "
        "jobs); where it runs, all its workers may be busy."
    )


def _jobs(now: datetime) -> tuple[bool, str]:
    found = failing(now)
    if not found:
        return True, "No job has failed within the last hour without going well since."
    said = " ".join(each.sentence for each in found[:MOST_JOBS])
    more = len(found) - MOST_JOBS
    return False, f"{said} {more} more kinds fail." if more > 0 else said


def _storage(_now: datetime) -> tuple[bool, str]:
    found = state.state(fresh_s=STORAGE_KEPT, wait_s=STORAGE_WAIT)
    if found is None:
        return True, state.UNKNOWN
    if found.age_s > STORAGE_OLD:
        said = found.value or "The storage could be read"
        return not found.value, (
            f"{said.rstrip('.')}. That was {span(found.age_s)} ago: it is being checked again, "
            "and has not answered so far."
        )
    return (False, found.value) if found.value else (True, "The storage can be read.")


def _ffmpeg(now: datetime) -> tuple[bool, str]:
    """As the nodes that play found it when they began; without one, as this machine has it."""
    found = list(Node.objects.filter(seen_at__gte=now - FRESH))
    if not found:
        path = settings.FFMPEG_PATH
        if shutil.which(path) is None:
            return False, f"FFmpeg is not there ({path}): install it, or set FFMPEG_PATH."
        return True, "FFmpeg is on this machine; no node tells which it plays with."
    if lacking := [node.name for node in found if not node.ffmpeg]:
        return False, (
            f"FFmpeg can't be run on {', '.join(lacking)}: type apt-get install ffmpeg there, "
            "or set FFMPEG_PATH; then start its playout worker again."
        )
    if any(node.hides_keys is False for node in found):
        return False, preflight.UNFIT_FFMPEG
    return True, f"Every node has it: {', '.join(sorted({node.ffmpeg for node in found}))}."


def _disk(_now: datetime) -> tuple[bool, str]:
    faults = [finding.sentence for finding in preflight.folders()]
    if faults:
        return False, " ".join(faults)
    free = shutil.disk_usage(settings.DATA_DIR).free
    return True, f"The disks have room: {free / 1e9:.1f} GB are free for the data."


def _nodes(now: datetime) -> tuple[bool, str]:
    there = Node.objects.exclude(seen_at=None)
    fresh = there.filter(seen_at__gte=now - FRESH).count()
    # One that still plays something is missed, however long ago it was seen.
    playing = Q(name__in=Channel.objects.filter(order=Channel.Order.ON).values("state__owner"))
    lost = there.filter(seen_at__lt=now - FRESH).filter(
        Q(seen_at__gte=now - TAKEN_AWAY) | playing
    )
    names = {node.name: node.seen_at for node in lost}
    if not fresh and not names:
        last = there.aggregate(last=Max("seen_at"))["last"]
        names = {"": last}
    if names:
        here = worker_silence.local_worker()
        return False, " ".join(_silent(here, name, seen, now) for name, seen in names.items())
    said = "1 node reports" if fresh == 1 else f"{fresh} nodes report"
    return True, f"{said}; after {span(FRESH.total_seconds())} of silence it is missed."


def _silent(here: Here, name: str, seen: datetime | None, now: datetime) -> str:
    known = here if name in {"", here.node} else None
    said = worker_silence.sentence(known, name, seen, now, None)
    advice = "" if known else " See that the machine and its playout service run."
    return f"{said[0].upper()}{said[1:]}{advice}"


PARTS: Final[dict[str, Callable[[datetime], tuple[bool, str]]]] = {
    "database": _database,
    "queue": _queue,
    "jobs": _jobs,
    "storage": _storage,
    "ffmpeg": _ffmpeg,
    "disk": _disk,
    "nodes": _nodes,
}
