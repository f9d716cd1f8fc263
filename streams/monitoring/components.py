"""The state of each component in a sentence: whether it works, else what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Max, Q
from django_q.models import OrmQ, Task

from media_library.storage import state
from streams.models import Channel, Node, Output
from streams.monitoring import preflight, worker_silence
from streams.monitoring.failing_jobs import failing
from streams.monitoring.formatting import span
from streams.monitoring.nodes import TAKEN_AWAY, reports
from streams.monitoring.report import report
from streams.monitoring.worker_silence import FRESH, Here, clock
from streams.playout.node.witness import LedgerFault
from streamsite.http import database_faults
from streamsite.processes.cluster import SELF_TEST_TASK

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The jobs cluster runs its self-test once a minute; after this time it is considered down.
SILENCE: Final = timedelta(minutes=5)
#: Kinds of failing jobs that are listed one by one.
MAX_JOBS: Final = 3
#: Seconds for which the storage's answer is reused: watchdogs poll often, and it may be remote.
STORAGE_MAX_AGE_S: Final = 15
#: Seconds for which a check waits for the storage's answer.
STORAGE_TIMEOUT_S: Final = 9.5
#: Seconds after which the age of the answer is shown, too.
STORAGE_STALE_S: Final = 30
#: If one of these fails, the state is unknown or nothing plays.
VITAL: Final = frozenset({"database", "nodes"})


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    ok: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Detailed:
    """status: ok; degraded: a component has a fault; down: nothing is known or plays."""

    status: str
    parts: tuple[Part, ...]
    channels: tuple[dict[str, Any], ...]


def detailed(now: datetime) -> Detailed:
    """Checks all components. An unreachable storage delays this by at most 9.5 s."""
    parts = [_part(name, check, now) for name, check in PARTS.items()]
    try:
        air = report(now)
    except DatabaseError:
        return Detailed("down", tuple(parts), ())
    faulty = {part.name for part in parts if not part.ok}
    down = air.status == "down" or faulty & VITAL
    well = air.status == "ok" and not faulty
    status = "down" if down else "ok" if well else "degraded"
    return Detailed(status, tuple(parts), tuple(air.public()["channels"]))


def _part(name: str, check: Callable[[datetime], tuple[bool, str]], now: datetime) -> Part:
    try:
        return Part(name, *check(now))
    except DatabaseError:
        return Part(name, ok=False, sentence="Unknown: the database can't be read.")


def _database(now: datetime) -> tuple[bool, str]:
    names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    name = names.get(connection.vendor, connection.vendor)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        cause = database_faults.meaning(str(error)) or "the log of streamsite-web has the error"
        log.warning("health.database", error=str(error))
        return False, f"{name} can't be read: {cause}."
    if (fault := _fault_of_ledger(now)) is not None:
        since = clock(datetime.fromtimestamp(fault.since, UTC))
        return False, (
            f"{name} can be read, but the playout worker has failed to write to it since "
            f"{since}: {worker_silence.meaning(fault.error)}."
        )
    return True, f"{name} answers."


def _fault_of_ledger(now: datetime) -> LedgerFault | None:
    """Returns the fault of this machine's worker, if the worker is alive."""
    here = worker_silence.local_worker()
    return here.fault if here.lives(now) else None


def _queue(now: datetime) -> tuple[bool, str]:
    last = (
        Task.objects.filter(func=SELF_TEST_TASK)
        .order_by("-stopped")
        .values_list("stopped", flat=True)
        .first()
    )
    jobs = ""
    # The table is empty where the queue lives on a server of its own.
    if not settings.Q_BROKER_URL:
        waiting = OrmQ.objects.filter(key=settings.Q_CLUSTER["name"]).count()
        jobs = f"; {waiting} {'job waits' if waiting == 1 else 'jobs wait'}"
    if last is not None and now - last <= SILENCE:
        return True, f"The jobs cluster works{jobs}."
    since = f"since {clock(last)}" if last else "yet"
    return False, (
        f"No job has finished {since}{jobs}. Start the jobs cluster (manage.py run_cluster "
        "background). If it runs, all its workers may be busy."
    )


def _jobs(now: datetime) -> tuple[bool, str]:
    kinds = failing(now)
    if not kinds:
        return True, "No job has failed within the last hour without succeeding afterwards."
    text = " ".join(job.sentence for job in kinds[:MAX_JOBS])
    more = len(kinds) - MAX_JOBS
    return False, f"{text} {more} more kinds of jobs fail." if more > 0 else text


def _storage(_now: datetime) -> tuple[bool, str]:
    reading = state.state(fresh_s=STORAGE_MAX_AGE_S, wait_s=STORAGE_TIMEOUT_S)
    if reading is None:
        return True, state.UNKNOWN
    if reading.age_s > STORAGE_STALE_S:
        text = reading.value or "The storage could be read"
        return not reading.value, (
            f"{text.rstrip('.')}. That was {span(reading.age_s)} ago. It is being checked "
            "again, but has not answered yet."
        )
    return (False, reading.value) if reading.value else (True, "The storage can be read.")


def _ffmpeg(now: datetime) -> tuple[bool, str]:
    """Checks FFmpeg as the playing nodes reported it; without nodes, on this machine."""
    nodes = list(Node.objects.filter(seen_at__gte=now - FRESH))
    if not nodes:
        path = settings.FFMPEG_PATH
        if shutil.which(path) is None:
            return False, f"FFmpeg is missing ({path}): install it, or set FFMPEG_PATH."
        return True, "FFmpeg is on this machine; no node reports which one it uses."
    if lacking := [node.name for node in nodes if not node.ffmpeg]:
        return False, (
            f"FFmpeg can't be run on {', '.join(lacking)}. Run apt-get install ffmpeg there, "
            "or set FFMPEG_PATH; then restart its playout worker."
        )
    if any(node.hides_keys is False for node in nodes):
        return False, preflight.UNFIT_FFMPEG
    return True, f"Every node has FFmpeg: {', '.join(sorted({node.ffmpeg for node in nodes}))}."


def _disk(_now: datetime) -> tuple[bool, str]:
    faults = [finding.sentence for finding in preflight.folders()]
    if faults:
        return False, " ".join(faults)
    free = shutil.disk_usage(settings.DATA_DIR).free
    return True, f"The disks have space: {free / 1e9:.1f} GB are free for the data."


def _nodes(now: datetime) -> tuple[bool, str]:
    there = Node.objects.exclude(seen_at=None)
    fresh = there.filter(seen_at__gte=now - FRESH).count()
    # A node that still owns a channel counts as lost, however long ago it reported.
    playing = Q(
        name__in=Channel.objects.filter(desired_state=Channel.DesiredState.ON).values(
            "state__owner"
        )
    )
    # One that was drained may be switched off.
    missed = Q(seen_at__gte=now - TAKEN_AWAY, drain_ordered_at=None)
    lost = there.filter(seen_at__lt=now - FRESH).filter(missed | playing)
    names = {node.name: node.seen_at for node in lost}
    if not fresh and not names:
        last = there.aggregate(last=Max("seen_at"))["last"]
        names = {"": last}
    if names:
        here = worker_silence.local_worker()
        return False, " ".join(_silent(here, name, seen, now) for name, seen in names.items())
    if strained := [
        f"Node {node.name}: {node.sentence}" for node in reports(now) if node.strained
    ]:
        return False, " ".join(strained)
    text = "1 node reports" if fresh == 1 else f"{fresh} nodes report"
    return (
        True,
        f"{text}. A node counts as lost after {span(FRESH.total_seconds())} of silence.",
    )


def _second_nodes(_now: datetime) -> tuple[bool, str]:
    marked = Output.objects.filter(
        second_node=True, enabled=True, channel__desired_state=Channel.DesiredState.ON
    )
    missing = marked.filter(channel__state__second_owner="").select_related("channel")
    if names := [str(output) for output in missing.order_by("channel__name", "pk")]:
        return False, (
            f"No second node sends {', '.join(names)}: the node that plays the channel does, "
            "so viewers lose both if it is lost. Start another node, or see what it reports."
        )
    if not marked.exists():
        return True, "No output of a channel that is on is to be sent from a second node."
    return True, "Every output that a second node is to send has one."


def _silent(here: Here, name: str, seen: datetime | None, now: datetime) -> str:
    local = here if name in {"", here.node} else None
    text = worker_silence.sentence(local, name, seen, now, None)
    advice = "" if local else " Check that the machine and its playout service run."
    return f"{text[0].upper()}{text[1:]}{advice}"


PARTS: Final[dict[str, Callable[[datetime], tuple[bool, str]]]] = {
    "database": _database,
    "queue": _queue,
    "jobs": _jobs,
    "storage": _storage,
    "ffmpeg": _ffmpeg,
    "disk": _disk,
    "nodes": _nodes,
    "second_nodes": _second_nodes,
}
