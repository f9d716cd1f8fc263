"""Conforms an item: creates a copy in a house format that joins others seamlessly.

`conform` measures the audio, encodes, verifies the result, and only then moves it to its place.
Imports no Django.
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

#: Seconds by which containers round a file's length up; it must not cost a grid interval.
DURATION_ROUNDING_S: Final = Fraction(1, 1000)
#: Seconds, and share of its length, by which an item may end early without counting as cut off.
CUT_TOLERANCE_S: Final = Fraction(2)
CUT_TOLERANCE_SHARE: Final = Fraction(1, 50)
#: Seconds of encoding per second of video: 40 is a 4K source on a small, busy machine.
MAX_ENCODING_RATIO: Final = 40
#: Seconds without progress after which FFmpeg counts as stuck.
PROGRESS_TIMEOUT_S: Final = 120.0
#: Bytes of address space, of which a 4K source and the encoder use some 3 GB.
MAX_MEMORY_BYTES: Final = 12 << 30


class Stage(StrEnum):
    """The current step of a copy; the values are stored in its row."""

    FETCHING = "fetching"
    MEASURING = "measuring"
    ENCODING = "encoding"
    VERIFYING = "verifying"
    STORING = "storing"


#: Receives the stage and its progress in percent, at least every half second.
Progress = Callable[[Stage, int], None]


def _ignore_progress(_stage: Stage, _percent: int) -> None:
    """Ignores the progress."""


class PrepareError(Exception):
    """The copy was not created. `str()` is a sentence for the operator."""

    #: True if another try can't help.
    permanent = True


class EncodingFailedError(PrepareError):
    """FFmpeg could not read the item or write the copy."""


class TransientError(PrepareError):
    """A temporary error: a full disk, FFmpeg missing or too slow."""

    permanent = False


class WrongOutputError(PrepareError):
    """FFmpeg's output differs from the requested format; it was discarded."""


class CutOffError(EncodingFailedError):
    """The item ends long before its given length."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of the programs, and whether a channel waits for their output."""

    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Copy:
    """A finished copy: its video frames, and its loudness in LUFS, None for silence."""

    frames: int
    loudness: float | None


def frames_of(probe: Probe, house_format: HouseFormat) -> int:
    """Returns the copy's frames. Raises `EncodingFailedError` for an unknown length."""
    if probe.seconds is None:
        raise EncodingFailedError("Its length is unknown: convert it to MP4 first.")
    return house_format.frames_on_grid(max(Fraction(0), probe.seconds - DURATION_ROUNDING_S))


def conform(
    item: LocalFile,
    probe: Probe,
    house_format: HouseFormat,
    target: Path,
    *,
    tools: Tools,
    logo: Path | None = None,
    progress: Progress = _ignore_progress,
) -> Copy:
    """Writes the item's copy to `target`, verified.

    `logo` is the house format's picture on this machine. Errors of `progress` stop the work.
    Raises `PrepareError`.
    """
    frames = frames_of(probe, house_format)
    report = _ProgressReporter(progress)
    with runner.opened(item) as source, _prepare_errors():
        correction = _correction(source, probe, house_format, frames, tools, report)
        command = commands.conforming(
            tools.ffmpeg,
            source,
            house_format,
            frames,
            correction=correction if probe.audio_codec else None,
            logo=logo,
            hdr=probe.colour if commands.tone_maps(tools.ffmpeg) else "",
        )
    with written(house_format, frames, target, tools=tools, report=report) as encode:
        draft = LocalFile(encode(command))
        for trials_left in reversed(range(loudness.MAX_TRIALS)):
            with runner.opened(draft) as finished:
                finished_loudness = _measured(finished, house_format, frames, tools, report)
                better = loudness.better(correction, finished_loudness)
                if better is None or not trials_left:
                    break
                correction = better
                with runner.opened(item) as source:
                    encode(
                        commands.replacing_audio(
                            tools.ffmpeg, finished, source, house_format, frames, better
                        )
                    )
    return Copy(frames, finished_loudness.lufs)


def inspect(
    copy: LocalFile,
    probe: Probe,
    house_format: HouseFormat,
    *,
    tools: Tools,
    progress: Progress = _ignore_progress,
) -> Copy | None:
    """Inspects an earlier copy of the item; None if it differs from one made now.

    `probe` is the item's. Raises `PrepareError`.
    """
    frames = frames_of(probe, house_format)
    report = _ProgressReporter(progress)
    with _prepare_errors():
        report(Stage.VERIFYING, 0)
        try:
            if verify.faults(
                copy.path, house_format, frames, ffprobe=tools.ffprobe, watch=report.watch
            ):
                return None
            with runner.opened(copy) as finished:
                measured = _measured(finished, house_format, frames, tools, report)
        except runner.ToolFailedError:
            # It can't be read at all.
            return None
    return Copy(frames, measured.lufs)


# ---- the work --------------------------------------------------------------------------------


class _ProgressReporter:
    """Reports each new percentage, and repeats the last one while there is no progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._at = (Stage.MEASURING, 0)

    def __call__(self, stage: Stage, share: float) -> None:
        self._at = (stage, min(99, max(0, int(share * 100))))
        self._progress(*self._at)

    def watch(self) -> None:
        self._progress(*self._at)


def _correction(
    source: Source,
    probe: Probe,
    house_format: HouseFormat,
    frames: int,
    tools: Tools,
    report: _ProgressReporter,
) -> Correction:
    """Returns the correction that brings the item's audio to the target loudness.

    A correction with a limiter is tested. Reads the item to its end on the way. Raises
    `CutOffError`, `ToolError`.
    """
    has_audio = bool(probe.audio_codec)
    measured, end = _read_through(
        source, house_format, frames, tools, report, has_audio=has_audio
    )
    expected = probe.seconds or Fraction(0)
    if end < expected - max(CUT_TOLERANCE_S, expected * CUT_TOLERANCE_SHARE):
        raise CutOffError(
            f"It ends after {float(end):.0f} s instead of {float(expected):.0f} s: it was cut "
            "off in transfer. Upload it again."
        )
    correction = loudness.first(measured)
    trials = 0
    while correction.limited and trials < loudness.MAX_TRIALS:
        trials += 1
        tried = _measured(source, house_format, frames, tools, report, correction)
        if (next_one := loudness.better(correction, tried)) is None:
            break
        correction = next_one
    return correction


def _read_through(
    source: Source,
    house_format: HouseFormat,
    frames: int,
    tools: Tools,
    report: _ProgressReporter,
    *,
    has_audio: bool,
) -> tuple[Loudness, Fraction]:
    """Returns the item's loudness, and the end of its last packet in seconds."""
    meter, end = loudness.Meter(), Fraction(0)
    whole = float(house_format.seconds(frames))

    def line(text: str) -> None:
        nonlocal end
        meter(text)
        name, _, value = text.partition("=")
        if name == "out_time_us" and value.isdigit():
            end = max(end, Fraction(int(value), 1_000_000))
            report(Stage.MEASURING, float(end) / whole)

    # Not padded to the grid, to find the end of the audio; but loudness needs 0.4 s at least.
    usual = f"aresample={SAMPLE_RATE}:async=1:first_pts=0,aformat=channel_layouts=stereo"
    filters = f"{usual},apad=whole_dur=0.6,{loudness.METER}"
    audio_options = ("-map", "0:a:0", "-af", filters, "-f", "null", "-") if has_audio else ()
    video_options = ("-map", "0:v:0", "-c:v", "copy", "-f", "null", "-")
    command = (
        *commands.head(tools.ffmpeg),
        *runner.DECODE,
        *source.args,
        *audio_options,
        *video_options,
    )
    _run(command, source, house_format, frames, line, report)
    return meter.loudness, end


def _measured(
    source: Source,
    house_format: HouseFormat,
    frames: int,
    tools: Tools,
    report: _ProgressReporter,
    correction: Correction | None = None,
) -> Loudness:
    """Returns the loudness after conversion and correction. Raises `ToolError`."""
    meter = loudness.Meter()
    whole = float(house_format.seconds(frames))
    stage = Stage.MEASURING if correction else Stage.VERIFYING

    def line(text: str) -> None:
        meter(text)
        report(stage, meter.at / whole)

    filters = f"{commands.audio(house_format, frames, correction)},{loudness.METER}"
    audio_options = ("-map", "0:a:0", "-af", filters, "-f", "null", "-")
    command = (*commands.head(tools.ffmpeg), *source.args, *audio_options)
    _run(command, source, house_format, frames, line, report)
    return meter.loudness


def _run(
    command: tuple[str, ...],
    source: Source,
    house_format: HouseFormat,
    frames: int,
    line: Callable[[str], None],
    report: _ProgressReporter,
) -> None:
    bounds = Bounds(
        seconds=max(600.0, float(house_format.seconds(frames))),
        silent_seconds=PROGRESS_TIMEOUT_S,
        memory_bytes=MAX_MEMORY_BYTES,
    )
    runner.run(
        command, bounds=bounds, descriptors=source.descriptors, on_line=line, watch=report.watch
    )


def write(
    command: tuple[str, ...],
    house_format: HouseFormat,
    frames: int,
    target: Path,
    *,
    tools: Tools,
) -> None:
    """Encodes into a draft, verifies it, and moves it to its place. Raises `PrepareError`."""
    with written(
        house_format, frames, target, tools=tools, report=_ProgressReporter(_ignore_progress)
    ) as encode:
        encode(command)


@contextmanager
def written(
    house_format: HouseFormat,
    frames: int,
    target: Path,
    *,
    tools: Tools,
    report: _ProgressReporter,
) -> Iterator[Callable[[tuple[str, ...]], Path]]:
    """Yields a function that encodes into a draft and verifies it.

    If the block succeeds, the draft takes its place. Raises `PrepareError`.
    """
    seconds = house_format.seconds(frames)
    bounds = Bounds(
        seconds=max(600.0, float(seconds) * MAX_ENCODING_RATIO),
        silent_seconds=PROGRESS_TIMEOUT_S,
        # Twice the bit rate, and 64 MB for the shortest: more is a malfunction of FFmpeg.
        file_bytes=(64 << 20) + 2 * ceil(seconds * house_format.bytes_per_second),
        memory_bytes=MAX_MEMORY_BYTES,
    )

    run = partial(runner.run, watch=report.watch, urgent=tools.urgent)
    check = partial(verify.faults, watch=report.watch, urgent=tools.urgent)
    stage = Stage.ENCODING

    def line(text: str) -> None:
        name, _, value = text.partition("=")
        # N/A until the first packet is written.
        if name == "out_time_us" and value.isdigit():
            report(stage, int(value) / 1_000_000 / float(seconds))

    def encode(command: tuple[str, ...]) -> Path:
        nonlocal stage
        run((*command, f"file:{fresh}"), bounds=bounds, on_line=line)
        # Later calls only replace the audio, which takes seconds.
        stage = Stage.VERIFYING
        report(stage, 0)
        faults = check(fresh, house_format, frames, ffprobe=tools.ffprobe)
        fresh.replace(draft)
        if faults:
            raise WrongOutputError(
                f"The copy is not as requested ({'; '.join(faults[:3])}), and was discarded. "
                "Debian's FFmpeg 5.1 and 7.1 write it correctly: is another one in use here?"
            )
        return draft

    with _prepare_errors():
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = mkstemp(dir=target.parent, prefix=".", suffix=".mp4")
        os.close(handle)
        draft = Path(name)
        # The next encoding may read the draft before it.
        fresh = draft.with_suffix(".fresh.mp4")
        try:
            yield encode
            draft.chmod(0o644)
            draft.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
            draft.unlink(missing_ok=True)


@contextmanager
def _prepare_errors() -> Iterator[None]:
    """Turns errors of FFmpeg and the system into this module's errors."""
    try:
        yield
    except runner.ToolFailedError as error:
        if "No space left" in str(error):
            raise TransientError("The disk is full: free some space.") from None
        raise EncodingFailedError(f"FFmpeg could not convert it: {error}") from None
    except runner.ToolError as error:
        raise TransientError(str(error)) from None
    except OSError as error:
        raise TransientError(f"The copy can't be written: {error.strerror}.") from None
