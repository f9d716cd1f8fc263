"""Deliberate failures of servers, players, sources, files and hubs."""

from __future__ import annotations

import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from django.utils import timezone

from streams.models import AsRun, Channel, Incident
from streams.playout.contract.states import AirState, OutputAir
from streams.playout.ffmpeg.hls_window import Window
from streams.tests.bench import clips
from streams.tests.bench.audit import TS_ROUNDING, Audit, audit, marks
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.hls import HlsRecorder
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.tests.figures import Figures

pytestmark = pytest.mark.slow

KEY = "k-failures"
BITRATE = TEST_FORMAT.video_bitrate + TEST_FORMAT.audio_bitrate
#: An encoder other than the house format's, whose codecs can be copied.
STRANGE = (
    *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "60", "-b:v", "2M"),
    *("-c:a", "aac", "-ar", "48000", "-ac", "2"),
)
#: Maximum seconds of a gap: one frame more than normal.
ONE_FRAME = 2 * float(TEST_FORMAT.frame) + 0.001


def recorded_audio(kept: HlsRecorder, folder: Path) -> Audit:
    return audit(kept.joined(folder / "joined.ts"), TEST_FORMAT, rounding=TS_ROUNDING)


def assert_no_gap(result: Audit) -> None:
    """Assert no gap above one frame in video or audio."""
    assert result.video.packets > 0
    assert result.video.longest <= ONE_FRAME, result.video.anomalies
    assert result.audio.longest <= ONE_FRAME, result.audio.anomalies
    assert all(step.seconds > 0 for step in result.video.anomalies + result.audio.anomalies)


@pytest.mark.measured
def test_a_server_that_is_down_for_five_seconds_gets_the_channel_back(
    node: Bench,
    server: RtmpServer,
    shelf: dict[int, Clip],
    tmp_path: Path,
    figures: Figures,
) -> None:
    """Back within 3 s after the server returns; no gap in HLS; an incident as long."""
    channel = node.channel(node.item(shelf[1]), node.item(shelf[2]))
    output = node.output(channel, server.address, KEY)
    node.air(channel)
    with HlsRecorder(node.hls(channel), tmp_path / "kept") as kept:
        server.until_sent(KEY, 6, BITRATE, 15)
        lost = timezone.now()
        server.stop()
        node.until_output(output, OutputAir.RETRYING, 5)
        time.sleep(
            max(0.0, 5 - (timezone.now() - lost).total_seconds())
        )  # the 5 s of the issue
        server.start()
        back = time.monotonic()
        until(lambda: server.sessions(KEY) == 2, 3, "the pusher publishes again")
        until(lambda: len(server.recordings(KEY)) == 2, 3, "the server gets data again")
        regained = timezone.now()
        assert time.monotonic() - back < figures.within(3)
        node.until_output(output, OutputAir.ON_AIR, 5)
        server.until_sent(KEY, 4, BITRATE, 15)
        until(lambda: not Incident.objects.filter(closed_at=None), 10, "the incident is closed")
    node.halt(channel)

    incident = Incident.objects.get()
    assert incident.output == output
    assert incident.severity == Incident.Severity.LOST
    assert "server" in incident.cause
    assert incident.closed_at is not None
    assert abs((incident.opened_at - lost).total_seconds()) < figures.within(1.5)
    assert abs((incident.closed_at - regained).total_seconds()) < figures.within(1.5)
    assert_no_gap(recorded_audio(kept, tmp_path))
    audit(server.recordings(KEY)[1], TEST_FORMAT).assert_unbroken()


def test_a_killed_player_is_followed_by_the_next_item_without_a_gap(
    node: Bench, shelf: dict[int, Clip], tmp_path: Path
) -> None:
    """Detected within a second, no gap in HLS, the next item on air within a second."""
    channel = node.channel(node.item(shelf[4]), node.item(shelf[2]))
    node.air(channel)
    with HlsRecorder(node.hls(channel), tmp_path / "kept") as kept:
        until(lambda: len(kept.segments()) >= 2, 15, "two segments")
        player = node.records(channel)["player"].pid
        os.kill(player, signal.SIGKILL)
        noticed = node.hls(channel).parent / "player.json"
        until(
            lambda: not noticed.exists() or str(player) not in noticed.read_text(),
            1,
            "the supervisor has noticed",
        )
        until(lambda: AsRun.objects.filter(title=shelf[2].title).exists(), 10, "the next item")
        segments = len(kept.segments())
        until(lambda: len(kept.segments()) >= segments + 3, 15, "three segments more")
    node.halt(channel)
    assert_no_gap(recorded_audio(kept, tmp_path))
    assert_as_run_has_no_hole(channel)
    assert AsRun.objects.order_by("pk").first().ending == AsRun.Ending.FAILED  # type: ignore[union-attr]  # there is one
    assert "was killed" in Incident.objects.get(subject="programme").cause


def test_a_missing_file_is_skipped_with_an_incident_and_without_a_gap(
    node: Bench, shelf: dict[int, Clip], tmp_path: Path
) -> None:
    missing = node.bare_item("nowhere.mp4", "Lost reel")
    channel = node.channel(node.item(shelf[1]), missing, node.item(shelf[2]))
    node.air(channel)
    with HlsRecorder(node.hls(channel), tmp_path / "kept") as kept:
        until(lambda: AsRun.objects.count() > 4, 30, "two rounds")
        until(lambda: len(kept.segments()) >= 5, 20, "five segments")
    node.halt(channel)
    assert_no_gap(recorded_audio(kept, tmp_path))
    played = list(AsRun.objects.order_by("pk").values_list("title", flat=True))
    assert set(played) == {shelf[1].title, shelf[2].title}
    cause = Incident.objects.filter(subject="programme").earliest("pk").cause
    assert cause == "Lost reel was skipped: the file is missing."


def test_when_nothing_can_be_played_the_slate_is_on(
    node: Bench, shelf: dict[int, Clip], tmp_path: Path
) -> None:
    """The slate plays within a second after the last item, and the items when they return."""
    item = node.item(shelf[1])
    channel = node.channel(item)
    node.air(channel)
    file = next((node.media / "prepared").rglob("1.mp4"))
    with HlsRecorder(node.hls(channel), tmp_path / "kept") as kept:
        file.rename(tmp_path / "away.mp4")
        until(lambda: AsRun.objects.filter(kind=AsRun.Kind.SLATE).exists(), 20, "the slate")
        node.until_state(channel, AirState.DEGRADED, 5)
        slate_since = AsRun.objects.filter(kind=AsRun.Kind.SLATE).count()
        assert slate_since
        (tmp_path / "away.mp4").rename(file)
        newest = AsRun.objects.latest("pk").pk
        until(
            lambda: AsRun.objects.filter(pk__gt=newest, kind=AsRun.Kind.ITEM).exists(),
            20,
            "the item is back",
        )
        node.until_state(channel, AirState.ON_AIR, 5)
    node.halt(channel)
    assert_no_gap(recorded_audio(kept, tmp_path))
    assert_as_run_has_no_hole(channel)


def assert_as_run_has_no_hole(channel: Channel) -> None:
    """Each item came on air within a second after the previous one ended."""
    rows = AsRun.objects.filter(run__channel=channel).order_by("pk")
    for before, after in pairwise(rows):
        assert before.ended_at is not None
        assert abs((after.started_at - before.ended_at).total_seconds()) < 1


def test_a_stalled_source_is_replaced_by_the_slate_without_a_gap(
    node: Bench, shelf: dict[int, Clip], tmp_path: Path
) -> None:
    """A pipe instead of a file: it delivers six seconds and then nothing, forever."""
    source = clips.raw(tmp_path / "stalls.ts", TEST_FORMAT, 8, 6, *STRANGE)
    trap = node.media / "stalls.ts"
    os.mkfifo(trap)
    stalling = node.bare_item("stalls.ts", "Stalling reel")
    channel = node.channel(node.item(shelf[1]), stalling, node.item(shelf[2]))
    over = threading.Event()

    def give_and_hold() -> None:
        with trap.open("wb") as pipe:
            try:
                pipe.write(source.read_bytes())
                pipe.flush()
            except BrokenPipeError:
                return
            over.wait()

    giver = threading.Thread(target=give_and_hold)
    giver.start()
    try:
        node.air(channel)
        with HlsRecorder(node.hls(channel), tmp_path / "kept") as kept:
            until(lambda: AsRun.objects.filter(title="Stalling reel").exists(), 20, "the reel")
            until(
                lambda: AsRun.objects.filter(title="Stalling reel", ending="failed").exists(),
                20,
                "the reel is cut",
            )
            segments = len(kept.segments())
            until(lambda: len(kept.segments()) >= segments + 3, 20, "three segments more")
        node.halt(channel)
    finally:
        over.set()
        # Opening a reader releases a writer that still waits for one.
        os.close(os.open(trap, os.O_RDONLY | os.O_NONBLOCK))
        giver.join(5)
    assert_no_gap(recorded_audio(kept, tmp_path))
    assert_as_run_has_no_hole(channel)
    assert (
        "delivers no data" in Incident.objects.filter(subject="programme").earliest("pk").cause
    )


@pytest.mark.measured
def test_a_killed_hub_costs_one_hole_and_no_session(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    """The RTMP session survives with one hole of at most 2.5 s."""
    channel = node.channel(node.item(shelf[4]))
    node.output(channel, server.address, KEY)
    node.air(channel)
    server.until_sent(KEY, 3, BITRATE, 10)
    hub = node.records(channel)["hub"].pid
    # Early in a segment: if the next segment's first frames were read and this one was not yet
    # written, both would be lost.
    window = Window(node.hls(channel))
    window.poll()
    until(window.poll, 10, "a segment is written")
    os.kill(hub, signal.SIGKILL)
    until(
        lambda: (new := node.records(channel).get("hub")) and new.pid != hub, 1, "another hub"
    )
    server.until_sent(KEY, 6, BITRATE, 20)
    node.halt(channel)

    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    shown = list(marks(recording))
    holes = [
        (after.frame - before.frame - 1) * float(TEST_FORMAT.frame)
        for before, after in pairwise(shown)
        if after.clip == before.clip and after.frame != before.frame + 1
    ]
    # None if the hub died just after it finished a segment.
    assert len(holes) <= 1, holes
    assert all(0 < hole <= 2.5 for hole in holes), holes
    result = audit(recording, TEST_FORMAT)
    assert result.errors == []
    assert max(result.video.longest, result.audio.longest) <= 2.5
    assert result.difference < 0.1
    assert Incident.objects.get(subject="hub").closed_at is not None
