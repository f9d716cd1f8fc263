"""What reads one live feed into a pipe: encoded to the house format, or as it comes."""

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
from streams.playout.journal.journal import Report
from streams.programme.item import Mode

#: Seconds between two starts: doubled for each that showed no picture, up to the longest.
RESTART_PAUSE_S: Final = 1.0
MAX_RESTART_PAUSE_S: Final = 10.0
#: Seconds without a picture after which those that follow have not come steadily.
STEADY_GAP_S: Final = 1.5
#: Seconds of the feed for which its pipe has room: two keyframes, and a late look.
PIPE_DEPTH_S: Final = 5
#: What a feed may have of the house's bit rate and still be sent as it comes.
MAX_BITRATE_RATIO: Final = 1.5
#: What the lines have in which FFmpeg describes what it reads (and writes).
DESCRIBED: Final = "Stream #0:"
#: As FFmpeg 5 to 9 describe what they read.
_PICTURE: Final = re.compile(
    r"Video: h264 \([^)]*\), yuv420p[^x]*?, (?P<width>\d+)x(?P<height>\d+)\b.*?"
    r" (?P<fps>\d+(?:\.\d+)?) fps,"
)
_SOUND: Final = f"Audio: aac (LC), {SAMPLE_RATE} Hz, stereo"


@dataclass(slots=True)
class Reader:
    """Times are seconds of the monotonic clock."""

    mode: Mode
    pipe: FeedPipe
    moved: float
    role: MonitoredProcess | None = None
    #: A keyframe has come since the role was started.
    picture: bool = False
    started: float = float("-inf")
    #: Since when pictures have come without a break.
    since: float = float("-inf")
    #: A relay reads its pipe, so nobody else may.
    relayed: bool = False
    #: The feed has no sound, or none that can be read: it gets silence.
    silent: bool = False
    #: Why it is not read any more, in a sentence.
    fault: str = ""
    #: Pictures that the role has put out, and whether it is to put out the feed's sound.
    _frames: int = 0
    _sound: bool = True
    #: Starts in a row that have shown no picture.
    _failures: int = 0
    #: What FFmpeg said of the feed, and how its pictures came.
    _stream_lines: list[str] = field(default_factory=list)
    _reordered: bool = False
    _last: int | None = None
    _longest: Fraction | None = None

    @property
    def alive(self) -> bool:
        return self.role is not None and self.picture

    def start(
        self,
        tools: Tools,
        folder: Path,
        name: str,
        feed: LiveFeed,
        house_format: HouseFormat,
        now: float,
    ) -> None:
        """Raises `SpawnError` or `OSError`."""
        pause = min(MAX_RESTART_PAUSE_S, RESTART_PAUSE_S * (1 << min(self._failures, 8)))
        if self.role is not None:
            if self._sound and not feed.has_audio and not self.picture and not self.relayed:
                # It waits for a sound that will not come: the server knows the tracks by now.
                self._retry()
                self.role.kill(now)
            return
        if self.relayed or self.fault or now - self.started < pause:
            return
        self.started, self.picture, self._frames = now, False, 0
        self._failures += 1
        self._sound = feed.has_audio
        self._stream_lines, self._reordered, self._last, self._longest = [], False, None, None
        # What an earlier one left is older than what comes.
        self.pipe.skip(len)
        sock = process.progress_socket()
        port = sock.getsockname()[1]
        copied = self.mode is Mode.COPY
        started = process.spawn(
            tools,
            folder,
            name,
            commands.conformer(tools.ffmpeg, port, feed, None if copied else house_format),
            sock=sock,
            stdout=self.pipe.fd,
            notes={
                "stream": feed.stream,
                "broadcaster": feed.broadcaster,
                "name": feed.name,
                "mode": self.mode.value,
            },
        )
        self.role = MonitoredProcess(started, now, feed.secrets)

    def read(self, folder: Path, report: Report, now: Now) -> None:
        role = self.role
        if role is None:
            return
        # First of all: what a reader that has ended gave away at last is no sign of life.
        ended = role.process.exited()
        role.read(now.mono)
        if self.mode is Mode.COPY:
            # With the last lines of all, since the log may have been quicker. No more is kept
            # than is of use: FFmpeg may have a warning for each picture of a night.
            lines = [line for line in (*role.new_lines(), *role.lines) if DESCRIBED in line]
            self._stream_lines += [
                line for line in dict.fromkeys(lines) if line not in self._stream_lines
            ]
        if ended:
            if self.mode is not Mode.COPY:
                report.relay(now, role)
                self._diagnose(list(role.lines))
            self._drop(folder, role)
            return
        if (shown := self._shown(role)) > self._frames:
            self._moved(now.mono, first=not self._frames)
            self._frames = shown
        if not self.relayed and self.pipe.skip(self._newest):
            # Older pictures are of no use: who goes on air is seen at once.
            self.picture, self._failures = True, 0

    def _shown(self, role: MonitoredProcess) -> int:
        """Pictures so far. FFmpeg 6.1 counts none that it copies: there microseconds."""
        copied = self.mode is Mode.COPY
        seen = role.progress
        count = seen.out_time_us if copied and seen.frame is None else seen.frame
        return count or 0

    def _moved(self, now: float, *, first: bool) -> None:
        if first or now - self.moved > STEADY_GAP_S:
            self.since = now
        if not first and now - self.moved > LOST_S and not self.relayed:
            # What waits is older than the break: a relay begins at a keyframe that came later.
            self.picture = False
            self.pipe.skip(len)
        self.moved = now

    def _diagnose(self, lines: list[str]) -> None:
        """What an ended reader says of the feed, should it have shown nothing of it."""
        if self.picture:
            return
        if self._sound and diagnosis.without_sound(lines):
            self.silent = True
            self._retry()
        else:
            self.fault = diagnosis.unreadable(lines)

    def _retry(self) -> None:
        """Start again at once: another way."""
        self._failures, self.started = 0, float("-inf")

    def end(self, folder: Path, now: float) -> bool:
        """It has nothing to finish, and may wait for the network. True when it is gone."""
        role = self.role
        if role is not None:
            role.kill(now)
            if not role.process.exited():
                return False
            self._drop(folder, role)
        # Who reads it is on its way out.
        return not self.relayed

    def close(self) -> None:
        self.pipe.close()

    def _drop(self, folder: Path, role: MonitoredProcess) -> None:
        process.forget(folder, role.name)
        role.close()
        self.role = None
        self.picture = False

    # ---- what comes

    def matches(self, house_format: HouseFormat) -> bool:
        """Whether the feed has been seen to be in the house format already.

        A keyframe must have come twice, no farther apart than the house's: only then is it
        known that they do.
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
    def _newest(self) -> Callable[[bytes], int | None]:
        """Where a relay may begin in what waits; all of it is left out that leaves no room."""
        limit = self.pipe.capacity * 3 // 4

        def find(data: bytes) -> int | None:
            self._learn(data)
            at = mpegts.keyframe(data)
            if len(data) - (at or 0) > limit:
                return len(data) - len(data) % mpegts.PACKET
            return at

        return find

    def _learn(self, data: bytes) -> None:
        for picture in mpegts.pictures(data):
            self._reordered = self._reordered or picture.pts != picture.dts
            if picture.keyframe and picture.dts != self._last:
                if self._last is not None:
                    apart = Fraction((picture.dts - self._last) % mpegts.WRAP, mpegts.CLOCK)
                    self._longest = max(self._longest or apart, apart)
                self._last = picture.dts


def is_described(stderr_lines: Iterable[str], house_format: HouseFormat) -> bool:
    """Whether FFmpeg describes what it reads as the house format."""
    lines = [line for line in stderr_lines if DESCRIBED in line]
    match = next(filter(None, map(_PICTURE.search, lines)), None)
    if match is None or not any(_SOUND in line for line in lines):
        return False
    size = (int(match["width"]), int(match["height"]))
    return (
        size == (house_format.width, house_format.height)
        and Fraction(match["fps"]) == house_format.fps
    )
