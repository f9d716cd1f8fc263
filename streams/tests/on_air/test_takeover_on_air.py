"""Live takeovers with real publishers, and a real nginx-rtmp on both sides."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from media_library.conform.slate import Slate, slate
from streams.control import actions
from streams.ingest import keys
from streams.models import (
    AsRun,
    Broadcaster,
    Channel,
    ChannelState,
    Incident,
    LiveStream,
    Takeover,
    TakeoverRight,
)
from streams.playout.takeover.decision import DWELL_S, ENDED
from streams.tests.bench import clips
from streams.tests.bench.audit import Marked, audit, marks
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.ingest import NginxIngest, Publisher
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.site import Site
from streams.tests.bench.waiting import until
from streams.tests.bench.watch import Watch
from streamsite.security.secret import Secret
from streamsite.tests.figures import Figures
from streamsite.tests.once import Once

pytestmark = pytest.mark.slow

KEY = "k-takeover"
TOKEN = "shared-token-of-the-test"
#: The mark in the frames of the live feed.
OWNER = 9

#: Maximum seconds from going live to the feed's video at the destination.
WITHIN = 10
#: Seconds of an AAC frame.
AAC = 1024 / 48_000
#: Seconds. FLV counts in whole milliseconds.
ROUNDING = 0.001

GoLive = Callable[[], Publisher]


@pytest.fixture(scope="session")
def show(once: Once, ffmpeg: str) -> Path:
    """The live feed: another frame size, another audio sample rate."""
    options = (
        *("-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-sc_threshold", "0"),
        *("-b:v", "800k", "-c:a", "aac", "-ar", "44100", "-f", "flv"),
    )
    folder = once(
        "show",
        lambda folder: clips.raw(folder / "show.flv", TEST_FORMAT, OWNER, 60, *options),
    )
    return folder / "show.flv"


@pytest.fixture
def site(bench: Bench) -> Iterator[Site]:
    """The web server; it is started together with the rest."""
    made = Site(bench)
    yield made
    made.kill()


@pytest.fixture
def ingest(
    site: Site, bench: Bench, settings: Settings, tmp_path: Path, nginx_rtmp: Path
) -> Iterator[NginxIngest]:
    made = NginxIngest(tmp_path / "ingest", nginx_rtmp, site.url, TOKEN)
    values = {
        "INGEST_SERVER": "nginx-rtmp",
        "INGEST_TOKEN": TOKEN,
        "INGEST_API_URL": made.api_url,
        "INGEST_RTMP_URL": made.address,
    }
    bench.extra |= values
    for name, value in values.items():
        setattr(settings, name, Secret(value) if name == "INGEST_TOKEN" else value)
    made.start()
    site.start()
    bench.start()
    yield made
    made.stop()


@pytest.fixture
def ada(transactional_db: None) -> Broadcaster:
    return Broadcaster.objects.create(name="Ada", slug="ada")


@pytest.fixture
def go_live(ingest: NginxIngest, ada: Broadcaster, show: Path) -> Iterator[GoLive]:
    made: list[Publisher] = []
    _, key = keys.mint(ada, by="test", now=timezone.now())

    def go_live() -> Publisher:
        address = f"{ingest.address}/live/ada?token={key.reveal()}"
        made.append(Publisher(address, show))
        return made[-1]

    yield go_live
    for one in made:
        one.end()


@pytest.fixture
def channel(
    ingest: NginxIngest,
    bench: Bench,
    server: RtmpServer,
    shelf: dict[int, Clip],
    ada: Broadcaster,
) -> Channel:
    made = bench.channel(bench.item(shelf[4]), bench.item(shelf[2]))
    Channel.objects.filter(pk=made.pk).update(live_hold=5)
    TakeoverRight.objects.create(channel=made, broadcaster=ada)
    for which in Slate:
        # Otherwise they would be made in the seconds in which they must be shown.
        slate(TEST_FORMAT, which)
    bench.output(made, server.address, KEY)
    bench.air(made, 40)
    return made


def on_air(kind: str, title: str = "") -> bool:
    rows = AsRun.objects.filter(ended_at=None, kind=kind)
    return rows.filter(title=title).exists() if title else rows.exists()


def until_on_air(kind: str, within: float, title: str = "") -> None:
    until(lambda: on_air(kind, title), within, f"{title or kind} is on air")


def conformers(bench: Bench, channel: Channel) -> list[str]:
    return [name for name in bench.records(channel) if name.startswith("conformer")]


def assert_no_gap(recording: Path) -> None:
    """Assert that no video or audio frame is missing, and that everything decodes."""
    result = audit(recording, TEST_FORMAT)
    assert result.errors == []
    assert result.video.longest < 2 * TEST_FORMAT.frame + ROUNDING, result.video.anomalies
    assert result.audio.longest < AAC + TEST_FORMAT.frame + ROUNDING, result.audio.anomalies


def stretches(recording: Path) -> list[tuple[int, list[Marked]]]:
    """Shown stretches in order: the clip's mark, and its frames."""
    return [(clip, list(seen)) for clip, seen in groupby(marks(recording), lambda m: m.clip)]


def test_a_takeover_replaces_the_programme_which_then_resumes(
    bench: Bench, server: RtmpServer, channel: Channel, go_live: GoLive
) -> None:
    with Watch(server, KEY) as watch:
        watch.until_more(3)
        owner = go_live()
        until_on_air("live", 20)
        watch.until_more(6)
        owner.kill()
        until_on_air("slate", 20, "Technical difficulties")
        assert Incident.objects.filter(subject="live", closed_at=None).exists()
        until_on_air("item", 20)
        watch.until_more(6)
    bench.halt(channel)

    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    assert_no_gap(recording)
    before, live, slate, after = stretches(recording)
    assert [before[0], live[0], slate[0], after[0]] == [4, OWNER, 0, 4]
    # The feed's frames in order: none is missing, none comes twice.
    frames = [mark.frame for mark in live[1]]
    assert frames == list(range(frames[0], frames[0] + len(frames)))
    # At the last keyframe that was shown.
    last, first = before[1][-1].frame, after[1][0].frame
    assert 0 <= last + 1 - first <= TEST_FORMAT.gop
    row = AsRun.objects.get(in_point__gt=0)
    assert row.in_point * TEST_FORMAT.fps == first

    takeover = Takeover.objects.get()
    assert (takeover.broadcaster, takeover.channel) == (Broadcaster.objects.get(), channel)
    assert takeover.on_air_at is not None
    assert takeover.ended_at is not None
    assert takeover.requested_at < takeover.on_air_at < takeover.ended_at
    assert "did not come back" in takeover.cause
    assert not Incident.objects.filter(subject="live", closed_at=None).exists()


def test_the_programme_returns_at_once_when_the_stream_ends(
    bench: Bench, server: RtmpServer, channel: Channel, go_live: GoLive
) -> None:
    """As with Stop in OBS. The recorded seconds are those of the destination."""
    with Watch(server, KEY) as watch:
        watch.until_more(3)
        owner = go_live()
        until_on_air("live", 20)
        watch.until_more(5)
        owner.end()
        until_on_air("item", 20)
        watch.until_more(6)
    bench.halt(channel)
    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    assert_no_gap(recording)
    before, live, after = stretches(recording)
    assert [before[0], live[0], after[0]] == [4, OWNER, 4]
    assert not Incident.objects.filter(subject="live").exists()
    takeover = Takeover.objects.get()
    assert takeover.cause == ENDED
    assert takeover.on_air_at is not None
    assert takeover.ended_at is not None
    lasted = (takeover.ended_at - takeover.on_air_at).total_seconds()
    assert abs(lasted - len(live[1]) / TEST_FORMAT.fps) < 1
    # It began when the destination received it, not when the hub did.
    since = time.time() - time.monotonic()
    assert abs(takeover.on_air_at.timestamp() - since - watch.arrived(live[1][0].at)) < 2.5


def test_the_feed_on_air_is_chosen_by_rank_and_by_hand(
    bench: Bench,
    server: RtmpServer,
    channel: Channel,
    ingest: NginxIngest,
    go_live: GoLive,
    show: Path,
) -> None:
    eve = Broadcaster.objects.create(name="Eve", slug="eve")
    TakeoverRight.objects.create(channel=channel, broadcaster=eve, rank=2)
    _, key = keys.mint(eve, by="test", now=timezone.now())
    second = Publisher(f"{ingest.address}/live/eve?token={key.reveal()}", show)
    try:
        until_on_air("live", 20, "Live: Eve")
        go_live()
        until_on_air("live", 20, "Live: Ada")
        actions.take(channel, by="test", now=timezone.now(), broadcaster=eve)
        until_on_air("live", 20, "Live: Eve")
        actions.return_to_programme(channel, by="test", now=timezone.now())
        until_on_air("item", 20)
        until(lambda: not conformers(bench, channel), 10, "nobody is read any more")
        actions.release(channel, by="test", now=timezone.now())
        until_on_air("live", 20, "Live: Ada")
    finally:
        second.end()
    bench.halt(channel)
    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    assert_no_gap(recording)
    assert Takeover.objects.filter(ended_at=None).count() == 0


def test_a_feed_in_the_house_format_is_copied(
    bench: Bench,
    server: RtmpServer,
    channel: Channel,
    ingest: NginxIngest,
    ada: Broadcaster,
    tmp_path: Path,
) -> None:
    ready = clips.raw(
        tmp_path / "ready.flv",
        TEST_FORMAT,
        OWNER,
        60,
        *("-c:v", "libx264", "-profile:v", "high", "-bf", "0", "-g", "30", "-b:v", "800k"),
        *("-sc_threshold", "0", "-c:a", "aac", "-ac", "2", "-ar", "48000", "-f", "flv"),
    )
    _, key = keys.mint(ada, by="test", now=timezone.now())
    with Watch(server, KEY) as watch:
        owner = Publisher(f"{ingest.address}/live/ada?token={key.reveal()}", ready)
        try:
            until_on_air("live", 20)
            until(lambda: len(conformers(bench, channel)) == 1, 10, "one of two is left")
            assert conformers(bench, channel)[0].endswith("-copy")
            watch.until_more(4)
        finally:
            owner.end()
        until_on_air("item", 20)
        watch.until_more(4)
    bench.halt(channel)
    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    assert_no_gap(recording)
    frames = [
        mark.frame for clip, seen in stretches(recording) if clip == OWNER for mark in seen
    ]
    assert frames == list(range(frames[0], frames[0] + len(frames)))


def test_a_feed_without_video_is_announced_and_given_up(
    bench: Bench,
    server: RtmpServer,
    channel: Channel,
    ingest: NginxIngest,
    ada: Broadcaster,
    tmp_path: Path,
) -> None:
    sound = tmp_path / "sound.flv"
    clips.run(*("-f", "lavfi", "-i", clips.tone(3), "-t", "60", "-c:a", "aac", str(sound)))
    _, key = keys.mint(ada, by="test", now=timezone.now())
    owner = Publisher(f"{ingest.address}/live/ada?token={key.reveal()}", sound)
    try:
        until_on_air("slate", 20, "Going live soon")
        until_on_air("item", 50)
    finally:
        owner.end()
    takeover = Takeover.objects.get()
    assert takeover.on_air_at is None
    assert "no video" in takeover.cause
    bench.halt(channel)
    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    assert_no_gap(recording)


def test_the_state_recovers_after_any_kill_during_a_takeover(
    bench: Bench,
    server: RtmpServer,
    channel: Channel,
    site: Site,
    ingest: NginxIngest,
    go_live: GoLive,
) -> None:
    """Web server, worker and ingest server in turn: correct within 15 s each."""
    owner = go_live()
    until_on_air("live", 20)

    site.kill()
    owner.end()
    until(lambda: not LiveStream.objects.filter(ended_at=None).exists(), 15, "it has ended")
    until_on_air("item", 15)
    site.start()

    owner = go_live()
    until_on_air("live", 20)
    began = AsRun.objects.get(ended_at=None).started_at
    bench.kill_cluster()
    bench.start()
    again = timezone.now()
    until(lambda: measured_since(channel, again), 15, "the next supervisor is there")
    # It keeps playing as if nothing had happened.
    assert AsRun.objects.get(ended_at=None).started_at == began
    assert state(channel) == ("on_air", "live")
    assert Takeover.objects.filter(ended_at=None).count() == 1

    # The worker is killed, and the feed ends before the next worker starts.
    bench.kill_cluster()
    owner.end()
    bench.start()
    until_on_air("item", 15)
    assert Takeover.objects.filter(ended_at=None).count() == 0

    go_live()
    until_on_air("live", 20)
    ingest.kill()
    until(lambda: state(channel)[1] in {"slate", "item"}, 15, "the feed is missed")
    until(lambda: LiveStream.objects.filter(unknown=True).exists(), 15, "nothing is known")
    until_on_air("item", 15)
    ingest.start()
    until(lambda: not LiveStream.objects.filter(ended_at=None).exists(), 15, "it is known")
    go_live()
    until_on_air("live", 20)
    bench.halt(channel)
    assert server.sessions(KEY) == 1
    assert TOKEN not in bench.logs()


def test_a_frozen_feed_loses_nothing_before_its_successor(
    bench: Bench, server: RtmpServer, channel: Channel, go_live: GoLive
) -> None:
    """The pipe runs empty before the freeze is detected; the feed's end is still exact."""
    with Watch(server, KEY) as watch:
        owner = go_live()
        until_on_air("live", 20)
        watch.until_more(3)
        owner.freeze()
        until_on_air("slate", 20, "Technical difficulties")
        until_on_air("item", 20)
        watch.until_more(3)
    bench.halt(channel)
    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    assert_no_gap(recording)


def state(channel: Channel) -> tuple[str, str]:
    row = ChannelState.objects.get(pk=channel.pk)
    return row.state, row.now_kind


def measured_since(channel: Channel, moment: datetime) -> bool:
    return ChannelState.objects.filter(pk=channel.pk, measured_at__gt=moment).exists()


@pytest.mark.measured
def test_consecutive_takeovers(
    bench: Bench,
    server: RtmpServer,
    channel: Channel,
    go_live: GoLive,
    figures: Figures,
) -> None:
    """At the destination within 10 s of going live in 19 of 20; one session, no gap."""
    count = 20 if figures.exact else 3
    Channel.objects.filter(pk=channel.pk).update(live_hold=0)
    requested = []
    with Watch(server, KEY) as watch:
        watch.until_more(3)
        for _ in range(count):
            owner = go_live()
            until(lambda: LiveStream.objects.filter(ended_at=None).exists(), 10, "it is live")
            requested.append(time.monotonic())
            until_on_air("live", 20)
            watch.until_more(3)
            owner.end()
            until_on_air("item", 20)
            # The programme must be on air for this long before the next takeover.
            watch.until_more(DWELL_S)
    bench.halt(channel)
    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    assert_no_gap(recording)
    shown = [seen[0].at for clip, seen in stretches(recording) if clip == OWNER]
    assert len(shown) == count
    delays = sorted(
        watch.arrived(at) - since for at, since in zip(shown, requested, strict=True)
    )
    figures.record("seconds to the owner's picture", [round(delay, 2) for delay in delays])
    assert delays[round(count * 0.95) - 1] <= figures.within(WITHIN), delays
    rows = Takeover.objects.filter(on_air_at__isnull=False, ended_at__isnull=False)
    assert rows.count() == count
