"""Run a cluster: `playout` (the node's supervisor), `downloads`, or `jobs` (the rest)."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.management import BaseCommand, CommandError
from django.db import connections
from django_q.brokers import get_broker
from django_q.models import Schedule
from django_q.signals import post_spawn
from django_q.tasks import async_task

from media_library.downloads import attempt
from media_library.tasks import sweep_downloads
from streams.playout.node.witness import ALIVE_FILE
from streamsite.processes.cluster import SELF_TEST_TASK, Supervision, run
from streamsite.processes.priority import step_back

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The schedules of the jobs cluster: name, task, minutes between.
SCHEDULES: Final = (
    ("self-test", SELF_TEST_TASK, 1),
    ("probe new", "media_library.tasks.probe_new", 1),
    ("sweep library", "media_library.tasks.sweep_library", 1),
    ("sweep downloads", "media_library.tasks.sweep_downloads", 1),
    ("download schedules", "media_library.tasks.check_schedules", 1),
    ("sync library", "media_library.sync.runner.sync_on_schedule", 1),
    ("tidy library", "media_library.sync.runner.tidy", 60),
    ("prepare playlists", "streams.tasks.prepare_playlists", 1),
    ("verify ahead", "streams.tasks.verify_ahead", 15),
    ("send webhooks", "streamsite.webhooks.sender.send_due", 1),
    ("tidy webhooks", "streamsite.webhooks.sender.tidy", 60),
    ("thin samples", "streams.tasks.thin_samples", 60),
)
#: Schedules that an earlier version made under another name.
FORMER_SCHEDULES: Final = ("canary",)
#: All tasks that run in a cluster: scheduled ones, and those of pages, API and jobs.
TASKS: Final = frozenset(
    {
        *(task for _, task, _ in SCHEDULES),
        "media_library.sync.runner.work",
        "media_library.tasks.download_next",
        "media_library.tasks.prepare_next",
        "media_library.tasks.probe_item",
        "media_library.tasks.update_downloader",
        "streams.tasks.make_samples",
        "streams.tasks.supervise_node",
    }
)
#: Seconds. A sweep comes each minute, and each running download touches the file.
DOWNLOADS_MAX_SILENCE_S: Final = 3600.0


class Command(BaseCommand):
    help = (
        "Run a cluster: playout supervises channels, downloads downloads, jobs does the rest."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("cluster", choices=[*SUPERVISIONS])

    def handle(self, *args: Any, **options: Any) -> None:
        if os.environ.get("Q_CLUSTER_NAME") != settings.CLUSTERS[options["cluster"]]:
            # manage.py names the cluster before django-q2 is loaded.
            raise CommandError("Start it as: manage.py run_cluster " + options["cluster"])
        sys.exit(run(SUPERVISIONS[options["cluster"]](), TASKS))


def playout_supervision() -> Supervision:
    """One worker, which runs the supervisor from its birth to its death."""
    post_spawn.connect(start_supervisor)
    # A stop waits for nothing: FFmpeg plays on.
    return Supervision(
        stop_timeout_s=0.5, heartbeat_file=settings.RUN_DIR / ALIVE_FILE, max_silence_s=60
    )


def jobs_supervision() -> Supervision:
    step_back()
    Schedule.objects.filter(name__in=FORMER_SCHEDULES).delete()
    for name, task, minutes in SCHEDULES:
        Schedule.objects.update_or_create(
            name=name,
            defaults={
                "func": task,
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "repeats": -1,
                "cluster": None,
            },
        )
    connections.close_all()
    # All workers may be busy for as long as a task may take: only then is silence a sign.
    silence = float(settings.Q_CLUSTER["timeout"]) + 600
    return Supervision(
        stop_timeout_s=5, heartbeat_file=settings.RUN_DIR / "jobs.alive", max_silence_s=silence
    )


def downloads_supervision() -> Supervision:
    step_back()
    # Jobs of a killed worker are taken up at once, not at the next sweep.
    sweep_downloads()
    connections.close_all()
    # A download that is stopped goes on from its part files.
    heartbeat = settings.RUN_DIR / attempt.ALIVE_FILE
    return Supervision(
        stop_timeout_s=2, heartbeat_file=heartbeat, max_silence_s=DOWNLOADS_MAX_SILENCE_S
    )


def start_supervisor(**_: object) -> None:
    """Enqueues the worker's only task. Messages of an earlier worker are void."""
    try:
        broker = get_broker(settings.NODE_CLUSTER)
        broker.purge_queue()
        # timeout=-1: for ever (None crashes django-q2 1.11.1).
        async_task("streams.tasks.supervise_node", timeout=-1, cluster=settings.NODE_CLUSTER)
    except Exception:
        # An exception here would make the sentinel start one worker after the other; without
        # its task this one idles, the canary falls silent, and the cluster is started anew.
        log.exception("supervisor.not_enqueued")
    finally:
        connections.close_all()


SUPERVISIONS: Final[dict[str, Callable[[], Supervision]]] = {
    "playout": playout_supervision,
    "downloads": downloads_supervision,
    "jobs": jobs_supervision,
}
