"""The bucket's server is killed while a channel that plays from it is on air."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from django.utils import timezone

from media_library.house_format import GOP_SECONDS
from media_library.models import MediaItem, Playlist, PreparedCopy
from media_library.storage.read_ahead import POLL_INTERVAL_S, ObjectVersion
from streams.models import AsRun, Channel, Incident
from streams.playout.contract.states import AirState
from streams.playout.player.selection import MIN_RESUME_S
from streams.tests.bench import clips
from streams.tests.bench.bucket import BucketServer
from streams.tests.bench.clips import Clip
from streams.tests.bench.hls import HlsRecorder
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streams.tests.on_air.test_failures import BITRATE, assert_no_gap, recorded_audio

pytestmark = pytest.mark.slow

KEY = "k-bucket"


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[BucketServer]:
    made = BucketServer(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def channel(
    bench: Bench, bucket: BucketServer, shelf: dict[int, Clip], server: RtmpServer
) -> Channel:
    """A channel whose programme is in the bucket: two short items and a long one.

    Clip 3 is its filler.
    """
    items = [stored(bucket, shelf[number]) for number in (1, 2, 4)]
    bench.extra = bucket.settings()
    made = bench.channel(*items)
    filler = Playlist.objects.create(name="Filler")
    filler.entries.create(item=stored(bucket, shelf[3]), position=1)
    Channel.objects.filter(pk=made.pk).update(filler=filler)
    bench.output(made, server.address, KEY)
    bench.start()
    return made


def stored(bucket: BucketServer, clip: Clip) -> MediaItem:
    """An item whose prepared copy is in the bucket."""
    key = f"prepared/{clip.house_format.signature}/{clip.number}.mp4"
    bucket.put(clip.path, key)
    item = MediaItem.objects.create(
        key=f"clips/{clip.number}.mp4",
        title=clip.title,
        status=MediaItem.Status.READY,
        etag="1",
        probed_at=timezone.now(),
    )
    PreparedCopy.objects.create(
        item=item,
        house_format=clip.house_format.signature,
        source_etag="1",
        key=key,
        frames=clip.frames,
        status=PreparedCopy.Status.READY,
        made_at=timezone.now(),
    )
    return item


def cached(bench: Bench) -> set[str]:
    """Names of the complete files in the cache."""
    folder = Path(bench.extra["CACHE_DIR"])
    return {path.name for path in folder.glob("*.mp4")} if folder.is_dir() else set()


def file_of(item_title: str) -> str:
    copy = PreparedCopy.objects.get(item__title=item_title)
    assert copy.made_at is not None
    return ObjectVersion(copy.key, copy.made_at.isoformat()).name


def storage_incident() -> Incident:
    return Incident.objects.get(subject="storage")


def test_with_everything_cached_the_programme_keeps_playing(
    bench: Bench,
    channel: Channel,
    bucket: BucketServer,
    server: RtmpServer,
    tmp_path: Path,
) -> None:
    """No gap, no other item, one session, and an incident that ends with the outage."""
    bench.air(channel)
    until(lambda: len(cached(bench)) == 4, 60, "all is in the cache")
    # An item that started before is read from the bucket to its end, without its copy.
    begun = AsRun.objects.count()
    until(lambda: AsRun.objects.count() >= begun + 2, 60, "what is on air is from the cache")
    with HlsRecorder(bench.hls(channel), tmp_path / "kept") as kept:
        bucket.kill()
        until(
            Incident.objects.filter(subject="storage").exists,
            POLL_INTERVAL_S + 10,
            "an incident",
        )
        aired = AsRun.objects.count()
        until(lambda: AsRun.objects.count() >= aired + 3, 60, "three items more")
        bench.until_state(channel, AirState.DEGRADED, 1)
        bucket.start()
        until(lambda: storage_incident().closed_at, 15, "the incident is closed")
        bench.until_state(channel, AirState.ON_AIR, 5)
        segments = len(kept.segments())
        until(lambda: len(kept.segments()) >= segments + 2, 15, "two segments more")
    bench.halt(channel)

    assert_no_gap(recorded_audio(kept, tmp_path))
    assert server.sessions(KEY) == 1
    assert "can't be reached" in storage_incident().cause
    assert set(AsRun.objects.values_list("kind", "ending")) <= {
        ("item", "whole"),
        ("item", "cut"),  # by the stop
    }
    assert not Incident.objects.exclude(subject="storage").exists()


def test_an_item_cached_while_it_plays_continues_from_the_cache(
    bench: Bench, bucket: BucketServer, server: RtmpServer, tmp_path: Path
) -> None:
    """The first item of the day is read from the bucket: no filler when that is killed."""
    # Longer than all data in socket buffers after the bucket is gone.
    item = stored(bucket, clips.prepared(tmp_path, 5, 100))
    bench.extra = bucket.settings()
    channel = bench.channel(item)
    filler = Playlist.objects.create(name="Filler")
    filler.entries.create(item=stored(bucket, clips.prepared(tmp_path, 3, 2.5)), position=1)
    Channel.objects.filter(pk=channel.pk).update(filler=filler)
    bench.output(channel, server.address, KEY)
    bench.start()
    bench.air(channel)
    with HlsRecorder(bench.hls(channel), tmp_path / "kept") as kept:
        until(lambda: len(cached(bench)) == 2, 60, "all is in the cache")
        server.until_sent(KEY, MIN_RESUME_S, BITRATE, 40)
        bucket.kill()
        until(lambda: AsRun.objects.count() == 2, 90, "it broke off, and something follows")
        segments = len(kept.segments())
        until(lambda: len(kept.segments()) >= segments + 3, 15, "that is in the window")
    assert len(cached(bench)) == 2
    bench.halt(channel)

    assert_no_gap(recorded_audio(kept, tmp_path))
    assert server.sessions(KEY) == 1
    broke, went_on = AsRun.objects.order_by("pk")
    assert (broke.kind, broke.ending) == ("item", "failed")
    assert went_on.kind == "item"
    assert broke.ended_at is not None
    on_air = (broke.ended_at - broke.started_at).total_seconds()
    assert abs(went_on.in_point - on_air) < 2 * GOP_SECONDS


def test_an_uncached_item_is_replaced_by_the_filler_and_returns(
    bench: Bench,
    channel: Channel,
    bucket: BucketServer,
    server: RtmpServer,
    tmp_path: Path,
) -> None:
    """The player reads from the bucket when it is killed, and the rest is not all cached."""
    bench.air(channel)
    with HlsRecorder(bench.hls(channel), tmp_path / "kept") as kept:
        server.until_sent(KEY, 2, BITRATE, 20)
        # The filler is cached but the programme is not, as after a larger programme.
        until(lambda: file_of("Clip 3") in cached(bench), 30, "the filler is in the cache")
        bucket.kill()
        folder = Path(bench.extra["CACHE_DIR"])
        for path in folder.iterdir():
            if path.name != file_of("Clip 3"):
                path.unlink()
        until(AsRun.objects.filter(kind=AsRun.Kind.FILLER).exists, 60, "the filler")
        bench.until_state(channel, AirState.DEGRADED, 5)
        fillers = AsRun.objects.filter(kind=AsRun.Kind.FILLER).count()
        until(
            lambda: AsRun.objects.filter(kind=AsRun.Kind.FILLER).count() >= fillers + 2,
            30,
            "the filler goes round",
        )
        last = AsRun.objects.filter(kind=AsRun.Kind.ITEM).latest("pk")
        bucket.start()
        until(
            lambda: AsRun.objects.filter(kind=AsRun.Kind.ITEM, pk__gt=last.pk).exists(),
            30,
            "the programme is back",
        )
        bench.until_state(channel, AirState.ON_AIR, 10)
        until(lambda: not Incident.objects.filter(closed_at=None), 15, "nothing is wrong")
    bench.halt(channel)

    assert_no_gap(recorded_audio(kept, tmp_path))
    assert server.sessions(KEY) == 1
    assert {"storage", "programme"} == set(Incident.objects.values_list("subject", flat=True))
    assert "must wait" in bench.logs()
    rows = AsRun.objects.order_by("pk")
    for before, after in pairwise(rows):
        assert before.ended_at is not None
        assert abs((after.started_at - before.ended_at).total_seconds()) < 1
