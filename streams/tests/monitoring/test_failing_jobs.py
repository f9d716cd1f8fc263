"""Failing jobs are reported in detailed health and in the control room."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from django.test import Client
from django.utils import timezone
from django_q.models import Task

from streams.monitoring.components import PARTS
from streams.monitoring.failing_jobs import failing
from streams.monitoring.preflight import MAKING_SAMPLES

pytestmark = pytest.mark.django_db
_NUMBERS = count()
PROBE = "media_library.tasks.probe_new"
TRACE = (
    "No usable temporary directory : Traceback (most recent call last):\n  File ...\n"
    "FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp']\n"
)


def done(minutes_ago: float, *, success: bool, func: str = PROBE, result: str = TRACE) -> None:
    at = timezone.now() - timedelta(minutes=minutes_ago)
    number = next(_NUMBERS)
    Task.objects.create(
        id=str(number), name=str(number), func=func, started=at, stopped=at,
        success=success, result=result,
    )  # fmt: skip


def test_a_repeatedly_failing_job_is_reported_with_its_cause() -> None:
    for minute in range(1, 6):
        done(minute, success=False)
    done(7, success=True)
    (kind,) = failing(timezone.now())
    assert kind.times == 5
    assert kind.sentence == (
        "The job “probe new” has failed 5 times within the last hour: FileNotFoundError: "
        "[Errno 2] No usable temporary directory found in ['/tmp']"
    )
    assert PARTS["jobs"](timezone.now()) == (False, kind.sentence)


@pytest.mark.parametrize(
    ("ago", "success"),
    [([(3, False), (1, True)], True), ([(90, False)], True), ([], True), ([(1, False)], False)],
)
def test_recovered_and_old_failures_are_not_reported(
    ago: list[tuple[float, bool]],
    success: bool,
) -> None:
    for minutes, well in ago:
        done(minutes, success=well)
    assert PARTS["jobs"](timezone.now())[0] is success


def test_kinds_are_reported_separately_also_without_a_cause() -> None:
    done(2, success=False, func="a.b.first", result="")
    done(1, success=False, func="a.b.second")
    done(0.5, success=True, func="a.b.third")
    assert [kind.func for kind in failing(timezone.now())] == ["a.b.second", "a.b.first"]
    assert "it gave no reason" in failing(timezone.now())[1].sentence


def test_samples_in_the_making_are_no_failing_job(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.templatetags.monitor.being_made", lambda: True)
    page = admin_client.get("/admin/").content.decode()
    assert MAKING_SAMPLES in page
    assert ">Failed jobs</a>" not in page


def test_the_control_room_shows_failing_jobs(admin_client: Client) -> None:
    page = admin_client.get("/admin/").content.decode()
    assert "has failed" not in page
    done(1, success=False)
    page = admin_client.get("/admin/").content.decode()
    assert "The job “probe new” has failed once" in page
    # Not the line of the sidebar, which stands on every page.
    assert ">Failed jobs</a>" in page
