"""The programme with real processes: blocks cut in, lists resume, restarts find their place."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest
from django.utils import timezone

from media_library.models import MediaItem, Playlist
from streams.models import AsRun, Block, Channel
from streams.planning import plans
from streams.playout.ffmpeg import process
from streams.programme.model import BASE, Cursor
from streams.programme.schedule import between, preview
from streams.tests.bench.audit import Marked, audit, marks
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until

pytestmark = pytest.mark.slow

KEY = "k-programme"
BITRATE = TEST_FORMAT.video_bitrate + TEST_FORMAT.audio_bitrate
#: Seconds of an AAC frame. When an item resumes, one may be missing.
AAC = 1024 / 48_000


def listed(name: str, *items: MediaItem) -> Playlist:
    made = Playlist.objects.create(name=name)
    for position, item in enumerate(items):
        made.entries.create(item=item, position=position)
    return made


def aired(channel: Channel) -> list[AsRun]:
    return list(AsRun.objects.filter(run__channel=channel).order_by("started_at"))


def stretches(path: Path) -> list[tuple[int, int, int]]:
    """Shown stretches: clip, first frame, last frame; a new one wherever the frames jump."""
    seen = list(marks(path))
    runs: list[list[Marked]] = []
    for mark in seen:
        if runs and (mark.clip, mark.frame) == (runs[-1][-1].clip, runs[-1][-1].frame + 1):
            runs[-1].append(mark)
        else:
            runs.append([mark])
    return [(run[0].clip, run[0].frame, run[-1].frame) for run in runs]


def test_blocks_cut_in_and_are_filled_and_the_list_resumes(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    one, two, three, long = (node.item(shelf[number]) for number in (1, 2, 3, 4))
    channel = node.channel(long, two)
    channel.filler = listed("Filler", two)
    channel.save(update_fields=["filler"])
    due = timezone.now().replace(microsecond=0) + timedelta(seconds=22)
    spans = {
        "Hard": (due, due + timedelta(seconds=8), listed("Hard", one, three)),
        "Soft": (
            due + timedelta(seconds=9),
            due + timedelta(seconds=30),
            listed("Soft", three),
        ),
    }
    for name, (begins, ends, playlist) in spans.items():
        Block.objects.create(
            channel=channel,
            name=name,
            playlist=playlist,
            starts=begins.time(),
            ends=ends.time(),
            start="hard" if name == "Hard" else "soft",
            fit=name == "Hard",
        )
    hard, soft = (f"block-{block.pk}" for block in channel.blocks.order_by("starts"))
    node.output(channel, server.address, KEY)
    node.air(channel)
    until(lambda: soft in {row.rule for row in aired(channel)}, 60, "the soft block is on")
    until(lambda: aired(channel)[-1].rule == "base", 60, "the soft block is over")
    server.until_sent(KEY, 6, BITRATE, 60)
    node.halt(channel)

    first, *rows = aired(channel)
    programme = plans.programme(channel)
    begun = rows[0].started_at
    # The first turn is selected before the hub runs, so its end is exact to one grid step.
    step = programme.cut
    fed = round(between(first.started_at, begun) / step) * step
    assert (first.title, first.ending, rows[0].rule) == ("Clip 4", "cut", hard)
    assert abs((begun - due).total_seconds()) < float(step) + 1
    place = Cursor(programme.base.entries[0].pk, 0, fed, begun)
    picks = list(preview(programme, begun, rows[-1].started_at, {BASE: place}))
    expected = [
        (
            pick.entry.item.title if pick.entry else "",
            pick.rule,
            float(pick.start),
            "whole" if pick.entry and pick.end == pick.entry.seconds else "cut",
        )
        for pick in picks
    ]
    logged = [(row.title, row.rule, row.in_point, row.ending) for row in rows]
    assert logged[: len(picks) - 1] == expected[:-1]
    assert len(picks) > 5
    for row, pick in zip(rows, picks, strict=False):
        assert abs((row.started_at - pick.begins).total_seconds()) < 0.1
    by_rule = [rule for rule, _ in groupby(row.rule for row in rows)]
    assert by_rule[:4] == [hard, "filler", "base", soft]
    (recording,) = server.recordings(KEY)
    result = audit(recording, TEST_FORMAT)
    assert result.video.anomalies == []
    assert result.errors == []
    assert result.audio.longest < 2 * AAC + 0.001, result.audio.anomalies
    # At most one gap: where the long item resumed.
    assert len(result.audio.anomalies) <= 1
    seen = stretches(recording)
    (began, again) = [stretch for stretch in seen if stretch[0] == 4][:2]
    resumed = next(row for row in rows if row.in_point)
    assert again[1] == round(resumed.in_point * TEST_FORMAT.fps)
    assert 0 <= began[2] + 1 - again[1] <= 2 * TEST_FORMAT.fps
    # To its last frame, which is held to the end of the grid.
    assert again[2] == 25 * TEST_FORMAT.fps - 1


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_a_restart_in_the_middle_of_an_item_resumes_it(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip], way: str
) -> None:
    """By the rule “continue”: within 2 s of the point where viewers were interrupted."""
    channel = node.channel(node.item(shelf[4]), node.item(shelf[2]))
    node.output(channel, server.address, KEY)
    node.air(channel)
    server.until_sent(KEY, 9, BITRATE, 60)
    if way == "killed":
        # As in a power failure: everything at once.
        node.kill_cluster()
        process.terminate_all(list(node.pids()), [], within=0)
        node.start()
    else:
        node.halt(channel)
        node.air(channel)
    until(lambda: server.sessions(KEY) == 2, 60, "it is on air again")
    server.until_sent(KEY, 4, BITRATE, 60)
    node.halt(channel)

    before, after = (stretches(path) for path in server.recordings(KEY))
    cut, resumed = before[-1], after[0]
    assert (cut[0], resumed[0]) == (4, 4)
    assert resumed[1] > 0
    assert abs(cut[2] - resumed[1]) <= 2 * TEST_FORMAT.fps, (cut, resumed)
    (row,) = AsRun.objects.filter(in_point__gt=0)
    (logged,) = AsRun.objects.filter(title="Clip 4", in_point=0)
    assert logged.ending == "cut"
    assert logged.cause
    assert row.started_at > logged.started_at


def test_an_item_whose_player_dies_is_resumed(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    channel = node.channel(node.item(shelf[4]), node.item(shelf[2]))
    node.output(channel, server.address, KEY)
    node.air(channel)
    server.until_sent(KEY, 11, BITRATE, 60)
    process.terminate_all([node.records(channel)[process.PLAYER].pid], [], within=0)
    until(lambda: AsRun.objects.filter(in_point__gt=0).exists(), 60, "it goes on")
    server.until_sent(KEY, 6, BITRATE, 60)
    node.halt(channel)
    (recording,) = server.recordings(KEY)
    cut, resumed = stretches(recording)[:2]
    assert (cut[0], resumed[0]) == (4, 4)
    assert 0 <= cut[2] - resumed[1] <= 2 * TEST_FORMAT.fps, (cut, resumed)
    result = audit(recording, TEST_FORMAT)
    assert result.video.longest <= 2 * float(TEST_FORMAT.frame) + 0.001
    assert result.audio.longest <= 2 * float(TEST_FORMAT.frame) + 0.001
