"""The API at /api/v1/."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import Settings

from streams.models import Channel, Run
from streams.tests import rows

pytestmark = pytest.mark.django_db

PROBLEM = "application/problem+json"


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


@pytest.fixture
def program(client: Client) -> Client:
    client.force_login(rows.operator())
    return client


def test_channels_with_their_status(program: Client) -> None:
    channel = rows.channel()
    rows.output(channel)
    rows.node()
    rows.on_air(channel)
    (listed,) = program.get("/api/v1/channels").json()["items"]
    body = listed["status"]
    assert (listed["slug"], body["state"], body["outputs"][0]["state"]) == (
        "demo",
        "on_air",
        "on_air",
    )
    assert program.get("/api/v1/channels/demo/status").json() == body


def test_channel_settings_are_returned(program: Client) -> None:
    rows.output(rows.channel())
    body = program.get("/api/v1/channels/demo").json()
    assert body["playlist"] == "Loop of demo"
    assert body["outputs"] == [
        {
            "id": body["outputs"][0]["id"],
            "channel": "demo",
            "name": "YouTube",
            "platform": "youtube",
            "url": "",
            "address": "rtmps://a.rtmps.youtube.com:443/live2",
            "roll_over_hours": None,
            "second_node": False,
            "account": None,
            "watch_url": "",
            "title_template": "",
            "description_template": "",
            "category": "",
            "enabled": True,
            "has_key": True,
            "key_readable": True,
            "has_secret_query": False,
            "verify_certificate": True,
            "warning": "",
        }
    ]


def test_a_second_start_is_refused(program: Client) -> None:
    rows.channel()
    first = program.post("/api/v1/channels/demo/start")
    assert (first.status_code, first.json()) == (
        202,
        {"detail": "Start of Demo is ordered.", "status": "/api/v1/channels/demo/status"},
    )
    second = program.post("/api/v1/channels/demo/start")
    assert (second.status_code, second["Content-Type"]) == (409, PROBLEM)
    assert second.json() == {
        "type": "urn:streamsite:problem:already-on-air",
        "title": "Conflict",
        "status": 409,
        "detail": "Demo is already on air.",
        "request_id": second["X-Request-ID"],
    }
    assert Run.objects.count() == 1
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize("verb", ["stop", "restart", "skip"])
def test_orders_need_a_running_channel(program: Client, verb: str) -> None:
    channel = rows.channel()
    refused = program.post(f"/api/v1/channels/demo/{verb}")
    assert (refused.status_code, refused["Content-Type"]) == (404, PROBLEM)
    assert "is not running" in refused.json()["detail"]
    rows.on_air(channel)
    assert program.post(f"/api/v1/channels/demo/{verb}").status_code == 202


def test_a_start_with_faults_is_refused(program: Client) -> None:
    rows.channel(playlist=None)
    refused = program.post("/api/v1/channels/demo/start")
    assert (refused.status_code, refused["Content-Type"]) == (422, PROBLEM)
    assert refused.json()["findings"] == [
        {"check": "programme", "detail": "Demo has no playlist. Choose one in its settings."}
    ]


def test_missing_objects_are_404(program: Client) -> None:
    for answer in (
        program.get("/api/v1/channels/none"),
        program.get("/api/v1/channels/none/status"),
        program.post("/api/v1/channels/none/start"),
    ):
        assert (answer.status_code, answer["Content-Type"]) == (404, PROBLEM)


def test_permissions_are_checked(client: Client) -> None:
    rows.channel()
    unknown = client.get("/api/v1/channels")
    assert (unknown.status_code, unknown["Content-Type"]) == (401, PROBLEM)
    client.force_login(rows.user("streams.view_channel", name="clerk"))
    assert client.get("/api/v1/channels").status_code == 200
    refused = client.post("/api/v1/channels/demo/start")
    assert (refused.status_code, refused["Content-Type"]) == (403, PROBLEM)
    client.force_login(rows.user("streams.operate_channel", name="viewer", staff=False))
    assert client.post("/api/v1/channels/demo/start").status_code == 401
    assert Channel.objects.get().desired_state == "off"


def test_cross_site_orders_are_refused() -> None:
    rows.channel()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(rows.operator())
    answer = browser.post("/api/v1/channels/demo/start")
    assert (answer.status_code, answer["Content-Type"]) == (403, PROBLEM)
    assert not Run.objects.exists()


def test_no_answer_contains_the_key(program: Client) -> None:
    rows.output(rows.channel(playlist=None))
    answers = [
        program.get("/api/v1/channels"),
        program.get("/api/v1/channels/demo"),
        program.get("/api/v1/channels/demo/status"),
        program.post("/api/v1/channels/demo/start"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422]
    assert not [answer for answer in answers if rows.KEY in answer.content.decode()]


def test_the_documentation_loads_nothing_from_other_hosts(program: Client) -> None:
    page = program.get("/api/v1/docs").content.decode()
    assert "/static/ninja/swagger-ui" in page
    assert "https://" not in page
    paths = program.get("/api/v1/openapi.json").json()["paths"]
    assert "/api/v1/channels/{slug}/start" in paths
