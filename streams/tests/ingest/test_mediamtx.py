"""The contract with MediaMTX, held against a fake with its semantics, and its configuration."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from django.conf import settings as conf
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from conftest import need
from streams.ingest import keys, reconciler
from streams.ingest.servers import IngestClient, ServerError, Source, configured_client
from streams.models import Broadcaster, IngestServer, LiveStream, StreamKey
from streams.tests.bench.mediamtx import FakeMediaMtx, Session
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

TOKEN = "shared-token-of-the-test"


@pytest.fixture
def fake(
    live_server: LiveServer, transactional_db: None, settings: Settings
) -> Iterator[FakeMediaMtx]:
    made = FakeMediaMtx(live_server.url, TOKEN)
    settings.INGEST_SERVER = "mediamtx"
    settings.INGEST_TOKEN = Secret(TOKEN)
    settings.INGEST_API_URL = made.api_url
    yield made
    made.hooks_done()
    made.close()


@pytest.fixture
def ada(transactional_db: None) -> Broadcaster:
    return Broadcaster.objects.create(name="Ada", slug="ada")


def mint(ada: Broadcaster, **fields: Any) -> tuple[StreamKey, str]:
    row, key = keys.mint(ada, by="test", now=timezone.now(), **fields)
    return row, key.reveal()


def ingest_client() -> IngestClient:
    client = configured_client()
    assert client is not None
    return client


def reconcile_once(owner: str = "here") -> None:
    reconciler.reconcile(ingest_client(), owner)


def live() -> list[LiveStream]:
    return list(LiveStream.objects.filter(ended_at=None).order_by("path"))


def published(fake: FakeMediaMtx, key: str, path: str = "live/ada") -> Session:
    session = fake.publish(path, "rtmp", query=f"token={key}", token=key)
    assert session is not None
    fake.hooks_done()
    return session


def age(seconds: float) -> None:
    """Shifts all stored times into the past."""
    past = timezone.now() - timedelta(seconds=seconds)
    LiveStream.objects.update(seen_at=past, started_at=past)
    StreamKey.objects.exclude(lease_seen_at=None).update(lease_seen_at=past)


# ---- publishing ------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", ["rtmp", "rtsp", "srt", "webrtc"])
def test_every_protocol_goes_live(fake: FakeMediaMtx, ada: Broadcaster, protocol: str) -> None:
    row, key = mint(ada)
    # The real server puts the token into `token`, whatever its origin.
    forms: dict[str, dict[str, str]] = {
        "rtmp": {"query": f"token={key}", "token": key},
        "rtsp": {"user": "u", "password": key, "token": key},
        "srt": {"user": "u", "password": key, "token": key},
        "webrtc": {"token": key},
    }
    wrong = {name: value.replace(key, "x" * 32) for name, value in forms[protocol].items()}
    assert fake.publish("live/ada", protocol, **wrong) is None
    session = fake.publish("live/ada", protocol, **forms[protocol])
    assert session is not None
    fake.hooks_done()
    (stream,) = live()
    assert (stream.key, stream.source_id, stream.source_type) == (row, session.id, session.type)
    assert fake.publish("live/ada", protocol, **forms[protocol]) is None

    reconcile_once()
    done = keys.revoke(row, by="ada", now=timezone.now(), server=configured_client())
    assert (done.was_live, done.fault, session.ended) == (True, "", True)
    fake.hooks_done()
    assert live() == []
    assert fake.publish("live/ada", protocol, **forms[protocol]) is None


def test_two_clients_of_a_broadcaster_do_not_disconnect_one_another(
    fake: FakeMediaMtx, ada: Broadcaster
) -> None:
    """Both reconnect automatically with their own keys. Other broadcasters are not affected."""
    _, one = mint(ada)
    _, two = mint(ada)
    eve = Broadcaster.objects.create(name="Eve", slug="eve")
    _, hers = mint(eve)
    session = published(fake, one)
    for protocol in ("rtmp", "srt", "webrtc"):
        assert fake.publish("live/ada", protocol, token=two, query="") is None
    published(fake, hers, "live/eve")
    assert not session.ended
    assert next(row.source_id for row in live()) == session.id
    # After its end the other key is accepted, and the first one is refused.
    fake.leave(session)
    fake.hooks_done()
    other = published(fake, two)
    assert fake.publish("live/ada", "rtmp", token=one, query="") is None
    assert not other.ended


@pytest.mark.slow
def test_a_half_open_connection_blocks_another_key_no_longer_than_its_own(
    fake: FakeMediaMtx, ada: Broadcaster
) -> None:
    _, one = mint(ada)
    _, two = mint(ada)
    published(fake, one)
    reconcile_once()
    assert fake.publish("live/ada", "rtmp", token=two, query="") is None
    age(16)
    reconcile_once()
    published(fake, two)


def test_with_ingest_replace_a_second_key_replaces_the_first(
    fake: FakeMediaMtx, ada: Broadcaster, settings: Settings
) -> None:
    """The hooks of both sources arrive in any order."""
    settings.INGEST_REPLACE = True
    first, one = mint(ada)
    second, two = mint(ada)
    old = published(fake, one)
    new = published(fake, two)
    assert old.ended
    reconcile_once()
    (stream,) = live()
    assert (stream.source_id, stream.key) == (new.id, second)
    first.refresh_from_db()
    assert first.lease_seen_at is None


def test_a_lost_broadcaster_is_accepted_again_without_bytes(
    fake: FakeMediaMtx, ada: Broadcaster
) -> None:
    """A half-open connection is still online, but without bytes its lease lapses."""
    _, key = mint(ada)
    session = published(fake, key)
    session.received = 1000
    reconcile_once()
    age(16)
    reconcile_once()
    assert live()[0].source_id == session.id
    again = published(fake, key)
    assert session.ended
    reconcile_once()
    assert [one.source_id for one in live()] == [again.id]


# ---- the reconciler --------------------------------------------------------------------------
@pytest.mark.parametrize("fields", ["old", "new"])
def test_values_are_read_from_old_and_new_field_names(
    fake: FakeMediaMtx, ada: Broadcaster, fields: Any
) -> None:
    fake.fields = fields
    row, key = mint(ada)
    session = published(fake, key)
    reconcile_once()
    age(8)
    session.received = 1_000_000
    reconcile_once()
    (stream,) = live()
    assert stream.tracks == ["H264", "MPEG-4 Audio"]
    assert stream.bytes_in == 1_000_000
    assert stream.bitrate is not None
    # 8 Mbit in the slightly more than 8 s since the last poll.
    assert 800_000 < stream.bitrate <= 1_000_000
    row.refresh_from_db()
    assert row.leased(timezone.now())


def test_an_unreported_start_is_detected(fake: FakeMediaMtx, ada: Broadcaster) -> None:
    fake.lost = {"ready"}
    row, key = mint(ada)
    session = published(fake, key)
    assert live() == []
    reconcile_once()
    (stream,) = live()
    assert (stream.key, stream.source_id) == (row, session.id)
    assert stream.started_at == datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def test_an_unreported_end_is_detected_and_frees_the_key(
    fake: FakeMediaMtx, ada: Broadcaster
) -> None:
    fake.lost = {"not-ready"}
    _, key = mint(ada)
    session = published(fake, key)
    fake.leave(session)
    reconcile_once()
    # It was reported just now: the list may be older.
    assert len(live()) == 1
    age(3)
    reconcile_once()
    assert live() == []
    published(fake, key)


def test_an_outdated_list_does_not_revive_an_ended_stream(
    fake: FakeMediaMtx, ada: Broadcaster
) -> None:
    _, key = mint(ada)
    session = published(fake, key)
    before = timezone.now()
    old = ingest_client().streams()
    fake.leave(session)
    fake.hooks_done()
    reconciler.settle("mediamtx", old, listed_at=before, now=timezone.now())
    assert live() == []


def test_an_unreachable_server_makes_streams_unknown_not_ended(
    fake: FakeMediaMtx, ada: Broadcaster
) -> None:
    row, key = mint(ada)
    published(fake, key)
    reconcile_once()
    fake.close()
    age(60)
    reconcile_once()
    (stream,) = live()
    assert (stream.unknown, stream.bitrate) == (True, None)
    server = IngestServer.objects.get()
    assert "does not answer" in server.fault
    row.refresh_from_db()
    assert not row.leased(timezone.now())

    fake.open()
    reconcile_once()
    (stream,) = live()
    assert not stream.unknown
    assert IngestServer.objects.get().fault == ""
    fake.crash()
    fake.open()
    age(3)
    reconcile_once()
    assert live() == []


def test_many_pages_are_read(fake: FakeMediaMtx, ada: Broadcaster) -> None:
    for number in range(90):
        fake.appear(Session(f"live/s{number}", "srt"))
    reconcile_once()
    assert len(live()) == 90
    assert fake.lists == 5
    assert {stream.broadcaster for stream in live()} == {None}


def test_a_hanging_server_blocks_only_for_the_timeout(
    fake: FakeMediaMtx, ada: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.ingest.servers.REQUEST_TIMEOUT_S", 0.5)
    _, key = mint(ada)
    published(fake, key)
    fake.stuck.set()
    begun = time.monotonic()
    reconcile_once()
    assert time.monotonic() - begun < 5
    assert live()[0].unknown


def test_a_revoked_stream_is_ended_when_the_server_is_back(
    fake: FakeMediaMtx, ada: Broadcaster
) -> None:
    row, key = mint(ada)
    session = published(fake, key)
    fake.close()
    done = keys.revoke(row, by="ada", now=timezone.now(), server=configured_client())
    assert "as soon as the server answers" in done.fault
    assert not session.ended
    fake.open()
    reconcile_once()
    assert session.ended


def test_one_node_polls_at_a_time(fake: FakeMediaMtx, ada: Broadcaster) -> None:
    reconcile_once("one")
    reconcile_once("other")
    assert fake.lists == 1
    IngestServer.objects.update(lease_until=timezone.now())
    reconcile_once("other")
    reconcile_once("one")
    assert fake.lists == 2
    assert IngestServer.objects.get().owner == "other"


def test_the_thread_survives_errors(
    fake: FakeMediaMtx, ada: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "POLL_INTERVAL_S", 0.05)
    real = reconciler.reconcile
    failed: list[str] = []

    def fails_once(server: IngestClient, owner: str) -> None:
        if not failed:
            failed.append(owner)
            raise RuntimeError("Something that nobody thought of.")
        real(server, owner)

    monkeypatch.setattr(reconciler, "reconcile", fails_once)
    fake.appear(Session("live/ada", "srt"))
    with reconciler.reconciled():
        until(live, 60, "it looks again")
    assert failed


# ---- the API ---------------------------------------------------------------------------------
def test_kicking_an_ended_source_succeeds(fake: FakeMediaMtx) -> None:
    ingest_client().kick(Source("live/ada", "rtmpConn", "gone"))
    with pytest.raises(ServerError, match="can't be ended"):
        ingest_client().kick(Source("live/ada", "hlsSource", "x"))


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b'{"items": 3}', b'{"items": [{"source": {}}]}']
)
def test_an_unexpected_answer_is_a_fault_or_empty(
    fake: FakeMediaMtx, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    server = ingest_client()
    monkeypatch.setattr(server, "_request", lambda *_, **__: answer)
    if b"source" in answer:
        assert server.streams() == []
    else:
        with pytest.raises(ServerError):
            server.streams()


# ---- its configuration -----------------------------------------------------------------------
@pytest.fixture(scope="module")
def configuration() -> dict[str, Any]:
    text = (conf.BASE_DIR / "deploy/mediamtx/mediamtx.yml").read_text()
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def test_the_shipped_configuration_restricts_its_api_to_this_machine(
    configuration: dict[str, Any],
) -> None:
    assert configuration["authMethod"] == "http"
    assert urlsplit(configuration["authHTTPAddress"]).path == "/auth"
    excluded = {one["action"] for one in configuration["authHTTPExclude"]}
    assert excluded == {"api", "metrics", "pprof"}
    for name in ("apiAddress", "metricsAddress"):
        assert configuration[name].startswith("127.0.0.1:")
    # This machine may always watch: clients of its proxy must not count as this machine.
    for name in ("hlsTrustedProxies", "webrtcTrustedProxies"):
        assert configuration[name] == ["127.0.0.1", "::1"]
    assert configuration["pathDefaults"]["overridePublisher"] is True


@pytest.mark.parametrize(("hook", "left"), [("runOnAvailable", 1), ("runOnUnavailable", 0)])
def test_the_shipped_hooks_are_parsed(
    fake: FakeMediaMtx, ada: Broadcaster, configuration: dict[str, Any], hook: str, left: int
) -> None:
    """Runs a hook as the server does: splits words, substitutes names, uses no shell."""
    need(shutil.which("curl"), "curl")
    fake.lost = {"ready", "not-ready"}
    _, key = mint(ada)
    session = published(fake, key)
    reconcile_once()
    expected = {
        "$MTX_PATH": session.path,
        "$MTX_SOURCE_TYPE": session.type,
        "$MTX_SOURCE_ID": session.id,
        "CHANGE": TOKEN,
        "http://127.0.0.1:8000": fake.site,
    }
    # Only the header is quoted.
    command = configuration["pathDefaults"][hook]
    before, header, after = command.split('"')
    words = [*before.split(), header, *after.split()]
    for name, value in expected.items():
        words = [word.replace(name, value) for word in words]
    subprocess.run(words, check=True, timeout=20)
    assert len(live()) == left
