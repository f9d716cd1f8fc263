"""Errors are problems wherever a program asks, whoever answers: ninja, Django, a middleware."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from streams.api import channels
from streams.tests import rows
from streamsite.http.problems import KINDS, MEDIA_TYPE, PREFIX, Kind, of_status

pytestmark = pytest.mark.django_db


@pytest.fixture
def program(client: Client) -> Client:
    client.force_login(rows.user("streams.view_channel", "streams.add_channel"))
    client.raise_request_exception = False
    return client


def kind(answer: object) -> str:
    """The kind of a problem that is whole."""
    assert answer["Content-Type"] == MEDIA_TYPE  # type: ignore[index]  # the client's answer, in any form
    reported = answer.json()  # type: ignore[attr-defined]  # the client's answer, in any form
    assert reported["status"] == answer.status_code  # type: ignore[attr-defined]  # the client's answer, in any form
    assert reported["request_id"] == answer["X-Request-ID"]  # type: ignore[index]  # the client's answer, in any form
    assert reported["title"]
    assert reported["detail"].endswith(".")
    return str(reported["type"]).removeprefix(PREFIX)


@pytest.mark.parametrize(
    ("path", "status", "title"),
    [
        ("/admin/nothing/", 404, "There is no such page"),
        ("/admin/monitor/nothing/", 404, "There is no such page"),
        ("/admin/auth/user/", 403, "You may not open this page"),
    ],
)
def test_people_get_a_page_that_leads_back(
    program: Client, path: str, status: int, title: str
) -> None:
    answer = program.get(path, headers={"Accept": "text/html"})
    page = answer.content.decode()
    assert (answer.status_code, title in page, 'href="/admin/"' in page) == (status, True, True)


def test_pages_of_djangos_own(program: Client) -> None:
    assert kind(program.get("/api/v1/nothing")) == "not-found"
    assert kind(program.get("/api/")) == "not-found"
    assert kind(program.get("/api/v1/channels/no such slug")) == "not-found"
    assert kind(program.get("/streams/none/of/that")) == "not-found"
    answer = program.delete("/api/v1/channels")
    assert kind(answer) == "method"
    assert "GET" in answer["Allow"]
    assert (
        kind(program.get("/api/v1/channels", headers={"Host": "evil.example"})) == "malformed"
    )


def test_a_page_is_a_page_for_people_and_a_problem_for_programs(client: Client) -> None:
    page = client.get("/nothing")
    assert (page.status_code, page["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert kind(client.get("/nothing", headers={"Accept": "application/json"})) == "not-found"


def test_what_breaks_states_nothing_of_itself(
    program: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError(rows.KEY)

    monkeypatch.setattr(channels, "channel_rows", broken)
    for debug in (False, True):
        settings.DEBUG = debug
        answer = program.get("/api/v1/channels")
        assert kind(answer) == "internal"
        assert rows.KEY not in answer.content.decode()


def test_a_database_that_is_away(program: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(channels, "channel_rows", away)
    assert kind(program.get("/api/v1/channels")) == "unavailable"


def test_what_is_sent_wrong_is_reported_by_field_and_never_repeated(program: Client) -> None:
    wrong = {"name": "X", "slug": "x y", "fps": rows.KEY, "nam3": rows.KEY}
    answer = program.post("/api/v1/channels", wrong, content_type="application/json")
    assert kind(answer) == "invalid"
    places = [error["loc"] for error in answer.json()["errors"]]
    assert sorted(places) == [["body", "fps"], ["body", "nam3"], ["body", "slug"]]
    assert rows.KEY not in answer.content.decode()
    body = program.post("/api/v1/channels", "{", content_type="application/json")
    assert kind(body) == "malformed"
    assert "line 1 column 2" in body.json()["detail"]
    assert kind(program.post("/api/v1/channels", "", content_type="application/json")) == (
        "invalid"
    )
    assert kind(program.get("/api/v1/channels?limit=0")) == "invalid"
    assert kind(program.get("/api/v1/channels?cursor=x")) == "malformed"


def test_a_parameter_that_there_is_not_is_reported(program: Client) -> None:
    answer = program.get("/api/v1/channels?orders=on&limit=5")
    assert kind(answer) == "invalid"
    assert [error["loc"] for error in answer.json()["errors"]] == [["query", "orders"]]
    assert program.get("/api/v1/channels?desired_state=on&limit=5&q=").status_code == 200
    # Programs that call compatibility paths may send what they like.
    assert program.get("/health?now=1").status_code == 200
    assert program.get("/streams/status?now=1").status_code == 404


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "text/plain", "data": "x" * 11_000_000}, 413),
        ({"content_type": "application/json", "data": "x" * 11_000_000}, 413),
        ({"content_type": "application/json", "HTTP_TRANSFER_ENCODING": "chunked"}, 411),
    ],
)
def test_bodies_that_are_not_taken(program: Client, sent: dict[str, str], status: int) -> None:
    if status == HTTPStatus.LENGTH_REQUIRED:
        sent = sent | {"CONTENT_LENGTH": ""}
    answer = program.generic("POST", "/api/v1/channels", **({"data": "{}"} | sent))  # type: ignore[arg-type]  # the client's answer, in any form
    assert answer.status_code == status
    assert kind(answer) in {"media-type", "too-large", "no-length"}


def test_what_the_rows_refuse_is_reported_by_field(program: Client) -> None:
    rows.channel()
    wrong = {"name": "Demo", "slug": "other", "fps": 29, "time_zone": "Mars/Base"}
    answer = program.post("/api/v1/channels", wrong, content_type="application/json")
    assert kind(answer) == "invalid"
    fields = {error["loc"][-1] for error in answer.json()["errors"]}
    assert {"name", "fps", "time_zone"} <= fields


def test_the_requests_id(client: Client) -> None:
    made = client.get("/health")["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f-]{36}", made)
    assert client.get("/health")["X-Request-ID"] != made
    chosen = client.get("/health", headers={"X-Request-ID": "job-42.retry_1"})
    assert chosen["X-Request-ID"] == "job-42.retry_1"
    for odd in ("short", "with space", "x" * 65, "line\tfeed"):
        answer = client.get("/health", headers={"X-Request-ID": odd})
        assert answer["X-Request-ID"] != odd


def test_the_login_is_requested_for_by_name(client: Client) -> None:
    answer = client.get("/api/v1/channels")
    assert kind(answer) == "no-key"
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_every_kind_has_a_status_and_words() -> None:
    assert KINDS.keys() == set(Kind)
    for reported, (status, when) in KINDS.items():
        assert 400 <= status < 600, reported
        assert when.endswith(".")
    assert of_status(418, "", "id")["type"] == "about:blank"
    assert of_status(404, "", "id")["type"] == f"{PREFIX}not-found"
