"""Minimal MPEG-TS parser (ISO/IEC 13818-1): finds where a cut player's stream ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

PACKET: Final = 188
SYNC: Final = 0x47
CLOCK: Final = 90_000
#: Timestamps have 33 bits: they wrap every 26.5 h.
WRAP: Final = 1 << 33
#: Consecutive sync bytes that are no coincidence.
MIN_SYNC_BYTES: Final = 3
NULL_PACKET: Final = bytes([SYNC, 0x1F, 0xFF, 0x10]) + b"\xff" * (PACKET - 4)
#: PIDs of the tables as FFmpeg numbers them: the PAT (0), the SDT and the PMT.
TABLES: Final = {0, 17, 0x1000}
#: Additional frames among which the cut is chosen, and ticks without audio that a cut may
#: leave: at 25 and 30 frames a second, the audio of one frame in seven ends within 4 ms before
#: it. A feed that breaks may have sent a second of video without its audio.
MAX_EXTRA_FRAMES: Final = 30
MAX_GAP_TICKS: Final = 400
#: Ticks of an AAC frame of 1,024 samples at 48 kHz, and ticks by which it may end too late.
AAC_FRAME_TICKS: Final = 1_920
MAX_OVERLAP_TICKS: Final = 90
VIDEO_IDS: Final = range(0xE0, 0xF0)
AUDIO_IDS: Final = range(0xC0, 0xE0)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a piece of stream. Timestamps are 90 kHz ticks as they stand in the stream."""

    #: DTS of the last video frame.
    video_dts: int | None
    #: Ticks from decoding to display of the last keyframe.
    reorder: int
    #: PTS of the last audio frame.
    audio_pts: int | None
    #: DTS of the first video frame in the piece.
    first_dts: int | None
    #: Bytes that are missing to complete the last packet.
    missing: int


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a piece of stream, cut before a video frame."""

    data: bytes
    #: When the next video frame is due, in ticks; None: there was none.
    end: int | None


@dataclass(frozen=True, slots=True)
class Frame:
    """The start of a frame: its offset in bytes and its timestamps in ticks."""

    at: int
    kind: int
    pts: int
    dts: int
    keyframe: bool


def tail(data: bytes) -> Tail:
    """Scan a piece of stream that may start and end anywhere."""
    start = _aligned(data)
    if start is None:
        return Tail(None, 0, None, None, 0)
    video = audio = first = None
    reorder = 0
    for frame in read_frames(data, start):
        if frame.kind in VIDEO_IDS:
            video = frame.dts
            first = video if first is None else first
            if frame.keyframe:
                reorder = (frame.pts - frame.dts) % WRAP
        elif frame.kind in AUDIO_IDS:
            audio = frame.pts
    missing = -(len(data) - start) % PACKET
    return Tail(video, reorder, audio, first, missing)


def keyframe(data: bytes) -> int | None:
    """Return the offset of the last keyframe with the tables before it; None: none."""
    start = _aligned(data)
    if start is None:
        return None
    offsets = [f.at for f in read_frames(data, start) if f.keyframe and f.kind in VIDEO_IDS]
    if not offsets:
        return None
    at = offsets[-1]
    while at - PACKET >= start and _table(data, at - PACKET):
        at -= PACKET
    return at


def head(data: bytes, seconds: Fraction) -> Head:
    """Return the first `seconds` of a piece of stream, up to the end of a whole video frame.

    Takes up to `MAX_EXTRA_FRAMES` more frames, or fewer if there are not that many, to cut
    where video and audio end together. Audio that lasts longer than the last video frame is
    dropped. Empty if no video frame starts in the piece.
    """
    start = _aligned(data)
    video: list[Frame] = []
    audio: list[Frame] = []
    for frame in [] if start is None else read_frames(data, start):
        if frame.kind in AUDIO_IDS:
            audio.append(frame)
        elif frame.kind in VIDEO_IDS:
            video.append(frame)
    # The cut is before a video frame, because the last one may be incomplete. The previous
    # frame determines when the next one is due: the last output of an ended conformer may have
    # gaps.
    steps = [(two.dts - one.dts) % WRAP for one, two in pairwise(video)]
    ends = [(one.dts + min(steps)) % WRAP for one in video[:-1]] if steps else []
    cuts = [(one.at, end) for one, end in zip(video[1:], ends, strict=True)]
    enough = [
        (at, end) for at, end in cuts if Fraction((end - video[0].dts) % WRAP, CLOCK) >= seconds
    ]
    # The end of the frame before the first one is known only from where the first one starts.
    places = enough[: MAX_EXTRA_FRAMES + 1] or cuts[: -2 - MAX_EXTRA_FRAMES : -1]
    places = places or [(one.at, one.dts) for one in video[:1]]
    if not places:
        return Head(b"", None)
    candidates = [(_silence(at, end, audio), at, end) for at, end in places]
    min_gap = min(ticks for ticks, _, _ in candidates)
    _, cut, end = next(place for place in candidates if place[0] <= max(MAX_GAP_TICKS, min_gap))
    late = next((one for one in audio if _over(one, end) > MAX_OVERLAP_TICKS), None)
    if late is None or late.at >= cut:
        return Head(data[:cut], end)
    kept = data[: late.at] + b"".join(
        data[at : at + PACKET]
        for at in range(late.at, cut, PACKET)
        if pid_at(data, at) != pid_at(data, late.at)
    )
    return Head(kept, end)


def _over(frame: Frame, end: int) -> int:
    """Ticks by which an audio frame ends after `end`; negative if it ends before."""
    return (frame.pts + AAC_FRAME_TICKS - end + WRAP // 2) % WRAP - WRAP // 2


def _silence(cut: int, end: int, audio: list[Frame]) -> int:
    """Ticks without audio before `end` if the stream is cut at that offset."""
    before = [-_over(frame, end) for frame in audio if frame.at < cut]
    return min((max(0, ticks) for ticks in before if ticks >= -MAX_OVERLAP_TICKS), default=WRAP)


def video_frames(data: bytes) -> Iterator[Frame]:
    """Yield the video frames that start in a piece of stream."""
    start = _aligned(data)
    if start is not None:
        yield from (frame for frame in read_frames(data, start) if frame.kind in VIDEO_IDS)


def read_frames(data: bytes, start: int) -> Iterator[Frame]:
    for at in range(start, len(data) - PACKET + 1, PACKET):
        if data[at] != SYNC or not data[at + 1] & 0x40:
            continue
        head = at + 4
        keyframe = False
        if data[at + 3] & 0x20:
            keyframe = data[at + 4] > 0 and bool(data[at + 5] & 0x40)
            head += 1 + data[at + 4]
        if head + 19 > at + PACKET or data[head : head + 3] != b"\0\0\1":
            continue
        kind, flags = data[head + 3], data[head + 7]
        if not flags & 0x80:
            continue
        pts = _timestamp(data, head + 9)
        dts = _timestamp(data, head + 14) if flags & 0x40 else pts
        yield Frame(at, kind, pts, dts, keyframe)


def pid_at(data: bytes, at: int) -> int:
    return (data[at + 1] & 0x1F) << 8 | data[at + 2]


def _table(data: bytes, at: int) -> bool:
    return pid_at(data, at) in TABLES


def end(
    piece: Tail, near: Fraction, frame: Fraction, audio_frame: Fraction, *, cut: bool = False
) -> Fraction | None:
    """Seconds at which the next item may start, so that no timestamp is used twice.

    `near` (seconds) selects the turn of the 33-bit clock. In a stream that was `cut`, frames
    that were still to be displayed are not counted: their audio is missing.
    """
    ends: list[Fraction] = []
    if piece.video_dts is not None:
        shown = 0 if cut else piece.reorder
        ends.append(unwrap(piece.video_dts, near) + frame + Fraction(shown, CLOCK))
    if piece.audio_pts is not None:
        ends.append(unwrap(piece.audio_pts, near) + audio_frame)
    return max(ends, default=None)


def unwrap(ticks: int, near: Fraction) -> Fraction:
    """The time of a wrapped timestamp closest to `near`, in seconds."""
    turns = round((near * CLOCK - ticks) / WRAP)
    return Fraction(ticks + turns * WRAP, CLOCK)


def _aligned(data: bytes) -> int | None:
    """Offset of the first packet; None if there is none."""
    for start in range(min(PACKET, len(data))):
        marks = data[start::PACKET][:MIN_SYNC_BYTES]
        if len(marks) == MIN_SYNC_BYTES and set(marks) == {SYNC}:
            return start
    return None


def _timestamp(data: bytes, at: int) -> int:
    return (
        (data[at] >> 1 & 7) << 30
        | data[at + 1] << 22
        | (data[at + 2] >> 1) << 15
        | data[at + 3] << 7
        | data[at + 4] >> 1
    )
