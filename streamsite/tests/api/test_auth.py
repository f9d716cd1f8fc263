"""Permissions: every route with every kind of caller, as the table says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.utils import timezone
from pytest_django import Settings

from streams.tests import rows
from streamsite.api import keys
from streamsite.api.auth import CLOSED
from streamsite.api.models import ApiKey
from streamsite.api.permissions import KeyPermission
from streamsite.http import problems
from streamsite.http.problems import MEDIA_TYPE, PREFIX, ProblemError
from streamsite.site import permission_table
from streamsite.site.api_root import TOPICS, api

pytestmark = pytest.mark.django_db

#: Streams go on for ever: `test_live_access` listens to them.
STREAMS = {f"GET {route}" for topic in TOPICS for route in (topic.socket, topic.events)}
TABLE = permission_table.table()
ROUTES = sorted(TABLE.keys() - STREAMS)
#: Stand-ins for the parameters of a route; no such object exists.
_EXAMPLES = {"slug": "none", "id": "987654", "number": "1", "name": "none.ts"}


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


def call(client: Client, route: str, **sent: Any) -> tuple[int, str]:
    """Status, and the kind of the problem if it is one."""
    method, _, path = route.partition(" ")
    filled = re.sub(r"{(\w+)}", lambda result: _EXAMPLES.get(result[1], "987654"), path)
    answer = client.generic(method, filled, "{}", content_type="application/json", **sent)
    if answer.get("Content-Type") != MEDIA_TYPE:
        return answer.status_code, ""
    reported = answer.json()
    assert reported["status"] == answer.status_code
    assert reported["request_id"] == answer["X-Request-ID"]
    return answer.status_code, reported["type"].removeprefix(PREFIX)


def minted(level: KeyPermission, **fields: Any) -> tuple[ApiKey, dict[str, str]]:
    row, key = keys.mint("Robot", level, by="ada", now=timezone.now(), **fields)
    return row, {"Authorization": f"Bearer {key.reveal()}"}


#: Answers that mean a caller was kept out, or that something broke.
REFUSED = {401, 403, 405, 500}


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_lets_in_whom_the_table_names_and_nobody_else(
    client: Client, route: str
) -> None:
    """Every kind of caller of one route: one database for all of them keeps it quick."""
    rule = TABLE[route]
    everybody = rule is None
    staff_permission = rule.staff_permission if rule else "streams.view_channel"
    without_key = call(client, route)
    assert without_key[0] not in REFUSED if everybody else without_key == (401, "no-key")

    for level in KeyPermission:
        _, headers = minted(level)
        answer = call(client, route, headers=headers)
        if rule is None or level.includes(rule.key_permission):
            assert answer[0] not in REFUSED, level
        else:
            assert answer == (403, "key-permissions"), level

    for sent, refusal in unusable_keys():
        assert everybody or call(client, route, headers=sent) == refusal

    client.force_login(rows.user(name="clerk"))
    assert everybody or call(client, route) == (403, "permission")
    client.force_login(rows.user(staff_permission, name="boss"))
    assert call(client, route)[0] not in REFUSED
    client.force_login(rows.user(staff_permission, name="viewer", staff=False))
    assert everybody or call(client, route) == (401, "no-key")


def unusable_keys() -> Iterator[tuple[dict[str, str], tuple[int, str]]]:
    """Headers of keys that are not accepted, each with its refusal."""
    past = timezone.now() - timedelta(seconds=1)
    expired, headers = minted(KeyPermission.FULL_ACCESS)
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=past)
    yield headers, (401, "key-expired")
    revoked, headers = minted(KeyPermission.FULL_ACCESS)
    keys.revoke(revoked, by="ada", now=past)
    yield headers, (401, "key-revoked")
    _, headers = minted(KeyPermission.FULL_ACCESS, allowed_addresses=["203.0.113.0/24"])
    yield headers, (403, "key-address")
    yield {"X-API-Key": "ssk_" + "a" * 43}, (401, "key-unknown")


def test_a_session_without_the_token_changes_nothing() -> None:
    rows.channel()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(rows.operator())
    assert call(browser, "POST /api/v1/channels/{slug}/start") == (403, "csrf")
    assert call(browser, "GET /api/v1/channels")[0] == 200


def test_a_key_goes_before_a_cookie(client: Client) -> None:
    client.force_login(rows.operator())
    unknown = {"X-API-Key": "ssk_" + "a" * 43}
    assert call(client, "GET /api/v1/channels", headers=unknown) == (401, "key-unknown")


def test_a_route_that_states_no_permission_is_closed(rf: RequestFactory) -> None:
    _, headers = minted(KeyPermission.FULL_ACCESS)
    request = rf.get("/", headers=headers)
    with pytest.raises(ProblemError, match="Nobody may call this route"):
        CLOSED[0](request)
    assert api.auth is CLOSED
    assert {route for route, rule in TABLE.items() if rule is None} == {
        "GET /api/v1/health",
        "GET /health",
    }


def test_the_documentation_has_the_table() -> None:
    page = (Path(__file__).parents[3] / "deploy" / "api.md").read_text()
    assert permission_table.as_markdown() in page, (
        "Put in what `python -m streamsite.site.permission_table` prints."
    )
    assert problems.as_markdown() in page, "And `python -m streamsite.http.problems`."


def test_no_cache_shows_an_answer_to_somebody_else(client: Client) -> None:
    _, bearer = minted(KeyPermission.READ_ONLY)
    # Caches know what Authorization is, but nothing of our own header.
    headers = {"X-API-Key": bearer["Authorization"].removeprefix("Bearer ")}
    answer = client.get("/api/v1/channels", headers=headers)
    assert answer["Cache-Control"] == "private, no-cache"
    unchanged = client.get(
        "/api/v1/channels", headers=headers | {"If-None-Match": answer["ETag"]}
    )
    assert (unchanged.status_code, unchanged["Cache-Control"]) == (304, "private, no-cache")
    assert (
        client.get("/api/v1/channels", headers={"If-None-Match": answer["ETag"]}).status_code
        == 401
    )
