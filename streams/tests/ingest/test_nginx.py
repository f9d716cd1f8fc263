"""Live streams with a real nginx-rtmp, run by the configuration of deploy/."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from streams.ingest import keys
from streams.ingest.reconciler import reconciled
from streams.ingest.servers import IngestClient, configured_client
from streams.ingest.takeover_rights import ending
from streams.models import Broadcaster, IngestServer, LiveStream, StreamKey
from streams.tests.bench.ingest import NginxIngest, Publish, Publisher
from streams.tests.bench.node import Bench
from streams.tests.bench.waiting import steadily, until
from streamsite.security.secret import Secret

pytestmark = pytest.mark.slow

TOKEN = "shared-token-of-the-test"


@pytest.fixture
def ingest(
    live_server: LiveServer,
    transactional_db: None,
    settings: Settings,
    tmp_path: Path,
    nginx_rtmp: Path,
) -> Iterator[NginxIngest]:
    """The server, and the site that it calls. No reconciler runs."""
    settings.INGEST_SERVER = "nginx-rtmp"
    settings.INGEST_TOKEN = Secret(TOKEN)
    made = NginxIngest(tmp_path / "ingest", nginx_rtmp, live_server.url, TOKEN)
    settings.INGEST_API_URL = made.api_url
    made.start()
    yield made
    made.stop()


@pytest.fixture
def reconciler(ingest: NginxIngest) -> Iterator[None]:
    with reconciled():
        yield


@pytest.fixture
def publish(ingest: NginxIngest, ffmpeg: str) -> Iterator[Publish]:
    made: list[Publisher] = []

    def publish(slug: str, key: str) -> Publisher:
        query = f"?token={key}" if key else ""
        made.append(Publisher(f"{ingest.address}/live/{slug}{query}"))
        return made[-1]

    yield publish
    for one in made:
        one.end()


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


def listed() -> list[str]:
    """Returns the paths that the server itself lists."""
    return [one.path for one in ingest_client().streams()]


def live() -> LiveStream | None:
    return LiveStream.objects.filter(ended_at=None).first()


def until_live(within: float = 10) -> LiveStream:
    streams = until(live, within, "it is live")
    assert streams is not None
    return streams


def until_over(within: float = 10) -> None:
    until(lambda: live() is None, within, "nothing is live")


@pytest.mark.parametrize(
    ("leave", "how"),
    [
        (Publisher.end, "finished"),
        (Publisher.kill, "broken"),
    ],
)
def test_a_published_end_is_distinguished_from_a_broken_connection(
    leave: Callable[[Publisher], None], how: str, publish: Publish, ada: Broadcaster
) -> None:
    """FFmpeg unpublishes on SIGTERM, as OBS does on Stop; on SIGKILL it does not."""
    _, key = mint(ada)
    owner = publish("ada", key)
    row = until_live()
    leave(owner)
    until_over(30)

    def recorded() -> bool:
        row.refresh_from_db()
        return row.disconnected_call is not None

    until(recorded, 10, "nginx has called twice")
    assert ending(row, timezone.now()) == how


def test_only_the_right_key_goes_live(
    ingest: NginxIngest, publish: Publish, ada: Broadcaster
) -> None:
    row, key = mint(ada)
    gone, revoked = mint(ada)
    keys.revoke(gone, by="test", now=timezone.now(), server=configured_client())
    _, expired = mint(ada, expires_at=timezone.now())
    for wrong in ("", "x" * 32, revoked, expired):
        publish("ada", wrong).until_ended(15, "FFmpeg is refused")
    publish("eve", key).until_ended(15, "FFmpeg is refused at another's path")
    assert LiveStream.objects.count() == 0
    assert listed() == []

    right = publish("ada", key)
    stream = until_live()
    assert (stream.key, stream.broadcaster, stream.address) == (row, ada, "127.0.0.1")
    until(lambda: listed() == ["live/ada"], 60, "the server has it")

    publish("ada", key).until_ended(15, "the second with the same key is refused")
    stream.refresh_from_db()
    assert (stream.ended_at, right.sends) == (None, True)

    right.end()
    until_over()
    free = StreamKey.objects.filter(pk=row.pk, lease_seen_at=None)
    until(free.exists, 10, "the key is free")
    # The key was not written anywhere.
    for secret in (key, TOKEN, revoked):
        assert secret not in ingest.log()


def test_the_second_of_two_keys_is_refused_and_the_first_stays_live(
    publish: Publish, ada: Broadcaster
) -> None:
    _, first = mint(ada)
    other, second = mint(ada)
    right = publish("ada", first)
    stream = until_live()
    publish("ada", second).until_ended(15, "it is refused")
    stream.refresh_from_db()
    other.refresh_from_db()
    assert (stream.ended_at, right.sends, other.last_used_at) == (None, True, None)


def test_nginx_refuses_a_second_publisher_despite_ingest_replace(
    ingest: NginxIngest, publish: Publish, ada: Broadcaster, settings: Settings
) -> None:
    """nginx-rtmp reports the end of the refused publisher under the same name."""
    settings.INGEST_REPLACE = True
    _, first = mint(ada)
    other, second = mint(ada)
    right = publish("ada", first)
    stream = until_live()
    until(lambda: listed() == ["live/ada"], 60, "the server has it")
    publish("ada", second).until_ended(15, "the server refuses it")
    until(
        lambda: StreamKey.objects.filter(
            pk=other.pk, last_used_at__isnull=False, lease_seen_at=None
        ).exists(),
        60,
        "its end was told",
    )
    stream.refresh_from_db()
    assert (stream.ended_at, right.sends) == (None, True)


def test_a_revoked_key_goes_off_the_air_and_stays_off(
    reconciler: None, publish: Publish, ada: Broadcaster
) -> None:
    row, key = mint(ada)
    sends = publish("ada", key)
    until_live()
    until(lambda: listed() == ["live/ada"], 60, "the server has it")
    done = keys.revoke(row, by="ada", now=timezone.now(), server=configured_client())
    assert (done.was_live, done.fault) == (True, "")
    assert (listed(), live()) == ([], None)
    sends.until_ended(10, "FFmpeg is cut off")
    publish("ada", key).until_ended(15, "The key is refused from now on")
    assert LiveStream.objects.count() == 1


def test_a_broadcaster_who_is_disabled_goes_off_the_air(
    reconciler: None, publish: Publish, ada: Broadcaster
) -> None:
    _, key = mint(ada)
    sends = publish("ada", key)
    until_live()
    until(lambda: listed() == ["live/ada"], 60, "the server has it")
    Broadcaster.objects.update(enabled=False)
    sends.until_ended(15, "FFmpeg is cut off")
    until_over()


def test_a_key_for_one_use_survives_a_reconnect(
    ingest: NginxIngest, publish: Publish, ada: Broadcaster
) -> None:
    row, key = mint(ada, single_use=True)
    for _ in range(2):
        sends = publish("ada", key)
        until_live()
        sends.end()
        until_over()
    StreamKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    publish("ada", key).until_ended(15, "FFmpeg is refused after the grace")
    row.refresh_from_db()
    assert row.state(timezone.now()) is StreamKey.State.USED_UP


def test_values_are_measured_and_the_lease_is_renewed(
    reconciler: None, publish: Publish, ada: Broadcaster
) -> None:
    row, key = mint(ada)
    publish("ada", key)

    def measured() -> LiveStream | None:
        streams = live()
        return streams if streams and streams.bitrate and streams.tracks else None

    stream = until(measured, 15, "it is measured")
    assert stream is not None
    assert stream.tracks == ["H264", "AAC"]
    # 200 + 64 kbit/s are sent in real time; FLV adds a little.
    assert stream.bitrate is not None
    assert 150_000 < stream.bitrate < 500_000
    StreamKey.objects.filter(pk=row.pk).update(
        lease_seen_at=timezone.now() - timedelta(seconds=16)
    )
    until(
        lambda: StreamKey.objects.get(pk=row.pk).leased(timezone.now()), 60, "it is held again"
    )


def test_streams_of_lost_callbacks_are_detected(
    reconciler: None, publish: Publish, ada: Broadcaster
) -> None:
    row, key = mint(ada)
    sends = publish("ada", key)
    until_live()
    until(lambda: listed() == ["live/ada"], 60, "the server has it")

    # As if its start had never been reported.
    LiveStream.objects.all().delete()
    assert until_live().key == row

    # As if an end was never reported: a row of a source that the server does not have.
    other = Broadcaster.objects.create(name="Eve", slug="eve")
    past = timezone.now() - timedelta(seconds=5)
    LiveStream.objects.create(
        server="nginx-rtmp",
        path="live/eve",
        source_id="99",
        broadcaster=other,
        started_at=past,
        seen_at=past,
    )
    until(
        lambda: not LiveStream.objects.filter(path="live/eve", ended_at=None).exists(),
        15,
        "its end is found",
    )
    assert sends.sends
    assert live() is not None


def test_a_killed_server_is_unknown_until_it_answers_again(
    reconciler: None, ingest: NginxIngest, publish: Publish, ada: Broadcaster
) -> None:
    row, key = mint(ada)
    publish("ada", key)
    until_live()
    until(lambda: listed() == ["live/ada"], 60, "the server has it")
    ingest.kill()
    until(lambda: LiveStream.objects.filter(unknown=True).exists(), 15, "it is unknown")
    assert live() is not None
    assert "does not answer" in IngestServer.objects.get().fault

    ingest.start()
    until_over(15)
    until(lambda: not IngestServer.objects.get().fault, 15, "the fault is over")
    # The broadcaster is not locked out.
    row.refresh_from_db()
    assert not row.leased(timezone.now())
    publish("ada", key)
    until_live()
    until(lambda: listed() == ["live/ada"], 60, "the server has it")
    steadily(live, 3, "it stays")


def test_the_node_reconciles_also_after_it_was_killed(
    bench: Bench, ingest: NginxIngest, publish: Publish, ada: Broadcaster
) -> None:
    """End to end, with the playout process of its own."""
    bench.extra |= {
        "INGEST_SERVER": "nginx-rtmp",
        "INGEST_TOKEN": TOKEN,
        "INGEST_API_URL": ingest.api_url,
    }
    bench.start()
    _, key = mint(ada)
    publish("ada", key)
    until_live()
    until(lambda: LiveStream.objects.filter(bitrate__gt=0).exists(), 60, "it is measured")
    bench.kill_cluster()
    bench.start()
    LiveStream.objects.all().delete()
    until_live(15)
    ingest.kill()
    until(lambda: LiveStream.objects.filter(unknown=True).exists(), 15, "it is unknown")
    ingest.start()
    until_over(15)
    assert TOKEN not in bench.logs()
    assert key not in bench.logs()
