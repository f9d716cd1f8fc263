"""Findings of the preflight."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from pytest_django import Settings

from media_library.models import MediaItem
from streams.models import Channel
from streams.monitoring.preflight import findings
from streams.tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    for name in ("DATA_DIR", "RUN_DIR", "MEDIA_ROOT"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        setattr(settings, name, folder)
    # An empty folder would be taken for the mount point of an unmounted disk.
    (tmp_path / "media_root" / "a.mp4").write_bytes(b"x")


def sentences(channel: Channel) -> list[str]:
    return [finding.sentence for finding in findings(channel)]


def test_a_channel_with_playlist_and_preview_has_no_findings() -> None:
    assert findings(rows.channel()) == []


def test_no_playlist() -> None:
    assert sentences(rows.channel(playlist=None)) == [
        "Demo has no playlist. Choose one in its settings."
    ]


def test_an_empty_playlist() -> None:
    channel = rows.channel()
    MediaItem.objects.all().delete()
    assert sentences(channel) == ["The playlist “Loop of demo” is empty. Add items to it."]


def test_an_unreachable_storage_prevents_a_start_without_cached_files(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STORAGE_PROVIDER, settings.CACHE_DIR = "cloudflare", tmp_path / "cache"
    monkeypatch.setattr("media_library.storage.unreachable", lambda: "It can't be reached.")
    channel = rows.channel()
    (finding,) = findings(channel)
    assert (finding.check, finding.stops_the_start) == ("storage", True)
    settings.CACHE_DIR.mkdir()
    (settings.CACHE_DIR / "a.mp4.0123.part").write_bytes(b"half")
    (finding,) = findings(channel)
    assert finding.stops_the_start
    # A channel stopped in an outage can be started again: it plays cached files.
    (settings.CACHE_DIR / "a.mp4").write_bytes(b"whole")
    (finding,) = findings(channel)
    assert not finding.stops_the_start


def test_only_a_playlist_without_playable_items_prevents_the_start() -> None:
    channel = rows.channel()
    MediaItem.objects.filter(title="First").update(status="fault", fault="Cut short.")
    (some,) = findings(channel)
    assert not some.stops_the_start
    assert some.sentence.startswith("1 of 2 entries")
    MediaItem.objects.update(status="fault", fault="Cut short.")
    (all_of_them,) = findings(channel)
    assert all_of_them.stops_the_start


def test_a_channel_of_blocks_needs_no_playlist() -> None:
    channel = rows.channel(playlist=None)
    other = rows.playlist("Third", name="Other")
    block = channel.blocks.create(name="B", playlist=other, starts="08:00", ends="09:00")
    (finding,) = findings(channel)
    assert not finding.stops_the_start
    block.enabled = False
    block.save(update_fields=["enabled"])
    (finding,) = findings(channel)
    assert finding.stops_the_start


def test_a_channel_without_destination() -> None:
    channel = rows.channel(preview=False)
    rows.output(channel, enabled=False)
    assert sentences(channel) == [
        "Demo has no destination. Enable an output or the preview in its settings."
    ]


def test_an_output_without_its_key() -> None:
    channel = rows.channel()
    rows.output(channel, "Main", key="")
    rows.output(channel, "Server", key="", platform="rtmp", url="rtmp://127.0.0.1/live")
    (sentence,) = sentences(channel)
    assert sentence.startswith("Output “Main” has no stream key")


def test_an_address_that_cannot_be_used() -> None:
    channel = rows.channel()
    rows.output(channel, "Server", platform="rtmp", url="http://127.0.0.1/live")
    (sentence,) = sentences(channel)
    assert sentence.startswith("Output “Server”: The address must begin with rtmp://")


def test_ffmpeg_missing_names_the_command(settings: Settings) -> None:
    settings.FFMPEG_PATH = "/nowhere/ffmpeg"
    (sentence,) = sentences(rows.channel())
    assert "Run apt install ffmpeg" in sentence


def test_an_unreachable_storage(settings: Settings) -> None:
    shutil.rmtree(settings.MEDIA_ROOT)
    assert [finding.check for finding in findings(rows.channel())] == ["storage"]


def test_a_run_directory_that_cannot_be_created(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings.RUN_DIR = tmp_path / "file" / "run"
    (sentence,) = sentences(rows.channel())
    assert "Set RUN_DIR to a folder of your own" in sentence


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1_000_000))
    assert "nearly full (1 MB free)" in sentences(rows.channel())[0]
