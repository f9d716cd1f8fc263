"""The media folder's disk disappears while the channel is on air, and returns."""

from __future__ import annotations

from pathlib import Path

import pytest

from media_library.storage.mount_watch import FolderWatch, gone
from streams.models import AsRun, ChannelState, Incident
from streams.playout.contract.states import AirState
from streams.tests.bench.clips import Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until

KEY = "k-folder"


def test_a_missing_or_empty_folder_is_detected(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    assert "does not exist: is its disk mounted?" in gone(folder)
    folder.mkdir()
    assert "is empty: is its disk mounted?" in gone(folder)
    (folder / "film.mp4").touch()
    assert gone(folder) == ""
    assert "can't be read" in gone(folder / "film.mp4")


def test_the_folder_is_checked_when_an_item_fails(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path)
    assert watch.fault() == ""
    watch.doubt()
    assert watch.fault() is None
    watch.check()
    assert "is empty" in (watch.fault() or "")


@pytest.mark.slow
def test_the_slate_plays_while_the_disk_is_missing_and_the_page_shows_why(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    channel = node.channel(node.item(shelf[1]), node.item(shelf[2]))
    node.output(channel, server.address, KEY)
    node.air(channel)
    away = node.media.with_name("away")
    node.media.rename(away)
    until(
        lambda: Incident.objects.filter(subject="storage", closed_at=None).exists(),
        60,
        "an incident of the storage",
    )
    until(lambda: AsRun.objects.filter(kind="slate").exists(), 60, "the slate is on")
    until(
        lambda: "does not exist: is its disk mounted?" in ChannelState.objects.get().cause,
        60,
        "the page shows the cause",
    )
    # Longer than the slate itself, which restarts every four seconds.
    began = AsRun.objects.get(kind="slate").started_at
    until(
        lambda: (
            (at := ChannelState.objects.get(channel=channel).measured_at) is not None
            and (at - began).total_seconds() > 10
        ),
        60,
        "some slates were played",
    )
    away.rename(node.media)
    node.until_state(channel, AirState.ON_AIR, 60)
    until(lambda: not Incident.objects.filter(closed_at=None).exists(), 60, "all is over")
    node.halt(channel)
    # One row of the log, however long it lasted.
    slate = AsRun.objects.get(kind="slate")
    assert slate.ended_at is not None
    assert server.sessions(KEY) == 1
