"""WebSockets and event streams, as gunicorn serves them."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from media_library.models import DownloadJob
from streams.models import Channel, ChannelState
from streams.tests import rows
from streamsite.api import keys
from streamsite.api.models import ApiKey
from streamsite.api.permissions import KeyPermission
from streamsite.tests.serving import Served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.database,
    pytest.mark.django_db(transaction=True),
]


def a_key(
    level: KeyPermission = KeyPermission.READ_ONLY, **fields: Any
) -> tuple[ApiKey, dict[str, str]]:
    row, key = keys.mint("tests", level, by="ada", now=timezone.now(), **fields)
    return row, {"Authorization": f"Bearer {key.reveal()}"}


def playing(slug: str = "demo") -> Channel:
    channel = rows.channel(slug)
    rows.node()
    rows.on_air(channel)
    return channel


def received(socket: ClientConnection, within: float = 5) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=within))
    return message


def listen(site: Served, path: str, **headers: str) -> ClientConnection:
    return connect(f"{site.ws}{path}", additional_headers=headers, open_timeout=30)


def title(channel: Channel, name: str) -> None:
    ChannelState.objects.filter(channel=channel).update(now_title=name)


def refused(site: Served, path: str, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as caught:
        listen(site, path, **headers)
    return int(caught.value.response.status_code)


# ---- WebSocket -------------------------------------------------------------------------------


def test_snapshot_on_connect_then_what_changes(site: Served) -> None:
    channel = playing()
    playing_too = rows.channel("other")
    _, key = a_key()
    with listen(site, "/ws/channels/demo", **key) as mine:
        first = received(mine)
        assert (first["type"], first["topic"], first["key"]) == ("snapshot", "channels", "demo")
        assert first["data"]["state"] == "on_air"
        assert first["data"]["now"]["title"] == "First"
        with listen(site, "/ws/channels/demo", **key) as second:
            assert received(second)["type"] == "snapshot"
            # Other objects' changes are not sent; those of theirs are sent to both.
            Channel.objects.filter(pk=playing_too.pk).update(name="Another")
            title(channel, "Second")
            for one in (mine, second):
                news = received(one)
                assert (news["type"], news["data"]["now"]["title"]) == ("update", "Second")


def test_progress_of_a_download(site: Served) -> None:
    job = DownloadJob.objects.create(url="https://example.org/", site="example.org")
    _, key = a_key(KeyPermission.ADMIN)
    with listen(site, f"/ws/progress/{job.pk}", **key) as mine:
        first = received(mine)
        assert (first["type"], first["topic"], first["key"]) == (
            "snapshot",
            "progress",
            str(job.pk),
        )
        assert (first["data"]["status"], first["data"]["percent"]) == ("queued", 0)
        DownloadJob.objects.update(status="downloading", percent=40, claim="mine")
        news = received(mine)
        assert (news["type"], news["data"]["percent"]) == ("update", 40)
        assert "example.org" not in str([first, news])


def test_channel_that_is_deleted_ends_the_stream(site: Served) -> None:
    channel = rows.channel()
    _, key = a_key()
    with listen(site, "/ws/channels/demo", **key) as mine:
        assert received(mine)["data"]["state"] == "off"
        channel.delete()
        assert received(mine)["type"] == "gone"
        with pytest.raises(ConnectionClosed) as caught:
            mine.recv(timeout=5)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4404


def test_worker_that_falls_silent_is_reported_though_nobody_writes(site: Served) -> None:
    channel = rows.channel()
    # It counts as dead 15 s after its last word: a slow machine needs some to connect.
    nearly = timezone.now() - timedelta(seconds=3)
    rows.node(nearly)
    rows.on_air(channel, at=nearly)
    _, key = a_key()
    with listen(site, "/ws/channels/demo", **key) as mine:
        assert received(mine)["data"]["confirmed"] is True
        assert received(mine, within=30)["data"]["confirmed"] is False


def test_nobody_listens_who_may_not(site: Served) -> None:
    rows.channel()
    path = "/ws/channels/demo"
    assert refused(site, path) == 403
    assert refused(site, path, Authorization="Bearer ssk_wrong") == 403
    _, elsewhere = a_key(allowed_addresses=["203.0.113.7"])
    assert refused(site, path, **elsewhere) == 403
    row, key = a_key()
    assert refused(site, "/ws/nothing/demo", **key) == 403
    with listen(site, path, **key) as mine:
        assert received(mine)["type"] == "snapshot"
    keys.revoke(row, by="ada", now=timezone.now())
    assert refused(site, path, **key) == 403


def session(*permissions: str) -> str:
    client = Client()
    client.force_login(rows.user(*permissions))
    return f"sessionid={client.cookies['sessionid'].value}"


def test_staff_listen_from_our_own_pages_only(site: Served) -> None:
    rows.channel()
    path, cookie = "/ws/channels/demo", session("streams.view_channel")
    ours = f"http://127.0.0.1:{site.port}"
    with listen(site, path, Cookie=cookie, Origin=ours) as mine:
        assert received(mine)["type"] == "snapshot"
    assert refused(site, path, Cookie=cookie, Origin="https://evil.example") == 403
    assert refused(site, path, Cookie=cookie, Origin=f"http://127.0.0.1:{site.port + 1}") == 403
    assert refused(site, path, Cookie=cookie) == 403
    assert refused(site, path, Cookie="sessionid=nobody", Origin=ours) == 403


def test_staff_without_the_permission_do_not(site: Served) -> None:
    rows.channel()
    ours = f"http://127.0.0.1:{site.port}"
    assert refused(site, "/ws/channels/demo", Cookie=session(), Origin=ours) == 403


def test_large_message_of_a_client_closes_the_line(site: Served) -> None:
    rows.channel()
    _, key = a_key()
    with listen(site, "/ws/channels/demo", **key) as mine:
        received(mine)
        mine.send("a few words are not listened to")
        mine.send("x" * 100_000)
        with pytest.raises(ConnectionClosed) as caught:
            mine.recv(timeout=5)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


# ---- server-sent events ----------------------------------------------------------------------


@contextmanager
def events(site: Served, path: str, **headers: str) -> Iterator[http.client.HTTPResponse]:
    line = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    line.request("GET", path, headers=headers)
    with line.getresponse() as answer:
        yield answer
    line.close()


def next_event(stream: http.client.HTTPResponse) -> dict[str, Any]:
    while line := stream.readline().decode():
        if line.startswith("data: "):
            message: dict[str, Any] = json.loads(line[6:])
            return message
    raise AssertionError("The stream has ended.")


def test_events_are_the_same_messages(site: Served) -> None:
    channel = playing()
    _, key = a_key()
    with events(site, "/api/v1/channels/demo/events", **key) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert next_event(stream)["type"] == "snapshot"
        title(channel, "Second")
        assert next_event(stream)["data"]["now"]["title"] == "Second"


def test_events_end_with_what_they_are_about(site: Served) -> None:
    channel = rows.channel()
    _, key = a_key()
    with events(site, "/api/v1/channels/demo/events", **key) as stream:
        assert next_event(stream)["type"] == "snapshot"
        channel.delete()
        assert next_event(stream)["type"] == "gone"
        assert stream.read().strip() == b""


# ---- together with the pages -----------------------------------------------------------------


def test_open_streams_starve_no_page(own_site: Served) -> None:
    """Many more streams than there are threads, and every page is answered."""
    rows.channel()
    # One key may have so many; several come together.
    (_, first), (_, second) = a_key(), a_key()
    with ExitStack() as opened, ThreadPoolExecutor(8) as pool:
        sockets = [
            opened.enter_context(listen(own_site, "/ws/channels/demo", **key))
            for key in (first, second)
            for _ in range(30)
        ]
        for _ in range(20):
            opened.enter_context(events(own_site, "/api/v1/channels/demo/events", **first))
        assert all(received(one)["type"] == "snapshot" for one in sockets)

        def page(_: int) -> int:
            with events(own_site, "/health") as answer:
                return answer.status

        assert set(pool.map(page, range(40))) == {200}


def test_requests_keep_their_own_answers(site: Served) -> None:
    """Connections are kept and shared; bodies and answers are not mixed up."""
    with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)) as line:
        for number in range(20):
            line.request("POST", "/admin/login/", f"username=u{number}".encode())
            with line.getresponse() as answer:
                assert answer.status == 403
                answer.read()
            line.request("GET", "/health")
            with line.getresponse() as answer:
                assert (answer.status, json.load(answer)["status"]) == (200, "ok")


def test_sigterm_ends_open_streams_within_seconds(own_site: Served) -> None:
    rows.channel()
    _, key = a_key()
    with listen(own_site, "/ws/channels/demo", **key) as mine:
        received(mine)
        own_site.process.send_signal(signal.SIGTERM)
        own_site.process.wait(5)
        with pytest.raises(ConnectionClosed):
            mine.recv(timeout=5)


def test_a_stop_waits_for_the_request_that_is_being_made(own_site: Served) -> None:
    """And ends the streams at once: the next server would wait for them."""
    rows.channel()
    _, key = a_key()
    with (
        listen(own_site, "/ws/channels/demo", **key) as mine,
        events(own_site, "/api/v1/channels/demo/events", **key) as stream,
        socket.create_connection(("127.0.0.1", own_site.port), timeout=30) as slow,
    ):
        received(mine)
        assert next_event(stream)["type"] == "snapshot"
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        began = time.monotonic()
        own_site.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed) as caught:
            mine.recv(timeout=20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        assert stream.read().strip() == b""
        # A request that takes four seconds: its length is the input.
        time.sleep(max(0.0, began + 4 - time.monotonic()))
        slow.sendall(b"\r\n")
        assert slow.recv(12) == b"HTTP/1.1 200"
    own_site.process.wait(20)
