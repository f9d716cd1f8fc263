"""Uninterrupted playout: real items through a real node to a recording server."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from media_library.house_format import HouseFormat
from streams.control import actions
from streams.models import AsRun, ChannelState
from streams.playout.contract.states import AirState
from streams.tests.bench import clips
from streams.tests.bench.audit import audit, marks
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until

pytestmark = pytest.mark.slow

KEY = "k-on-air"
BITRATE = TEST_FORMAT.video_bitrate + TEST_FORMAT.audio_bitrate


def test_ten_seams_of_prepared_items_leave_no_trace(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    """One session, no odd timestamp in video or audio, no decode error."""
    channel = node.channel(*(node.item(shelf[number]) for number in (1, 2, 3)))
    node.output(channel, server.address, KEY)
    node.air(channel)
    until(lambda: AsRun.objects.count() > 12, 60, "ten seams were on air")
    node.halt(channel)

    assert server.sessions(KEY) == 1
    (recording,) = server.recordings(KEY)
    audit(recording, TEST_FORMAT).assert_unbroken()
    shown = list(marks(recording))
    seams = [
        (before.clip, after.clip, before.frame, after.frame)
        for before, after in pairwise(shown)
        if after.clip != before.clip
    ]
    assert len(seams) >= 10
    # Every item was shown to its last frame, and the next one from its first.
    for before, after, last, first in seams:
        assert after == before % 3 + 1
        assert (last, first) == (shelf[before].frames - 1, 0) or last >= shelf[
            before
        ].frames - 16


def test_items_of_other_encoders_sizes_and_rates_are_copied_in_one_session(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip], tmp_path: Path
) -> None:
    """One session, and a decoder handles every change."""
    sound = ("-c:a", "aac", "-ar", "48000", "-ac", "2")
    x264 = ("-pix_fmt", "yuv420p", "-c:v", "libx264")
    others = [
        clips.raw(
            tmp_path / "baseline.mp4",
            HouseFormat(320, 180, 25),
            5,
            3,
            *(*x264, "-profile:v", "baseline", "-g", "25", *sound),
        ),
        clips.raw(
            tmp_path / "main.mkv",
            HouseFormat(192, 128, 50),
            6,
            3,
            *(*x264, "-profile:v", "main", "-coder", "ac", "-bf", "3", "-g", "100", *sound),
        ),
        clips.raw(
            tmp_path / "high.ts",
            HouseFormat(640, 360, 24),
            7,
            3,
            *(*x264, "-profile:v", "high", "-preset", "slower", "-r", "24000/1001", *sound),
        ),
    ]
    items = [node.store(path, path.name) for path in others]
    channel = node.channel(node.item(shelf[1]), *items)
    node.output(channel, server.address, KEY)
    node.air(channel)
    until(lambda: AsRun.objects.count() > 6, 60, "each item was on air")
    node.halt(channel)

    assert server.sessions(KEY) == 1
    result = audit(server.recordings(KEY)[0], TEST_FORMAT)
    assert result.errors == []
    assert all(step.seconds > 0 for step in result.video.anomalies + result.audio.anomalies)
    assert {(160, 90), (320, 180), (192, 128), (640, 360)} <= set(result.sizes)
    assert set(AsRun.objects.values_list("ending", flat=True)) <= {"whole", "cut", ""}
    assert result.difference < 0.5


@pytest.mark.measured
def test_killing_the_supervisor_in_mid_item_is_invisible(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    """FFmpeg keeps playing, the next supervisor adopts it within 5 s, Stop ends everything."""
    channel = node.channel(node.item(shelf[4]))
    node.output(channel, server.address, KEY)
    node.air(channel)
    before = {name: record.pid for name, record in node.records(channel).items()}
    node.kill_cluster()
    server.until_sent(KEY, 1, BITRATE, 5)
    node.start()
    killed = timezone.now()
    until(
        lambda: ChannelState.objects.filter(measured_at__gt=killed, state="on_air").exists(),
        5,
        "the new cluster reports the item on air",
    )
    # The player may have ended meanwhile.
    after = {name: record.pid for name, record in node.records(channel).items()}
    assert after | {"player": 0} == before | {"player": 0}
    until(lambda: AsRun.objects.count() > 1, 30, "the next item, begun by the last supervisor")
    server.until_sent(KEY, 2, BITRATE, 10)

    boss = get_user_model().objects.create_superuser("boss", password="x")
    page = Client()
    page.force_login(boss)
    answer = page.post(reverse("order", args=[channel.slug, "stop"]), {"confirmed": "1"})
    assert answer.status_code == 302
    until(lambda: not node.pids(), 15, "every process has ended")
    until(lambda: channel.runs.filter(ended_at__isnull=False).exists(), 5, "the run is closed")

    assert server.sessions(KEY) == 1
    audit(server.recordings(KEY)[0], TEST_FORMAT).assert_unbroken()


@pytest.mark.database
def test_two_starts_make_one_run(node: Bench, shelf: dict[int, Clip]) -> None:
    channel = node.channel(node.item(shelf[1]))
    actions.start(channel, by="one", now=timezone.now())
    with pytest.raises(actions.AlreadyOnAirError, match="already on air"):
        actions.start(channel, by="two", now=timezone.now())
    node.until_state(channel, AirState.ON_AIR, 15)
    node.halt(channel)
    assert channel.runs.count() == 1
    with pytest.raises(actions.NotRunningError):
        actions.stop(channel, by="one", now=timezone.now())
