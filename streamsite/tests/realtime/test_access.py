"""Permission to listen, by WebSocket and to events: as the table says, and as often."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from media_library.models import DownloadJob
from streams.models import ChannelState
from streams.tests import rows
from streamsite.api import keys
from streamsite.api.models import ApiKey
from streamsite.api.permissions import KeyPermission
from streamsite.http.problems import MEDIA_TYPE, PREFIX
from streamsite.realtime import endpoints
from streamsite.realtime.endpoints import Endpoints, Message
from streamsite.realtime.hub import Hub, Topic
from streamsite.site.api_root import TOPICS
from streamsite.tests.serving import Served
from streamsite.tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

Headers = dict[str, str]
#: A WebSocket: open, or why not; an event stream: 200, or a problem's status and kind.
Met = tuple[int, str]


def minted(level: KeyPermission, **fields: Any) -> tuple[ApiKey, Headers]:
    row, key = keys.mint("Robot", level, by="ada", now=timezone.now(), **fields)
    return row, {"X-API-Key": key.reveal()}


def listen(site: Served, path: str, headers: Headers) -> int:
    """101, or the status of the refusal."""
    try:
        with connect(f"{site.ws}{path}", additional_headers=headers, open_timeout=30):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def call(site: Served, path: str, headers: Headers) -> tuple[Met, Headers]:
    """Status, and the kind of the problem if it is one; and the answer's headers."""
    line = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    try:
        line.request("GET", path, headers=headers)
        answer = line.getresponse()
        reported = {name.lower(): value for name, value in answer.getheaders()}
        if reported["content-type"] != MEDIA_TYPE:
            return (answer.status, ""), reported
        problem = json.load(answer)
        assert problem["status"] == answer.status
        assert problem["request_id"] == reported["x-request-id"]
        return (answer.status, problem["type"].removeprefix(PREFIX)), reported
    finally:
        line.close()


def session(site: Served, name: str, *permissions: str, staff: bool = True) -> Headers:
    client = Client()
    client.force_login(rows.user(*permissions, name=name, staff=staff))
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    return {"Cookie": cookie, "Origin": f"http://127.0.0.1:{site.port}"}


def callers(site: Served, topic: Topic) -> Iterator[tuple[str, Headers, Met]]:
    """Every kind of caller, and what the table says of it."""
    rule = topic.rule
    least = rule.key_permission
    past = timezone.now() - timedelta(seconds=1)
    yield "no key", {}, (401, "no-key")
    yield "unknown", {"X-API-Key": "ssk_" + "a" * 43}, (401, "key-unknown")
    for level in KeyPermission:
        _, headers = minted(level)
        # A key with DOWNLOAD has its own downloads, and this is another's.
        own = topic.name != "progress" or level.includes(KeyPermission.ADMIN)
        let_in = (200, "") if own else (404, "not-found")
        yield level, headers, let_in if level.includes(least) else (403, "key-permissions")
    row, headers = minted(KeyPermission.FULL_ACCESS)
    ApiKey.objects.filter(pk=row.pk).update(expires_at=past)
    yield "expired", headers, (401, "key-expired")
    row, headers = minted(KeyPermission.FULL_ACCESS)
    keys.revoke(row, by="ada", now=past)
    yield "revoked", headers, (401, "key-revoked")
    _, headers = minted(KeyPermission.FULL_ACCESS, allowed_addresses=["203.0.113.0/24"])
    yield "wrong address", headers, (403, "key-address")
    boss = session(site, "boss", rule.staff_permission)
    yield "staff", boss, (200, "")
    yield "another site's page", boss | {"Origin": "https://evil.example"}, (403, "csrf")
    yield "staff without", session(site, "clerk"), (403, "permission")
    viewer = session(site, "viewer", rule.staff_permission, staff=False)
    yield "no staff", viewer, (401, "no-key")


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_who_may_listen(site: Served, topic: Topic) -> None:
    rows.channel()
    job = DownloadJob.objects.create(url="https://example.org/", site="example.org")
    name = {"slug": "demo", "id": str(job.pk)}[topic.parameter]
    events = topic.events.format(**{topic.parameter: name})
    socket = topic.socket.format(**{topic.parameter: name})
    wrong = []
    for who, headers, met in callers(site, topic):
        answered, _ = call(site, events, headers)
        opened = listen(site, socket, headers)
        if (answered, opened) != (met, 101 if met[0] == 200 else 403):
            wrong.append((who, met, answered, opened))
    assert not wrong


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_what_is_not_there(site: Served, topic: Topic) -> None:
    _, headers = minted(KeyPermission.FULL_ACCESS)
    for name in ("none", "9" * 30):
        events = topic.events.format(**{topic.parameter: name})
        assert call(site, events, headers)[0] == (404, "not-found")
        assert listen(site, topic.socket.format(**{topic.parameter: name}), headers) == 403


def test_a_key_receives_of_its_own_download(site: Served) -> None:
    row, headers = minted(KeyPermission.DOWNLOAD)
    job = DownloadJob.objects.create(
        url="https://example.org/", site="example.org", owner=f"key:{row.pk}"
    )
    assert call(site, f"/api/v1/jobs/{job.pk}/events", headers)[0] == (200, "")
    assert listen(site, f"/ws/progress/{job.pk}", headers) == 101


def test_every_connection_counts_as_a_request(site: Served) -> None:
    rows.channel()
    # More than two, should the minute of the clock end in between.
    _, headers = minted(KeyPermission.READ_ONLY, requests_per_minute=2)
    events, page = "/api/v1/channels/demo/events", "/api/v1/channels"
    reported = [call(site, path, headers) for path in (events, page, events) * 2]
    refused = [(met, sent) for met, sent in reported if met != (200, "")]
    assert refused
    for met, sent in refused:
        assert met == (429, "too-many-requests")
        assert int(sent["retry-after"]) <= 60
    assert [sent["ratelimit-limit"] for met, sent in reported if met[0] == 200] == ["2"] * (
        len(reported) - len(refused)
    )
    _, headers = minted(KeyPermission.READ_ONLY, requests_per_minute=2)
    assert 403 in [listen(site, "/ws/channels/demo", headers) for _ in range(6)]


def test_who_tries_keys_is_held_up(own_site: Served) -> None:
    rows.channel()
    _, good = minted(KeyPermission.READ_ONLY)

    def held_up() -> bool:
        listen(own_site, "/ws/channels/demo", {"X-API-Key": "ssk_wrong"})
        met, _ = call(own_site, "/api/v1/channels/demo/events", good)
        return met == (429, "too-many-failures")

    # Counts begin anew with each minute of the clock.
    until(held_up, 60, "no key is looked at any more")


def test_a_wrong_host_is_refused(site: Served) -> None:
    met, _ = call(site, "/api/v1/channels/demo/events", {"Host": "evil.example"})
    assert met == (400, "malformed")


# ---- what changes while somebody listens -----------------------------------------------------
async def until_closed(headers: Headers, meanwhile: Callable[[int], None]) -> tuple[int, int]:
    """Listen to a channel that always has news: the close code, and the messages before it."""
    scope = {
        "type": "websocket",
        "path": "/ws/channels/demo",
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"127.0.0.1"),
            *((n.lower().encode(), v.encode()) for n, v in headers.items()),
        ],
    }
    incoming: asyncio.Queue[Message] = asyncio.Queue()
    sent: asyncio.Queue[Message] = asyncio.Queue()
    await incoming.put({"type": "websocket.connect"})
    ours = Endpoints(Hub(TOPICS))
    listening = asyncio.ensure_future(ours.serve_socket(scope, incoming.get, sent.put))
    count = 0
    async with asyncio.timeout(60):
        assert (await sent.get())["type"] == "websocket.accept"
        while (message := await sent.get())["type"] == "websocket.send":
            count += 1
            await asyncio.to_thread(apart, meanwhile, count)
        await listening
    # Both threads at once, for each has a connection of its own.
    both = threading.Barrier(2, timeout=10)
    list(ours._thread.map(hang_up, [both] * 2))
    return message["code"], count


def hang_up(together: threading.Barrier) -> None:
    together.wait()
    connection.close()


def apart(act: Callable[[int], None], count: int) -> None:
    """In a thread of its own, with a connection of its own."""
    try:
        act(count)
    finally:
        connection.close()


def busy(count: int) -> None:
    """News, sooner than it is looked at again whether the listener may stay."""
    ChannelState.objects.update(now_title=f"Item {count}")


@pytest.mark.parametrize("ended", ["revoked", "expired"])
def test_a_key_that_is_good_no_more_receives_no_more_however_much_happens(
    monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    monkeypatch.setattr(endpoints, "RECHECK_INTERVAL_S", 1.5)
    channel = rows.channel()
    rows.node()
    rows.on_air(channel)
    row, headers = minted(KeyPermission.READ_ONLY)

    def meanwhile(count: int) -> None:
        if count == 2 and ended == "revoked":
            keys.revoke(row, by="ada", now=timezone.now())
        elif count == 2:
            ApiKey.objects.filter(pk=row.pk).update(expires_at=timezone.now())
        busy(count)

    code, count = asyncio.run(until_closed(headers, meanwhile))
    assert code == endpoints.FORBIDDEN
    assert count >= 2


def test_a_full_server_and_wrong_keys_of_strangers_disconnect_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoints, "RECHECK_INTERVAL_S", 0.5)
    channel = rows.channel()
    rows.node()
    rows.on_air(channel)
    row, headers = minted(KeyPermission.READ_ONLY)

    def meanwhile(count: int) -> None:
        if count == 1:
            monkeypatch.setattr(endpoints, "MAX_STREAMS", 1)
            monkeypatch.setattr("streamsite.api.throttling.WRONG_KEYS", 0)
        elif count == 8:
            monkeypatch.setattr("streamsite.api.throttling.WRONG_KEYS", 20)
            keys.revoke(row, by="ada", now=timezone.now())
        busy(count)

    code, count = asyncio.run(until_closed(headers, meanwhile))
    assert (code, count >= 8) == (endpoints.FORBIDDEN, True)


def test_one_key_has_a_bound_of_streams(own_site: Served) -> None:
    rows.channel()
    row, headers = minted(KeyPermission.READ_ONLY)
    ApiKey.objects.filter(pk=row.pk).update(requests_per_minute=100_000)
    _, other = minted(KeyPermission.READ_ONLY)
    path = f"{own_site.ws}/ws/channels/demo"
    refused: list[int] = []
    # Each of the two workers counts its own.
    most = 2 * endpoints.MAX_STREAMS_PER_CALLER
    with ExitStack() as stack:
        for _ in range(most + 20):
            try:
                stack.enter_context(connect(path, additional_headers=headers, open_timeout=60))
            except InvalidStatus as error:
                refused.append(error.response.status_code)
        assert len(refused) >= 20
        assert set(refused) == {403}
        assert listen(own_site, "/ws/channels/demo", other) == 101
    # Those that were closed make room.
    until(lambda: listen(own_site, "/ws/channels/demo", headers) == 101, 30, "room for another")
