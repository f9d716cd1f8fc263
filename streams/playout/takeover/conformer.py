"""Reads one live feed into a pipe, encoded to the house format or copied."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

from media_library.house_format import SAMPLE_RATE, HouseFormat
from streams.playout.contract.live_feed import LOST_S, LiveFeed
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import Tools
from streams.playout.ffmpeg import commands, diagnosis, mpegts, process
from streams.playout.ffmpeg.monitored_process import MonitoredProcess
from streams.playout.ffmpeg.pipe import FeedPipe
from streams.playout.journal.journal import Journal
from streams.programme.item import Mode

#: Seconds between two starts: doubled after each that showed no video, up to the maximum.
RESTART_PAUSE_S: Final = 1.0
MAX_RESTART_PAUSE_S: Final = 10.0
#: Seconds without video after which the video does not count as steady.
STEADY_GAP_S: Final = 1.5
#: Seconds of the feed that its pipe holds: two keyframes, plus a late poll.
PIPE_DEPTH_S: Final = 5
#: Maximum bit rate of a copied feed, as a multiple of the house format's.
MAX_BITRATE_RATIO: Final = 1.5
#: Marks the lines in which FFmpeg describes its input (and output).
DESCRIBED: Final = "Stream #0:"
#: Video description of FFmpeg 5 to 9.
_VIDEO: Final = re.compile(
    r"Video: h264 \([^)]*\), yuv420p[^x]*?, (?P<width>\d+)x(?P<height>\d+)\b.*?"
    r" (?P<fps>\d+(?:\.\d+)?) fps,"
)
_AUDIO: Final = f"Audio: aac (LC), {SAMPLE_RATE} Hz, stereo"


@dataclass(slots=True)
class Reader:
    """Times are seconds of the monotonic clock."""

    mode: Mode
    pipe: FeedPipe
    moved: float
    role: MonitoredProcess | None = None
    #: A keyframe has arrived since the process was started.
    has_video: bool = False
    started: float = float("-inf")
    #: Since when video has arrived without a gap.
    since: float = float("-inf")
    #: A relay reads its pipe, so nobody else may.
    relayed: bool = False
    #: The feed has no audio, or none that can be decoded: it gets silence.
    silent: bool = False
    #: Why it is not read any more, as a sentence.
    fault: str = ""
    #: Video frames that the process has output, and whether it outputs the feed's audio.
    _frames: int = 0
    _sound: bool = True
    #: Consecutive starts that have shown no video.
    _failures: int = 0
    #: FFmpeg's description of the feed, and the spacing of its frames.
    _stream_lines: list[str] = field(default_factory=list)
    _reordered: bool = False
    _last: int | None = None
    _longest: Fraction | None = None

    @property
    def alive(self) -> bool:
        return self.role is not None and self.has_video

    def start(
        self,
        tools: Tools,
        folder: Path,
        name: str,
        feed: LiveFeed,
        house_format: HouseFormat,
        now: float,
    ) -> None:
        """Start the process unless it runs. Raises `SpawnError` or `OSError`."""
        pause = min(MAX_RESTART_PAUSE_S, RESTART_PAUSE_S * (1 << min(self._failures, 8)))
        if self.role is not None:
            if self._sound and not feed.has_audio and not self.has_video and not self.relayed:
                # It waits for audio that will not come: the server knows the tracks by now.
                self._retry()
                self.role.kill(now)
            return
        if self.relayed or self.fault or now - self.started < pause:
            return
        self.started, self.has_video, self._frames = now, False, 0
        self._failures += 1
        self._sound = feed.has_audio
        self._stream_lines, self._reordered, self._last, self._longest = [], False, None, None
        # The data left by an earlier process is outdated.
        self.pipe.skip(len)
        form = None if self.mode is Mode.COPY else house_format
        started = process.spawn(
            tools,
            folder,
            name,
            lambda port: commands.conformer(tools.ffmpeg, port, feed, form),
            stdout=self.pipe.fd,
            notes={
                "stream": feed.stream,
                "broadcaster": feed.broadcaster,
                "name": feed.name,
                "mode": self.mode.value,
            },
        )
        self.role = MonitoredProcess(started, now, feed.secrets)

    def read(self, folder: Path, journal: Journal, now: Now) -> None:
        role = self.role
        if role is None:
            return
        # Checked first: the last output of an ended process is no sign of life.
        ended = role.process.exited()
        role.read(now.mono)
        if self.mode is Mode.COPY:
            # Includes the last lines, since the log may have been read earlier. Only useful
            # lines are kept: FFmpeg may print a warning for every frame of a night.
            lines = [line for line in (*role.new_lines(), *role.lines) if DESCRIBED in line]
            self._stream_lines += [
                line for line in dict.fromkeys(lines) if line not in self._stream_lines
            ]
        if ended:
            if self.mode is not Mode.COPY:
                journal.relay(now, role)
                self._diagnose(list(role.lines))
            self._drop(folder, role)
            return
        if (shown := self._shown(role)) > self._frames:
            self._moved(now.mono, first=not self._frames)
            self._frames = shown
        if not self.relayed and self.pipe.skip(self._relay_start):
            # Older video is useless: a broadcaster who goes on air must be seen at once.
            self.has_video, self._failures = True, 0

    def _shown(self, role: MonitoredProcess) -> int:
        """Video frames so far, or microseconds: FFmpeg 6.1 does not count copied frames."""
        copied = self.mode is Mode.COPY
        seen = role.progress
        count = seen.out_time_us if copied and seen.frame is None else seen.frame
        return count or 0

    def _moved(self, now: float, *, first: bool) -> None:
        if first or now - self.moved > STEADY_GAP_S:
            self.since = now
        if not first and now - self.moved > LOST_S and not self.relayed:
            # The waiting data is older than the gap: a relay starts at a later keyframe.
            self.has_video = False
            self.pipe.skip(len)
        self.moved = now

    def _diagnose(self, lines: list[str]) -> None:
        """Derive from the lines of an ended process why it has shown no video."""
        if self.has_video:
            return
        if self._sound and diagnosis.without_audio(lines):
            self.silent = True
            self._retry()
        else:
            self.fault = diagnosis.unreadable(lines)

    def _retry(self) -> None:
        """Start again at once, with other options."""
        self._failures, self.started = 0, float("-inf")

    def end(self, folder: Path, now: float) -> bool:
        """Kill the process, which has nothing to finish and may hang. True once it is gone."""
        role = self.role
        if role is not None:
            role.kill(now)
            if not role.process.exited():
                return False
            self._drop(folder, role)
        # The relay that reads it is about to end.
        return not self.relayed

    def close(self) -> None:
        self.pipe.close()

    def _drop(self, folder: Path, role: MonitoredProcess) -> None:
        process.remove_record(folder, role.name)
        role.close()
        self.role = None
        self.has_video = False

    # ---- analysis of the feed

    def matches(self, house_format: HouseFormat) -> bool:
        """Whether the feed is known to be in the house format already.

        Two keyframes must have arrived, no farther apart than the house format's: only then is
        their distance known.
        """
        rate = None if self.role is None else self.role.bitrate()
        if rate is None or self._longest is None or self._reordered or not self.alive:
            return False
        limit = MAX_BITRATE_RATIO * (house_format.video_bitrate + house_format.audio_bitrate)
        return (
            is_described(self._stream_lines, house_format)
            and self._longest <= Fraction(house_format.gop + 1, house_format.fps)
            and rate <= limit
        )

    @property
    def _relay_start(self) -> Callable[[bytes], int | None]:
        """Find where a relay may start in the waiting data; drop it all if too much waits."""
        limit = self.pipe.capacity * 3 // 4

        def find(data: bytes) -> int | None:
            self._measure_spacing(data)
            at = mpegts.keyframe(data)
            if len(data) - (at or 0) > limit:
                return len(data) - len(data) % mpegts.PACKET
            return at

        return find

    def _measure_spacing(self, data: bytes) -> None:
        for frame in mpegts.video_frames(data):
            self._reordered = self._reordered or frame.pts != frame.dts
            if frame.keyframe and frame.dts != self._last:
                if self._last is not None:
                    apart = Fraction((frame.dts - self._last) % mpegts.WRAP, mpegts.CLOCK)
                    self._longest = max(self._longest or apart, apart)
                self._last = frame.dts


def is_described(stderr_lines: Iterable[str], house_format: HouseFormat) -> bool:
    """Whether FFmpeg describes its input as the house format."""
    lines = [line for line in stderr_lines if DESCRIBED in line]
    match = next(filter(None, map(_VIDEO.search, lines)), None)
    if match is None or not any(_AUDIO in line for line in lines):
        return False
    size = (int(match["width"]), int(match["height"]))
    return (
        size == (house_format.width, house_format.height)
        and Fraction(match["fps"]) == house_format.fps
    )
