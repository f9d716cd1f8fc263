"""Conforming: an item becomes a copy in a house format that joins others without a seam.

`conform` measures the sound, encodes, checks what came out, and only then lets it take its
place. Imports no Django.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import mkstemp
from typing import Final

from media_library.conform import commands, loudness, verify
from media_library.conform.loudness import Correction, Loudness
from media_library.ffmpeg import runner
from media_library.ffmpeg.probe import Probe
from media_library.ffmpeg.runner import Bounds, Source
from media_library.house_format import SAMPLE_RATE, HouseFormat
from media_library.location import LocalFile

#: Seconds by which containers round the length of a file up; it must not cost a span of grid.
ROUNDING: Final = Fraction(1, 1000)
#: Seconds and share of its length that an item may end early before it counts as cut off.
CUT_SECONDS: Final = Fraction(2)
CUT_SHARE: Final = Fraction(1, 50)
#: Seconds of encoding for a second of film: 40 is a 4K source on a busy small machine.
SLOWEST: Final = 40
#: Seconds without progress after which FFmpeg is stuck.
SILENCE: Final = 120.0
#: Bytes of addresses, of which a 4K source and the encoder use some 3 GB.
MEMORY: Final = 12 << 30


class Stage(StrEnum):
    """What is being done to a copy; the values are kept in its row."""

    FETCHING = "fetching"
    MEASURING = "measuring"
    ENCODING = "encoding"
    VERIFYING = "verifying"
    STORING = "storing"


#: Hears the stage and how much of it is done in percent, at least every half second.
Progress = Callable[[Stage, int], None]


def _unheard(_stage: Stage, _percent: int) -> None:
    """Nobody wants to know."""


class PrepareError(Exception):
    """The copy was not made. `str()` of it is a sentence for the operator."""

    #: True where trying again can't help.
    permanent = True


class EncodingFailedError(PrepareError):
    """FFmpeg could not read the item or write the copy."""


class TriedInVainError(PrepareError):
    """Something passing: no room on the disk, FFmpeg missing or too slow."""

    permanent = False


class NotAsOrderedError(PrepareError):
    """What FFmpeg wrote is not what was ordered; it was thrown away."""


class CutOffError(EncodingFailedError):
    """The item ends long before it says it does."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the programs, and whether a channel waits for what they make."""

    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """A finished copy: its video frames, and its loudness in LUFS, None for silence."""

    frames: int
    loudness: float | None


def frames_of(probe: Probe, house: HouseFormat) -> int:
    """Frames the copy is to have. Raises `EncodingFailedError` for an unknown length."""
    if probe.seconds is None:
        raise EncodingFailedError("It does not say how long it is: convert it to MP4 first.")
    return house.frames_on_grid(max(Fraction(0), probe.seconds - ROUNDING))


def conform(
    item: LocalFile,
    probe: Probe,
    house: HouseFormat,
    target: Path,
    *,
    tools: Tools,
    logo: Path | None = None,
    progress: Progress = _unheard,
) -> Copy:
    """Write the item's copy to `target`, verified.

    `logo` is the house's picture, on this machine. What `progress` raises stops the work.
    Raises `PrepareError`.
    """
    frames = frames_of(probe, house)
    tell = _Teller(progress)
    with runner.opened(item) as source, _told():
        correction = _correction(source, probe, house, frames, tools, tell)
        command = commands.conforming(
            tools.ffmpeg,
            source,
            house,
            frames,
            sound=correction if probe.audio_codec else None,
            logo=logo,
            hdr=probe.colour if commands.tone_maps(tools.ffmpeg) else "",
        )
    with written(house, frames, target, tools=tools, tell=tell) as encode:
        draft = LocalFile(encode(command))
        for trials_left in reversed(range(loudness.TRIALS)):
            with runner.opened(draft) as finished:
                heard = _measured(finished, house, frames, tools, tell)
                better = loudness.better(correction, heard)
                if better is None or not trials_left:
                    break
                correction = better
                with runner.opened(item) as source:
                    encode(
                        commands.resounding(
                            tools.ffmpeg, finished, source, house, frames, better
                        )
                    )
    return Copy(frames, heard.lufs)


def inspect(
    copy: LocalFile,
    probe: Probe,
    house: HouseFormat,
    *,
    tools: Tools,
    progress: Progress = _unheard,
) -> Copy | None:
    """What an earlier copy of the item is; None where it is not as one made now would be.

    `probe` is the item's. Raises `PrepareError`.
    """
    frames = frames_of(probe, house)
    tell = _Teller(progress)
    with _told():
        tell(Stage.VERIFYING, 0)
        try:
            if verify.faults(copy.path, house, frames, ffprobe=tools.ffprobe, watch=tell.watch):
                return None
            with runner.opened(copy) as finished:
                heard = _measured(finished, house, frames, tools, tell)
        except runner.ToolFailedError:
            # It can't even be read.
            return None
    return Copy(frames, heard.lufs)


# ---- the work --------------------------------------------------------------------------------


class _Teller:
    """Tells the progress: each new percentage, and the last one again while nothing is new."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._at = (Stage.MEASURING, 0)

    def __call__(self, stage: Stage, share: float) -> None:
        self._at = (stage, min(99, max(0, int(share * 100))))
        self._progress(*self._at)

    def watch(self) -> None:
        self._progress(*self._at)


def _correction(
    source: Source, probe: Probe, house: HouseFormat, frames: int, tools: Tools, tell: _Teller
) -> Correction:
    """What brings the item's sound to the target, tried out where a limiter is in it.

    Reads the item to its end on the way. Raises `CutOffError`, `ToolError`.
    """
    sound = bool(probe.audio_codec)
    measured, end = _read_through(source, house, frames, tools, tell, sound=sound)
    told = probe.seconds or Fraction(0)
    if end < told - max(CUT_SECONDS, told * CUT_SHARE):
        raise CutOffError(
            f"It ends after {float(end):.0f} s, but says it lasts {float(told):.0f}: it was "
            "cut off on its way. Upload it again."
        )
    correction = loudness.first(measured)
    trials = 0
    while correction.limited and trials < loudness.TRIALS:
        trials += 1
        tried = _measured(source, house, frames, tools, tell, correction)
        if (next_one := loudness.better(correction, tried)) is None:
            break
        correction = next_one
    return correction


def _read_through(
    source: Source, house: HouseFormat, frames: int, tools: Tools, tell: _Teller, *, sound: bool
) -> tuple[Loudness, Fraction]:
    """The item's loudness, and where its last packet ends, in seconds."""
    meter, end = loudness.Meter(), Fraction(0)
    whole = float(house.seconds(frames))

    def line(said: str) -> None:
        nonlocal end
        meter(said)
        name, _, value = said.partition("=")
        if name == "out_time_us" and value.isdigit():
            end = max(end, Fraction(int(value), 1_000_000))
            tell(Stage.MEASURING, float(end) / whole)

    # Not filled up to the grid here, for it is to be seen where the sound ends; but loudness is
    # told of 0.4 s and more only.
    usual = f"aresample={SAMPLE_RATE}:async=1:first_pts=0,aformat=channel_layouts=stereo"
    filters = f"{usual},apad=whole_dur=0.6,{loudness.METER}"
    heard = ("-map", "0:a:0", "-af", filters, "-f", "null", "-") if sound else ()
    seen = ("-map", "0:v:0", "-c:v", "copy", "-f", "null", "-")
    command = (*commands.head(tools.ffmpeg), *runner.DECODE, *source.args, *heard, *seen)
    _run(command, source, house, frames, line, tell)
    return meter.loudness, end


def _measured(
    source: Source,
    house: HouseFormat,
    frames: int,
    tools: Tools,
    tell: _Teller,
    correction: Correction | None = None,
) -> Loudness:
    """The loudness of a sound as the house would have it, corrected so. Raises `ToolError`."""
    meter = loudness.Meter()
    whole = float(house.seconds(frames))
    stage = Stage.MEASURING if correction else Stage.VERIFYING

    def line(said: str) -> None:
        meter(said)
        tell(stage, meter.at / whole)

    filters = f"{commands.audio(house, frames, correction)},{loudness.METER}"
    heard = ("-map", "0:a:0", "-af", filters, "-f", "null", "-")
    command = (*commands.head(tools.ffmpeg), *source.args, *heard)
    _run(command, source, house, frames, line, tell)
    return meter.loudness


def _run(
    command: tuple[str, ...],
    source: Source,
    house: HouseFormat,
    frames: int,
    line: Callable[[str], None],
    tell: _Teller,
) -> None:
    bounds = Bounds(
        seconds=max(600.0, float(house.seconds(frames))),
        silent_seconds=SILENCE,
        memory_bytes=MEMORY,
    )
    runner.run(
        command, bounds=bounds, descriptors=source.descriptors, on_line=line, watch=tell.watch
    )


def write(
    command: tuple[str, ...], house: HouseFormat, frames: int, target: Path, *, tools: Tools
) -> None:
    """Encode into a draft, verify it, and put it in its place. Raises `PrepareError`."""
    with written(house, frames, target, tools=tools, tell=_Teller(_unheard)) as encode:
        encode(command)


@contextmanager
def written(
    house: HouseFormat, frames: int, target: Path, *, tools: Tools, tell: _Teller
) -> Iterator[Callable[[tuple[str, ...]], Path]]:
    """Hands out what encodes into a draft and verifies it.

    Where the block ends well, the draft takes its place. Raises `PrepareError`.
    """
    seconds = house.seconds(frames)
    bounds = Bounds(
        seconds=max(600.0, float(seconds) * SLOWEST),
        silent_seconds=SILENCE,
        # Twice the rate, and 64 MB for the shortest: more means that FFmpeg ran wild.
        file_bytes=(64 << 20) + 2 * ceil(seconds * house.bytes_per_second),
        memory_bytes=MEMORY,
    )

    run = partial(runner.run, watch=tell.watch, urgent=tools.urgent)
    check = partial(verify.faults, watch=tell.watch, urgent=tools.urgent)
    stage = Stage.ENCODING

    def line(said: str) -> None:
        name, _, value = said.partition("=")
        # N/A until the first packet is written.
        if name == "out_time_us" and value.isdigit():
            tell(stage, int(value) / 1_000_000 / float(seconds))

    def encode(command: tuple[str, ...]) -> Path:
        nonlocal stage
        run((*command, f"file:{fresh}"), bounds=bounds, on_line=line)
        # What is encoded after this is the sound once more, and takes seconds.
        stage = Stage.VERIFYING
        tell(stage, 0)
        found = check(fresh, house, frames, ffprobe=tools.ffprobe)
        fresh.replace(draft)
        if found:
            raise NotAsOrderedError(
                f"The copy came out wrong ({'; '.join(found[:3])}), and was thrown away. "
                "FFmpeg 5.1 and 7.1, Debian's, write it right: is another one in use here?"
            )
        return draft

    with _told():
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = mkstemp(dir=target.parent, prefix=".", suffix=".mp4")
        os.close(handle)
        draft = Path(name)
        # What is encoded may read the draft before it.
        fresh = draft.with_suffix(".fresh.mp4")
        try:
            yield encode
            draft.chmod(0o644)
            draft.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
            draft.unlink(missing_ok=True)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what FFmpeg and the system say into this module's errors."""
    try:
        yield
    except runner.ToolFailedError as error:
        if "No space left" in str(error):
            raise TriedInVainError("The disk is full: make room.") from None
        raise EncodingFailedError(f"FFmpeg could not convert it: {error}") from None
    except runner.ToolError as error:
        raise TriedInVainError(str(error)) from None
    except OSError as error:
        raise TriedInVainError(f"The copy can't be written: {error.strerror}.") from None
