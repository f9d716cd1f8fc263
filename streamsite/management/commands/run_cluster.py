"""Run a cluster: `playout` (the node's supervisor), or `background` (jobs and downloads).

`jobs` and `downloads` are its halves, for those who run them apart.
"""

from __future__ import annotations

import logging
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from django.db import connections
from django_q.models import OrmQ, Schedule

from media_library.downloads.alive import ALIVE_FILE as DOWNLOADS_ALIVE_FILE
from streamsite.processes.cluster import SELF_TEST_TASK, Lane, Supervision, run
from streamsite.processes.priority import step_back

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

PLAYOUT: Final = "playout"
#: The schedules of the jobs cluster: name, task, minutes between.
SCHEDULES: Final = (
    ("self-test", SELF_TEST_TASK, 1),
    ("probe new", "media_library.tasks.probe_new", 1),
    ("sweep library", "media_library.tasks.sweep_library", 1),
    ("sweep downloads", "media_library.tasks.sweep_downloads", 1),
    ("download schedules", "media_library.tasks.check_schedules", 1),
    ("sync library", "media_library.sync.runner.sync_on_schedule", 1),
    ("prepare playlists", "streams.tasks.prepare_playlists", 1),
    ("run drills", "streams.tasks.run_drills", 1),
    ("check platforms", "streams.tasks.check_platforms", 1),
    ("report nodes", "streams.tasks.report_nodes", 1),
    ("verify ahead", "streams.tasks.verify_ahead", 15),
    ("send alerts", "streams.alerts.sender.send_due", 1),
    ("send webhooks", "streamsite.webhooks.sender.send_due", 1),
    ("prune", "streamsite.maintenance.tasks.prune", 60),
    ("back up", "streamsite.maintenance.tasks.back_up", 60),
)
#: Schedules that an earlier version made under another name.
FORMER_SCHEDULES: Final = ("canary", "tidy library", "tidy webhooks", "thin samples")
#: All tasks that run in a cluster: scheduled ones, and those of pages, API and jobs.
TASKS: Final = frozenset(
    {
        *(task for _, task, _ in SCHEDULES),
        "media_library.sync.runner.work",
        "media_library.tasks.download_next",
        "media_library.tasks.prepare_next",
        "media_library.tasks.probe_item",
        "media_library.tasks.update_downloader",
        "streams.tasks.check_account",
        "streams.tasks.make_samples",
    }
)
#: Seconds. A sweep comes each minute, and each running download touches the file.
DOWNLOADS_MAX_SILENCE_S: Final = 3600.0


class Command(BaseCommand):
    help = (
        "Run a cluster: playout supervises channels, background does the rest; jobs and "
        "downloads are its halves."
    )
    # They load all pages, which no cluster needs: `check_apart`.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("cluster", choices=[PLAYOUT, *SUPERVISIONS])

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = options["cluster"]
        if cluster == PLAYOUT:
            # Loaded by the process that plays alone.
            from streams.node.supervise import supervise_node  # noqa: PLC0415 - see above

            supervise_node()
            logging.shutdown()
            sys.stdout.flush()
            # At once: a thread may still wait for a network or a disk.
            os._exit(0)
        if os.environ.get("Q_CLUSTER_NAME") != settings.CLUSTERS[cluster]:
            # manage.py names the cluster before django-q2 is loaded.
            raise CommandError("Start it as: manage.py run_cluster " + cluster)
        step_back()
        self.check_apart()
        care = SUPERVISIONS[cluster]()
        connections.close_all()
        sys.exit(run(care, TASKS))

    def check_apart(self) -> None:
        """Run the system checks in a child, which takes what it loads with it, and print."""
        self.stderr.flush()
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            return
        try:
            self.check()
        except SystemCheckError as error:
            self.stderr.write(str(error))
        except Exception:
            log.exception("checks.failed")
        finally:
            self.stderr.flush()
            # Not what the parent has registered for its own end.
            os._exit(0)


def jobs_lane() -> Lane:
    # Two are left for a sync and for the schedules, whatever is looked into or prepared.
    tasks = settings.PREPARE_JOBS + settings.PROBE_JOBS + 2
    # All of them may be busy for as long as a task may take: only then is silence a sign.
    silence = float(settings.Q_CLUSTER["timeout"]) + 600
    return Lane(settings.CLUSTERS["jobs"], tasks, settings.RUN_DIR / "jobs.alive", silence)


def downloads_lane() -> Lane:
    heartbeat = settings.RUN_DIR / DOWNLOADS_ALIVE_FILE
    jobs = settings.DOWNLOAD_JOBS
    return Lane(settings.DOWNLOADS_CLUSTER, jobs, heartbeat, DOWNLOADS_MAX_SILENCE_S, once=True)


def write_schedules() -> None:
    # An earlier version started the supervisor by a message, which stays for ever.
    OrmQ.objects.filter(key=settings.FORMER_NODE_CLUSTER).delete()
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


def jobs_supervision() -> Supervision:
    write_schedules()
    return Supervision((jobs_lane(),), stop_timeout_s=5, schedules=True)


def downloads_supervision() -> Supervision:
    take_up_downloads()
    # A download that is stopped goes on from its part files.
    return Supervision((downloads_lane(),), stop_timeout_s=2)


def background_supervision() -> Supervision:
    """Both queues have their own number of tasks: no download holds up an inspection."""
    write_schedules()
    take_up_downloads()
    return Supervision((jobs_lane(), downloads_lane()), stop_timeout_s=5, schedules=True)


def take_up_downloads() -> None:
    """Jobs of a killed worker are taken up at once, not at the next sweep."""
    # Loaded by those that use it.
    from media_library.tasks import sweep_downloads  # noqa: PLC0415 - see above

    sweep_downloads()


SUPERVISIONS: Final[dict[str, Callable[[], Supervision]]] = {
    "background": background_supervision,
    "downloads": downloads_supervision,
    "jobs": jobs_supervision,
}
