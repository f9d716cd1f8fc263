"""Health in the API, at /api/v1 and at the compatibility paths."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from django_q.models import Task
from pytest_django import Settings

from media_library import storage
from media_library.storage.state import UNKNOWN
from streams.models import Channel, Incident, Node, Run, Sample
from streams.monitoring import preflight, prometheus
from streams.monitoring.components import detailed
from streams.tests import rows
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.processes.cluster import SELF_TEST_TASK
from streamsite.tests.waiting import until

pytestmark = pytest.mark.django_db

BEGUN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    cache.clear()


@pytest.fixture
def get() -> Callable[..., Any]:
    _, key = keys.mint("tests", KeyPermission.READ_ONLY, by="ada", now=timezone.now())
    client = Client(headers={"X-API-Key": key.reveal()})
    return lambda path, **query: client.get(path, query)


def well(now: datetime) -> None:
    """Every component works."""
    node = rows.node(now)
    Node.objects.filter(pk=node.pk).update(ffmpeg="ffmpeg version 5.1.9", hides_keys=True)
    Task.objects.create(
        id="1", name="canary", func=SELF_TEST_TASK, started=now, stopped=now, success=True
    )


@pytest.mark.parametrize("path", ["detailed", "metrics", "uptime"])
def test_compatibility_paths_give_the_same_answers_and_need_the_same_key(
    get: Callable[..., Any], client: Client, path: str
) -> None:
    rows.channel()
    for place in (f"/api/v1/health/{path}", f"/health/{path}"):
        assert client.get(place).status_code == 401
    new, early = get(f"/api/v1/health/{path}"), get(f"/health/{path}")
    assert new.status_code == early.status_code
    assert set(new.json()) == set(early.json())


def test_health_needs_no_key(client: Client) -> None:
    rows.node()
    rows.on_air(rows.channel())
    answer = client.get("/api/v1/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


# ---- each part -------------------------------------------------------------------------------


def parts(now: datetime) -> dict[str, tuple[bool, str]]:
    return {part.name: (part.ok, part.sentence) for part in detailed(now).parts}


def test_all_components_are_ok(get: Callable[..., Any]) -> None:
    well(timezone.now())
    answer = get("/api/v1/health/detailed")
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "ok")
    assert [part["name"] for part in body["parts"]] == [
        *("database", "queue", "jobs", "storage", "ffmpeg", "disk", "nodes", "second_nodes")
    ]
    assert all(part["ok"] and part["sentence"].endswith(".") for part in body["parts"])


def test_an_idle_jobs_cluster_is_reported(get: Callable[..., Any]) -> None:
    now = timezone.now()
    well(now)
    ok, sentence = parts(now + timedelta(minutes=6))["queue"]
    assert not ok
    assert "No job has finished since" in sentence
    Task.objects.all().delete()
    answer = get("/api/v1/health/detailed")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


@pytest.mark.parametrize("broker", ["redis://h:6379/0", "sqs://eu-central-1"])
def test_the_jobs_of_another_server_are_not_counted(settings: Settings, broker: str) -> None:
    """The database's table of messages is empty then: none would be a false figure."""
    now = timezone.now()
    well(now)
    assert "; 0 jobs wait." in parts(now)["queue"][1]
    settings.Q_BROKER_URL = broker
    assert parts(now)["queue"] == (True, "The jobs cluster works.")
    assert "jobs wait" not in parts(now + timedelta(minutes=6))["queue"][1]
    assert b"streamsite_jobs_waiting" not in prometheus.text(now)


def test_an_unreachable_storage_is_reported(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "away"
    ok, sentence = parts(timezone.now())["storage"]
    assert not ok
    assert "does not exist" in sentence


def test_a_hanging_storage_is_reported_as_unknown(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path / "hangs"
    go_on = threading.Event()
    monkeypatch.setattr(storage, "unreachable", lambda: "" if go_on.wait(60) else "no")
    monkeypatch.setattr("streams.monitoring.components.STORAGE_TIMEOUT_S", 0)
    monkeypatch.setattr("streams.monitoring.preflight.STORAGE_TIMEOUT_S", 0)
    now = timezone.now()
    assert parts(now)["storage"] == (True, UNKNOWN)
    (finding,) = preflight.storage_findings()
    assert (finding.sentence, finding.stops_the_start) == (UNKNOWN, False)
    go_on.set()
    until(lambda: parts(now)["storage"] == (True, "The storage can be read."), 60, "it is")
    # Until a newer result arrives, the last one is shown with its age.
    go_on.clear()
    monkeypatch.setattr("streams.monitoring.components.STORAGE_MAX_AGE_S", 0)
    monkeypatch.setattr("streams.monitoring.components.STORAGE_STALE_S", 0)
    ok, sentence = parts(now)["storage"]
    go_on.set()
    assert ok
    assert re.fullmatch(
        r"The storage could be read\. That was .+ ago\. It is being checked again, but has "
        r"not answered yet\.",
        sentence,
    )


def test_ffmpeg_is_reported_as_the_nodes_have_it(settings: Settings) -> None:
    now = timezone.now()
    well(now)
    Node.objects.update(ffmpeg="")
    assert parts(now)["ffmpeg"][0] is False
    Node.objects.update(ffmpeg="ffmpeg version 9.0", hides_keys=False)
    assert "FFMPEG_PATH" in parts(now)["ffmpeg"][1]
    Node.objects.all().delete()
    settings.FFMPEG_PATH = "/nowhere/ffmpeg"
    assert parts(now)["ffmpeg"] == (
        False,
        "FFmpeg is missing (/nowhere/ffmpeg): install it, or set FFMPEG_PATH.",
    )


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    ok, sentence = parts(timezone.now())["disk"]
    assert not ok
    assert "nearly full (1 MB free)" in sentence


def test_a_silent_node_is_lost_and_a_removed_node_is_not(
    get: Callable[..., Any],
) -> None:
    now = timezone.now()
    well(now)
    rows.node(now - timedelta(days=3), name="old")
    assert parts(now)["nodes"][0]
    rows.node(now - timedelta(minutes=3), name="lost")
    ok, sentence = parts(now)["nodes"]
    assert not ok
    assert "Node lost has not reported since" in sentence
    assert "old" not in sentence
    answer = get("/api/v1/health/detailed")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")


def test_a_silent_node_with_a_channel_stays_lost() -> None:
    now = timezone.now()
    well(now)
    Node.objects.update(name="other")
    rows.node(now - timedelta(days=3))
    rows.on_air(rows.channel(), at=now - timedelta(days=3))
    assert "Node here has not reported since" in parts(now)["nodes"][1]


# ---- samples ---------------------------------------------------------------------------------


def sample(channel: Channel, seconds: float, **fields: Any) -> None:
    fields = {"role": "hub", "state": "on_air"} | fields
    Sample.objects.create(channel=channel, at=BEGUN + timedelta(seconds=seconds), **fields)


def test_samples_in_buckets(get: Callable[..., Any]) -> None:
    channel, other = rows.channel(), rows.channel("other")
    output = rows.output(channel)
    sample(channel, 0, bitrate=1000, fps=30, speed=1.0, lag_seconds=0.5, cpu_percent=2)
    sample(channel, 59.9, bitrate=3000, fps=20, speed=0.5, lag_seconds=2.5, memory_bytes=7)
    sample(channel, 60, bitrate=5000)
    sample(channel, 300, bitrate=9)  # the end is left out
    sample(channel, 10, bitrate=800, role="pusher", output=output)
    sample(other, 10, bitrate=1)
    span = {"from": "2026-03-01T12:00:00Z", "to": "2026-03-01T14:05:00+02:00"}
    body = get("/api/v1/health/metrics", channel="demo", bucket=60, **span).json()
    assert (body["bucket_seconds"], body["ends"]) == (60, "2026-03-01T12:05:00Z")
    hub, pusher = body["series"]
    assert (hub["role"], hub["output"]) == ("hub", None)
    assert (pusher["role"], pusher["output"]) == ("pusher", output.pk)
    first, second = hub["buckets"]
    assert first == {
        "begins": "2026-03-01T12:00:00Z",
        "samples": 2,
        "bitrate": 2000.0,
        "bitrate_least": 1000,
        "fps": 25.0,
        "speed": 0.75,
        "speed_least": 0.5,
        "lag_most": 2.5,
        "cpu_percent": 2.0,
        "memory_most": 7,
        "cpu_most": 2.0,
        "resent_percent": None,
        "resent_most": None,
    }
    assert (second["begins"], second["fps"]) == ("2026-03-01T12:01:00Z", None)
    only = get("/api/v1/health/metrics", output=output.pk, **span).json()["series"]
    assert [one["role"] for one in only] == ["pusher"]
    every = get("/api/v1/health/metrics", **span).json()
    assert {one["channel"] for one in every["series"]} == {"demo", "other"}
    assert every["bucket_seconds"] == 10


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"from": "2026-03-02T00:00:00", "to": "2026-03-01T00:00:00"}, 422),
        ({"from": "2026-01-01T00:00:00", "to": "2026-03-01T00:00:00", "bucket": 10}, 422),
        ({"from": "0001-01-01T00:00:00+14:00"}, 422),
        ({"to": "0001-01-01T00:30:00Z"}, 422),
        ({"from": "yesterday"}, 422),
        ({"channel": "nobody"}, 404),
        ({"output": 999_999}, 404),
        ({"output": 2**63}, 422),
    ],
)
def test_invalid_metrics_requests_are_refused_with_a_reason(
    get: Callable[..., Any], query: dict[str, Any], status: int
) -> None:
    answer = get("/api/v1/health/metrics", **query)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"


def test_an_output_of_another_channel_is_404(get: Callable[..., Any]) -> None:
    output = rows.output(rows.channel())
    rows.channel("other")
    assert get("/health/uptime", channel="other", output=output.pk).status_code == 404
    assert get("/health/uptime", channel="demo", output=output.pk).status_code == 200


def test_uptime_of_a_span(get: Callable[..., Any]) -> None:
    channel = rows.channel()
    output = rows.output(channel)
    day = timedelta(days=1)
    run = Run.objects.create(
        channel=channel, started_at=BEGUN, on_air_at=BEGUN, ended_at=BEGUN + day
    )
    Incident.objects.create(
        channel=channel, run=run, subject="channel", severity="lost", cause="x",
        opened_at=BEGUN, closed_at=BEGUN + timedelta(seconds=864),
    )  # fmt: skip
    span = {"from": BEGUN.isoformat(), "to": (BEGUN + day).isoformat()}
    (body,) = get("/api/v1/health/uptime", **span).json()["channels"]
    assert body["periods"]["span"]["percent"] == 99.0
    assert body["outputs"][0]["id"] == output.pk
    (usual,) = get("/api/v1/health/uptime", channel="demo").json()["channels"]
    assert set(usual["periods"]) == {"day", "week", "month", "7d", "30d", "90d"}
