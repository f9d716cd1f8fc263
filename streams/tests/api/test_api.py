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
    told = listed["status"]
    assert (listed["slug"], told["state"], told["outputs"][0]["state"]) == (
        "demo",
        "on_air",
        "on_air",
    )
    assert program.get("/api/v1/channels/demo/status").json() == told


def test_how_a_channel_is_set_up(program: Client) -> None:
    rows.output(rows.channel())
    told = program.get("/api/v1/channels/demo").json()
    assert told["playlist"] == "Loop of demo"
    assert told["outputs"] == [
        {
            "id": told["outputs"][0]["id"],
            "channel": "demo",
            "name": "YouTube",
            "platform": "youtube",
            "url": "",
            "address": "rtmps://a.rtmps.youtube.com:443/live2",
            "roll_over_hours": None,
            "enabled": True,
            "has_key": True,
            "key_readable": True,
            "has_secret_query": False,
            "verify_certificate": True,
            "warning": "",
        }
    ]


def test_start_is_taken_once(program: Client) -> None:
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
def test_orders_to_a_running_channel_and_to_none(program: Client, verb: str) -> None:
    channel = rows.channel()
    refused = program.post(f"/api/v1/channels/demo/{verb}")
    assert (refused.status_code, refused["Content-Type"]) == (404, PROBLEM)
    assert "is not running" in refused.json()["detail"]
    rows.on_air(channel)
    assert program.post(f"/api/v1/channels/demo/{verb}").status_code == 202


def test_a_start_that_lacks_something(program: Client) -> None:
    rows.channel(playlist=None)
    refused = program.post("/api/v1/channels/demo/start")
    assert (refused.status_code, refused["Content-Type"]) == (422, PROBLEM)
    assert refused.json()["findings"] == [
        {"check": "programme", "detail": "Demo has no playlist: choose one in its settings."}
    ]


def test_what_is_not_there(program: Client) -> None:
    for answer in (
        program.get("/api/v1/channels/none"),
        program.get("/api/v1/channels/none/status"),
        program.post("/api/v1/channels/none/start"),
    ):
        assert (answer.status_code, answer["Content-Type"]) == (404, PROBLEM)


def test_who_may(client: Client) -> None:
    rows.channel()
    unknown = client.get("/api/v1/channels")
    assert (unknown.status_code, unknown["Content-Type"]) == (401, PROBLEM)
    client.force_login(rows.user("streams.view_channel", name="clerk"))
    assert client.get("/api/v1/channels").status_code == 200
    refused = client.post("/api/v1/channels/demo/start")
    assert (refused.status_code, refused["Content-Type"]) == (403, PROBLEM)
    client.force_login(rows.user("streams.operate_channel", name="viewer", staff=False))
    assert client.post("/api/v1/channels/demo/start").status_code == 401
    assert Channel.objects.get().order == "off"


def test_another_site_orders_nothing() -> None:
    rows.channel()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(rows.operator())
    answer = browser.post("/api/v1/channels/demo/start")
    assert (answer.status_code, answer["Content-Type"]) == (403, PROBLEM)
    assert not Run.objects.exists()


def test_the_key_is_in_no_answer(program: Client) -> None:
    rows.output(rows.channel(playlist=None))
    answers = [
        program.get("/api/v1/channels"),
        program.get("/api/v1/channels/demo"),
        program.get("/api/v1/channels/demo/status"),
        program.post("/api/v1/channels/demo/start"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 422]
    assert not [answer for answer in answers if rows.KEY in answer.content.decode()]


def test_the_documentation_needs_no_other_host(program: Client) -> None:
    page = program.get("/api/v1/docs").content.decode()
    assert "/static/ninja/swagger-ui" in page
    assert "https://" not in page
    paths = program.get("/api/v1/openapi.json").json()["paths"]
    assert "/api/v1/channels/{slug}/start" in paths
