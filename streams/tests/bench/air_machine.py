"""Faults of the machine, the bucket, the disk and the clock: each with a node to itself."""

# Django is set up for a database that is made later, so imports are late.
# ruff: noqa: PLC0415 - see above
from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from streams.tests.bench.air_stage import (
    Drill,
    Expected,
    Outcome,
    Seen,
    Stage,
    clip,
    last_byte,
    lasting,
    level,
    on_air,
    wait,
)
from streams.tests.bench.namespaces import FAKETIME

#: Bytes of the disk that becomes full.
DISK_BYTES: Final = 48_000_000
#: Programs that take the machine's CPUs, before those of the channel.
HOGS: Final = 8


def overloaded(stage: Stage) -> Drill:
    """Others take the CPU from an item that has to be encoded while it plays.

    It shows when the pipe before the hub has run empty: some seconds later.
    """
    from streams.tests.bench import clips

    path = stage.folder / "media" / "heavy.mp4"
    clips.run(
        *("-f", "lavfi", "-i", "testsrc2=s=1920x1080:r=30,noise=c0s=20:c0f=t", "-t", "20"),
        *("-f", "lavfi", "-i", "sine=f=440:r=48000", "-c:v", "mpeg4", "-q:v", "3"),
        *("-c:a", "aac", "-shortest", str(path)),
    )
    stage.node.start()
    item = stage.node.bare_item("heavy.mp4", "Heavy")
    item.video_codec = "mpeg4"
    item.save(update_fields=["video_codec"])
    channel = stage.channel("overloaded", item)
    yield from on_air(stage, channel)
    began = time.time()
    hogs = [
        subprocess.Popen(
            ("nice", "-n", "-15", "sh", "-c", "while :; do :; done"),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _ in range(HOGS)
    ]
    expected = Expected(
        "pace", "degraded", "This machine is too slow", "degraded", began, exact=8
    )
    try:
        seen = yield from lasting(channel, expected, until_s=15)
    finally:
        for hog in hogs:
            os.killpg(hog.pid, signal.SIGKILL)
            hog.wait(10)
    return Outcome(channel.slug, expected, seen)


def bucket_gone(stage: Stage) -> Drill:
    from django.utils import timezone

    from media_library.models import MediaItem, Playlist, PreparedCopy
    from streams.models import Channel
    from streams.tests.bench.bucket import BucketServer

    folder = stage.folder / "bucket"
    folder.mkdir()
    bucket = BucketServer(folder)
    bucket.start()
    stage.stack.callback(bucket.stop)
    items = []
    for number in (1, 2):
        made = clip(stage, number)
        copy = PreparedCopy.objects.get(item=made)
        bucket.put(stage.folder / "media" / copy.key, copy.key)
        PreparedCopy.objects.filter(pk=copy.pk).update(made_at=timezone.now())
        MediaItem.objects.filter(pk=made.pk).update(status=MediaItem.Status.READY)
        items.append(made)
    stage.node.extra |= bucket.settings()
    stage.node.start()
    channel = stage.channel("bucket-gone", items[0])
    filler = Playlist.objects.create(name="Filler")
    filler.entries.create(item=items[1], position=1)
    Channel.objects.filter(pk=channel.pk).update(filler=filler)
    yield from on_air(stage, channel)
    began = time.time()
    bucket.kill()
    expected = Expected("storage", "degraded", "", "healthy", began, exact=70)
    seen = yield from lasting(channel, expected, until_s=10)
    bucket.start()
    expected.ended = None
    return Outcome(channel.slug, expected, seen)


def disk_full(stage: Stage) -> Drill:
    """The disk of the run directory, where segments are written, is full."""
    disk = stage.folder / "small"
    disk.mkdir()
    subprocess.run(
        ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)), check=True
    )
    stage.stack.callback(subprocess.run, ("umount", "-l", str(disk)), check=False)
    stage.node.run_dir = disk
    stage.node.start()
    server = stage.server("disk-full")
    channel = stage.channel("disk-full", clip(stage, 1), address=server.address)
    yield from on_air(stage, channel)
    with suppress(OSError), (disk / "full").open("wb") as file:
        while True:
            file.write(bytes(65536))
            file.flush()
    # What was written before is still sent.
    began = yield from last_byte(server, "k-disk-full")
    expected = Expected("", "lost", "No space left on device", "down", began)
    seen = yield from lasting(channel, expected, until_s=20)
    (disk / "full").unlink()
    yield from wait(lambda: level(channel) == "healthy", 90)
    return Outcome(channel.slug, expected, seen)


def clock_jumped(stage: Stage) -> Drill:
    """The wall clock jumps by five minutes, and back: nothing happens, nothing is reported."""
    from django.utils import timezone

    from streams.models import ChannelState

    clock = stage.folder / "clock"
    clock.write_text("+0s\n")
    # The slate is made before: with libfaketime its file can't be dated.
    stage.node.start()
    channel = stage.channel("clock-jumped", clip(stage, 1), clip(stage, 2))
    yield from on_air(stage, channel)
    stage.node.kill_cluster()
    stage.node.extra |= {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    began = timezone.now()
    stage.node.start()
    states = ChannelState.objects.filter(channel=channel, inspected_at__gt=began)
    yield from wait(states.exists)
    seen = Seen()
    for seconds in (300, 0):
        draft = clock.with_suffix(".part")
        draft.write_text(f"{seconds:+d}s\n")
        draft.replace(clock)
        # Times of files do not jump with libfaketime's clock, as they would with the machine's:
        # after half a minute the segments would be taken for old ones.
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            # Until its rows are written again it is unknown: rightly so.
            if time.monotonic() > ends - 22:
                seen.levels.add(level(channel, seconds))
            yield
    seen.causes = [row.cause for row in channel.incidents.all()]
    return Outcome(channel.slug, Expected("", "", "", "healthy", 0), seen)


MACHINE: Final[dict[str, Callable[[Stage], Drill]]] = {
    "overloaded": overloaded,
    "bucket-gone": bucket_gone,
    "disk-full": disk_full,
    "clock-jumped": clock_jumped,
}


def folders(root: Path, name: str) -> tuple[Path, Path]:
    """A run directory and a folder of logs for a node of its own."""
    made = root / f"node-{name}"
    (made / "run").mkdir(parents=True)
    return made / "run", made
