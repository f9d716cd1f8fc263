"""Old rows go; what is open, running or on air stays, however old it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, Final

import pytest
from axes.models import AccessAttempt
from django.apps import apps
from django.conf import settings as site
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ, Task

from media_library.models import (
    DownloadBatch,
    DownloadJob,
    DownloadSchedule,
    MediaItem,
    PreparedCopy,
    SitePause,
    SyncRun,
)
from streams.models import (
    AsRun,
    Channel,
    ChannelState,
    Incident,
    LiveStream,
    LogLine,
    Node,
    Run,
    Sample,
    Takeover,
    ThinnedSample,
    UpcomingProblem,
)
from streams.tests import rows
from streamsite.api.models import ApiKey, KeyChange
from streamsite.config.retention import DAYS, retention
from streamsite.maintenance import prune, retention_table, tasks
from streamsite.maintenance.retention import EXEMPT, KINDS, MAX_LOG_LINES, without_rule
from streamsite.webhooks.models import Delivery, Endpoint

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
PAGE: Final = Path(site.BASE_DIR) / "deploy/retention.md"


def ago(kind: str, days: int = 1) -> datetime:
    """A moment, so many days before rows of the kind may go."""
    return NOW - timedelta(days=DAYS[kind] + days)


def test_every_model_has_a_rule() -> None:
    assert without_rule() == set(), "Give it a line in streamsite/maintenance/retention.py."
    assert {kind.name for kind in KINDS} == set(DAYS)
    labels = {model._meta.label for model in apps.get_models()}
    assert set(EXEMPT) <= labels


def test_the_document_has_the_table() -> None:
    assert retention_table.as_markdown() in PAGE.read_text(), (
        "Put in what `python -m streamsite.maintenance.retention_table` prints."
    )


# Each of these makes one row that may go, and some that may not, and returns all of the kind.
# The row that may go is the first one.


def runs() -> QuerySet[Any]:
    channel, at = rows.channel(), ago("runs")
    Run.objects.create(channel=channel, started_at=at, ended_at=at)
    shown = Run.objects.create(channel=channel, started_at=at, ended_at=at)
    ChannelState.objects.create(channel=channel, run=shown)
    listed = Run.objects.create(channel=channel, started_at=at, ended_at=at)
    AsRun.objects.create(run=listed, title="Film", started_at=at, ended_at=NOW)
    Run.objects.create(channel=channel, started_at=at)
    return Run.objects.all()


def as_run() -> QuerySet[Any]:
    channel, at = rows.channel(), ago("as-run")
    years = Run.objects.create(channel=channel, started_at=at)
    AsRun.objects.create(run=years, title="Film", started_at=at, ended_at=at)
    AsRun.objects.create(run=years, title="Long film", started_at=at, ended_at=NOW)
    AsRun.objects.create(run=years, title="On air since", started_at=at)
    return AsRun.objects.all()


def incidents() -> QuerySet[Any]:
    channel, at = rows.channel(), ago("incidents")
    for subject, closed in (("old", at), ("open", None), ("recent", ago("incidents", -1))):
        Incident.objects.create(
            channel=channel, subject=subject, severity="lost", opened_at=at, closed_at=closed
        )
    return Incident.objects.all()


def takeovers() -> QuerySet[Any]:
    channel, at = rows.channel(), ago("takeovers")
    Takeover.objects.create(channel=channel, requested_at=at, ended_at=at)
    Takeover.objects.create(channel=channel, requested_at=at)
    return Takeover.objects.all()


def live_streams() -> QuerySet[Any]:
    at = ago("live-streams")
    names = {"server": "mediamtx", "started_at": at}
    LiveStream.objects.create(path="live/a", source_id="1", ended_at=at, **names)
    LiveStream.objects.create(path="live/b", source_id="2", **names)
    used = LiveStream.objects.create(path="live/c", source_id="3", ended_at=at, **names)
    Takeover.objects.create(channel=rows.channel(), stream=used, requested_at=at)
    return LiveStream.objects.all()


def samples() -> QuerySet[Any]:
    channel = rows.channel()
    seconds = timedelta(seconds=10)
    for at in (ago("samples"), NOW - seconds, NOW - 2 * seconds, NOW - timedelta(days=1)):
        Sample.objects.create(channel=channel, role="hub", state="on_air", at=at)
    return Sample.objects.all()


def upcoming_problems() -> QuerySet[Any]:
    channel = rows.channel()
    for subject, cleared in (("old", ago("upcoming-problems")), ("open", None), ("new", NOW)):
        UpcomingProblem.objects.create(
            channel=channel, subject=subject, sentence="x", airs_at=NOW, cleared_at=cleared
        )
    return UpcomingProblem.objects.all()


def nodes() -> QuerySet[Any]:
    rows.node(ago("nodes"), "gone")
    rows.node(ago("nodes"), "owner")
    rows.node(NOW, "here")
    ChannelState.objects.create(channel=rows.channel(), owner="owner")
    return Node.objects.all()


def syncs() -> QuerySet[Any]:
    at = ago("syncs")
    SyncRun.objects.create(started_at=at, status=SyncRun.Status.DONE)
    SyncRun.objects.create(started_at=at, status=SyncRun.Status.RUNNING)
    SyncRun.objects.create(started_at=NOW, status=SyncRun.Status.DONE)
    return SyncRun.objects.all()


def copies() -> QuerySet[Any]:
    used = rows.channel().house_format.signature
    item = MediaItem.objects.create(key="a.mp4", title="a")
    for house_format, status in (
        ("other", "cancelled"),
        (used, "fault"),
        ("another", "queued"),
        ("made", "ready"),
    ):
        PreparedCopy.objects.create(
            item=item, house_format=house_format, status=status, queued_at=ago("copies"),
            key="prepared/a.ts", frames=16,
        )  # fmt: skip
    return PreparedCopy.objects.all()


def downloads() -> QuerySet[Any]:
    schedule = DownloadSchedule.objects.create(name="News", url="https://a.example/")
    item = MediaItem.objects.create(key="a.mp4", title="a")
    failed = {"status": "failed", "fault": "x", "code": "x"}
    for fields in (
        failed,
        failed | {"schedule": schedule},
        {"status": "done", "key": "a.mp4", "item": item},
        {"status": "queued"},
    ):
        DownloadJob.objects.create(
            url="https://a.example/1", site="a.example", ended_at=ago("downloads"), **fields
        )
    return DownloadJob.objects.all()


def batches() -> QuerySet[Any]:
    at = ago("download-batches")
    DownloadBatch.objects.create(name="Empty", made_at=at)
    batch = DownloadBatch.objects.create(name="Half done", made_at=at)
    DownloadJob.objects.create(url="https://a.example/1", site="a.example", batch=batch)
    return DownloadBatch.objects.all()


def pauses() -> QuerySet[Any]:
    SitePause.objects.create(site="a.example", until=ago("site-pauses"), why="x")
    SitePause.objects.create(site="b.example", until=NOW, why="x")
    return SitePause.objects.all()


def deliveries() -> QuerySet[Any]:
    endpoint = Endpoint.objects.create(name="a", url="https://a.example", secret="x")
    for state, number in (("failed", 1), ("waiting", 2)):
        Delivery.objects.create(
            endpoint=endpoint, event="ping", body="{}", state=state,
            message_id=f"00000000-0000-0000-0000-{number:012}", created_at=ago("deliveries"),
        )  # fmt: skip
    return Delivery.objects.all()


def key_changes() -> QuerySet[Any]:
    key = ApiKey.objects.create(name="a", prefix="a", digest="a")
    kind = ContentType.objects.get_for_model(Channel)
    for at in (ago("key-changes"), NOW):
        KeyChange.objects.create(key=key, at=at, content_type=kind, object_id="1")
    return KeyChange.objects.all()


def jobs() -> QuerySet[Any]:
    for number, at in enumerate((ago("jobs"), NOW)):
        Task.objects.create(
            id=str(number), name=str(number), func="a.b", started=at, stopped=at, success=False
        )
    return QuerySet(Task)


def messages() -> QuerySet[Any]:
    rows.node(NOW, "here")
    for key in ("node-gone", "node-here", site.FORMER_NODE_CLUSTER, site.Q_CLUSTER["name"]):
        OrmQ.objects.create(key=key, payload="", lock=ago("messages"))
    return QuerySet(OrmQ)


def failures() -> QuerySet[Any]:
    for number, at in enumerate((ago("failures"), NOW)):
        one = AccessAttempt.objects.create(username=f"ada{number}", failures_since_start=1)
        QuerySet(AccessAttempt).filter(pk=one.pk).update(attempt_time=at)
    return QuerySet(AccessAttempt)


MAKERS: Final = (
    *(runs, as_run, incidents, takeovers, live_streams, samples, upcoming_problems, nodes),
    *(syncs, copies, downloads, batches, pauses, deliveries, key_changes, jobs, messages),
    failures,
)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: str(make.__name__))
def test_the_old_row_goes_and_no_other(make: Callable[[], QuerySet[Any]]) -> None:
    made = make().order_by("pk")
    before = list(made.values_list("pk", flat=True))
    due = prune.counts(NOW)
    assert list(made.values_list("pk", flat=True)) == before
    assert prune.prune(NOW, 60) == due
    assert list(made.values_list("pk", flat=True)) == before[1:]


def test_a_run_goes_with_its_entries() -> None:
    at = ago("runs")
    run = Run.objects.create(channel=rows.channel(), started_at=at, ended_at=at)
    AsRun.objects.create(run=run, title="Cut off by a crash", started_at=at)
    incident = Incident.objects.create(
        channel=run.channel, run=run, subject="a", severity="lost", opened_at=at
    )
    prune.prune(NOW, 60)
    assert not Run.objects.exists()
    incident.refresh_from_db()
    assert incident.run is None


def test_samples_are_thinned_and_the_newest_log_lines_kept() -> None:
    channel = rows.channel()
    midday = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(days=3)
    for number in range(60):
        Sample.objects.create(
            channel=channel, role="hub", state="on_air",
            at=midday + timedelta(seconds=10 * number),
        )  # fmt: skip
    LogLine.objects.bulk_create(
        LogLine(channel=channel, at=NOW, role="hub", level="info", text=str(number))
        for number in range(MAX_LOG_LINES + 3)
    )
    removed = {name: count for name, count in prune.prune(NOW, 60).items() if count}
    assert removed == {"samples": 60, "log-lines": 3}
    assert LogLine.objects.order_by("pk")[0].text == "3"
    assert not Sample.objects.exists()
    assert [(thin.at, thin.samples) for thin in ThinnedSample.objects.order_by("at")] == [
        (midday + timedelta(minutes=minute), 6) for minute in range(10)
    ]


def test_no_transaction_takes_more_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "BATCH", 2)
    channel = rows.channel()
    for _ in range(5):
        Sample.objects.create(channel=channel, role="hub", state="x", at=ago("samples"))
    assert prune.prune(NOW, 0)["samples"] == 0, "its time is over before it begins"
    with CaptureQueriesContext(connection) as queries:
        assert prune.prune(NOW, 60)["samples"] == 5
    deletes = [
        query["sql"] for query in queries if query["sql"].startswith('DELETE FROM "streams_sam')
    ]
    assert len(deletes) >= 3


def test_the_command_and_the_job() -> None:
    session = User.objects.create(username="ada")
    SitePause.objects.create(
        site="a", until=timezone.now() - timedelta(days=3), why=session.username
    )
    output = StringIO()
    call_command("prune", dry_run=True, stdout=output)
    assert "1 rows would be removed." in output.getvalue()
    assert tasks.prune() == "Removed: 1 site-pauses."
    assert tasks.prune() == "Removed: nothing."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["films=3"], "there is no kind 'films'"),
        (["as-run=89"], "write as-run= and days, from 90 to"),
        (["samples=0"], "from 1 to"),
        (["samples"], "write samples= and days"),
    ],
)
def test_a_wrong_retention_is_refused(words: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        retention(words)


def test_a_retention_can_be_changed() -> None:
    assert retention(["samples=7", "as-run = 3650"]) == DAYS | {"samples": 7, "as-run": 3650}
