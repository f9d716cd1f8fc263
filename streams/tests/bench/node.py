"""A real node: the product's own cluster in processes of its own, on the test's database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from media_library.ffmpeg.probe import probe
from media_library.location import LocalFile
from media_library.models import MediaItem, Playlist, PreparedCopy
from streams.control import actions
from streams.models import Channel, ChannelState, Node, Output, OutputState
from streams.outputs.platforms import Platform
from streams.playout.contract.states import AirState, OutputAir
from streams.playout.ffmpeg import process
from streams.playout.ffmpeg.process import Record
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret
from streamsite.tests.database import database_url

MANAGE = Path(settings.BASE_DIR) / "manage.py"


@dataclass
class Bench:
    """Starts and kills the node's clusters, and builds channels for them."""

    run_dir: Path
    media: Path
    folder: Path
    cluster: subprocess.Popen[bytes] | None = None
    #: Additional settings of the cluster.
    extra: dict[str, str] = field(default_factory=dict)
    _starts: int = 0

    # ---- the cluster

    def environment(self) -> dict[str, str]:
        """The environment of its processes: the test's own folders and database."""
        usual = {
            "DATABASE_URL": database_url(),
            "RUN_DIR": str(self.run_dir),
            "MEDIA_FOLDER": str(self.media),
            "LOG_FORMAT": "json",
        }
        return os.environ | usual | self.extra

    def start(self) -> None:
        """Start the playout cluster and wait until its supervisor runs."""
        began = timezone.now()
        self._starts += 1
        log = self.log_path(self._starts)
        with log.open("wb") as out:
            self.cluster = subprocess.Popen(
                (sys.executable, MANAGE, "run_cluster", "playout"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                # A process group of its own, as under systemd or `serve`.
                start_new_session=True,
            )
        until(
            lambda: Node.objects.filter(seen_at__gt=began, started_at__gt=began).exists(),
            30,
            f"the supervisor is at work (its log: {log})",
        )

    def log_path(self, number: int) -> Path:
        return self.folder / f"cluster-{number}.log"

    def logs(self) -> str:
        """Everything that the clusters wrote."""
        return "".join(
            self.log_path(number).read_text() for number in range(1, self._starts + 1)
        )

    def kill_cluster(self) -> None:
        """Send SIGKILL to the whole cluster at once, like an operator's mistake."""
        assert self.cluster is not None
        os.killpg(self.cluster.pid, signal.SIGKILL)
        self.cluster.wait(10)
        self.cluster = None

    def stop(self) -> int:
        """Send SIGTERM to the group, as systemd does; return the master's exit status."""
        assert self.cluster is not None
        os.killpg(self.cluster.pid, signal.SIGTERM)
        status = self.cluster.wait(15)
        self.cluster = None
        return status

    def end(self) -> None:
        """Remove everything, regardless of the test's result."""
        if self.cluster is not None:
            os.killpg(self.cluster.pid, signal.SIGKILL)
            self.cluster.wait(10)
            self.cluster = None
        process.stop_everything(self.run_dir)

    # ---- processes

    def hls(self, channel: Channel) -> Path:
        return process.channel_folder(self.run_dir, channel.pk) / "hls"

    def records(self, channel: Channel) -> dict[str, Record]:
        """Active processes by name: hub, player, pusher-<output>; not those that wait."""
        folder = process.channel_folder(self.run_dir, channel.pk)
        return {
            record.name: record
            for path in folder.glob("*.json")
            if (record := _record(path))
            and process.born(record.pid) == record.born
            and record.role != process.QUEUED
        }

    def pids(self) -> set[int]:
        """Every living process started for this run directory."""
        return set(process.marked_pids(self.run_dir))

    # ---- rows

    def item(self, clip: Clip) -> MediaItem:
        """A prepared clip, as the library would have left it."""
        item = self.bare_item(f"clips/{clip.number}.mp4", clip.title)
        copy = f"prepared/{clip.house_format.signature}/{clip.number}.mp4"
        self._store(clip.path, copy)
        PreparedCopy.objects.create(
            item=item,
            house_format=clip.house_format.signature,
            source_etag=item.etag,
            key=copy,
            frames=clip.frames,
            status=PreparedCopy.Status.READY,
        )
        return item

    def bare_item(self, key: str, title: str) -> MediaItem:
        """An item that can be copied but is not prepared."""
        return MediaItem.objects.create(
            key=key,
            title=title,
            status=MediaItem.Status.PROBED,
            etag=key,
            video_codec="h264",
            pixel_format="yuv420p",
            audio_codec="aac",
            sample_rate=48_000,
            channels=2,
            keyframe_seconds=2,
            probed_at=timezone.now(),
        )

    def _store(self, path: Path, key: str) -> None:
        target = self.media / key
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.link(path, target)

    def store(self, path: Path, key: str) -> MediaItem:
        """Any file, copied on air without preparation."""
        self._store(path, key)
        item = self.bare_item(key, path.stem)
        report = probe(LocalFile(path))
        item.fps, item.reorder = str(report.fps), report.reorder
        item.save(update_fields=["fps", "reorder"])
        return item

    def channel(self, *items: MediaItem, slug: str = "test") -> Channel:
        playlist = Playlist.objects.create(name=slug)
        for position, item in enumerate(items):
            playlist.entries.create(item=item, position=position)
        return Channel.objects.create(
            name=slug.capitalize(),
            slug=slug,
            playlist=playlist,
            width=TEST_FORMAT.width,
            height=TEST_FORMAT.height,
            fps=TEST_FORMAT.fps,
            video_bitrate=TEST_FORMAT.video_bitrate,
            audio_bitrate=TEST_FORMAT.audio_bitrate,
        )

    def output(self, channel: Channel, address: str, key: str, name: str = "Main") -> Output:
        return Output.objects.create(
            channel=channel,
            name=name,
            platform=Platform.RTMP.value,
            url=address,
            key=Secret(key),
        )

    # ---- orders and their results

    def air(self, channel: Channel, within: float = 60) -> None:
        """Start the channel and wait until it is on air."""
        actions.start(channel, by="test", now=timezone.now())
        self.until_state(channel, AirState.ON_AIR, within)

    def until_state(self, channel: Channel, state: AirState, within: float) -> None:
        until(
            lambda: ChannelState.objects.filter(pk=channel.pk, state=state.value).exists(),
            within,
            f"{channel} is {state.value}",
        )

    def until_output(self, output: Output, state: OutputAir, within: float) -> None:
        until(
            lambda: OutputState.objects.filter(pk=output.pk, state=state.value).exists(),
            within,
            f"{output} is {state.value}",
        )

    def halt(self, channel: Channel, within: float = 15) -> None:
        """Stop the channel and wait until the run is closed."""
        actions.stop(channel, by="test", now=timezone.now())
        until(
            lambda: not channel.runs.filter(ended_at=None).exists(), within, f"{channel} is off"
        )


def _record(path: Path) -> Record | None:
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        # It ended between two polls.
        return None
