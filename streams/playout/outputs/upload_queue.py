"""What an upload by HLS sends next, and under which name. Pure.

YouTube's rules ("Delivering Live YouTube Content via HLS", 2026): the first playlist starts at
number 0, and numbers only rise. Names of segments are unique across restarts and hold only
letters, digits, "_", "-", "." and "/". A playlist precedes each segment; it lists at most five
segments that were not acknowledged, and a few that were. A segment lasts at most 5 s.

    window ──take──▶ waiting ──(the first is announced and sent)──acknowledged──▶ recent

A segment gets its number when it is the first one that waits, so what was never sent leaves no
hole in the numbers: the next segment is marked as a discontinuity. The queue is stored before
each step, so another process goes on with the same names: a segment whose acknowledgement was
lost is sent again under its name, and the receiver has it once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

#: Seconds of the longest segment that the platform takes. A live playlist must not change it.
TARGET_DURATION_S: Final = 5
#: Acknowledged segments that a playlist lists before the one that is sent.
MAX_RECENT: Final = 2
#: Seconds of air that wait at most. The hub's window keeps 20 s more.
MAX_WAITING_S: Final = 60.0
PLAYLIST_NAME: Final = "live.m3u8"
_ENTRY: Final = re.compile(r"(#EXT-X-DISCONTINUITY\n)?#EXTINF:([0-9.]+),[^\n]*\n([^#\n]+)\n")
_NUMBERED: Final = re.compile(r"(.*?)(\d+)\.ts")


@dataclass(frozen=True, slots=True)
class Segment:
    """`file`: its name on disk. `broken`: it does not continue the one before it."""

    file: str
    seconds: float
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    #: Part of each segment's name at the receiver: another one for each stream.
    stream: str
    #: Edition of the output that it is for.
    edition: str
    #: Name of the newest segment that was taken from the window.
    seen: str = ""
    #: Number of segments taken so far.
    taken: int = 0
    #: Number of segments acknowledged so far, and so the number of the next one.
    sent: int = 0
    #: Discontinuities that are not listed any more.
    passed: int = 0
    waiting: tuple[Segment, ...] = ()
    recent: tuple[Segment, ...] = ()

    @property
    def seconds(self) -> float:
        """Seconds of air that wait."""
        return sum(segment.seconds for segment in self.waiting)

    def name(self, number: int) -> str:
        return f"{self.stream}-{number:08d}.ts"


def encode(queue: Queue) -> dict[str, Any]:
    return asdict(queue)


def decode(stored: dict[str, Any]) -> Queue:
    """Raises `TypeError` or `KeyError` if it is another version's."""
    segments = {
        name: tuple(Segment(**segment) for segment in stored[name])
        for name in ("waiting", "recent")
    }
    return Queue(**{**stored, **segments})


def listed(playlist: str) -> list[Segment]:
    """Return the segments of the hub's playlist."""
    return [
        Segment(name.rpartition("/")[2], float(seconds), bool(broken))
        for broken, seconds, name in _ENTRY.findall(playlist)
    ]


def news(queue: Queue, window: Sequence[Segment], begin: int) -> tuple[list[Segment], int]:
    """Return the segments to take now, and how many were missed before them (-1: unknown).

    `begin`: how many of the window a new stream starts with. The first of the segments is
    marked if it does not continue the last one taken.
    """
    names = [segment.file for segment in window]
    missed = 0
    if queue.seen in names:
        new = list(window[names.index(queue.seen) + 1 :])
    elif queue.seen:
        new = list(window)
        missed = _between(queue.seen, names[0]) if names else 0
    else:
        new = list(window[-begin:])
    room, fitting = MAX_WAITING_S - queue.seconds, []
    for segment in new:
        room -= segment.seconds
        if room < 0:
            # It stays in the window meanwhile.
            break
        fitting.append(segment)
    if not fitting:
        return [], 0
    if missed:
        fitting[0] = replace(fitting[0], broken=True)
    return fitting, missed


def _between(seen: str, first: str) -> int:
    """Number of segments between the two; -1: they are not of one series."""
    one, two = _NUMBERED.fullmatch(seen), _NUMBERED.fullmatch(first)
    if one is None or two is None or one[1] != two[1] or int(two[2]) <= int(one[2]):
        return -1
    return int(two[2]) - int(one[2]) - 1


def take(queue: Queue, segment: Segment, *, file: str) -> Queue:
    """Add a segment of the window, which is kept as `file`."""
    # A stream can't be a discontinuity of nothing.
    kept = replace(segment, file=file, broken=segment.broken and bool(queue.taken))
    return replace(
        queue, seen=segment.file, taken=queue.taken + 1, waiting=(*queue.waiting, kept)
    )


def acknowledged(queue: Queue) -> Queue:
    """Record that the receiver has the first segment."""
    recent = (*queue.recent, queue.waiting[0])
    gone = recent[:-MAX_RECENT]
    return replace(
        queue,
        sent=queue.sent + 1,
        waiting=queue.waiting[1:],
        recent=recent[-MAX_RECENT:],
        passed=queue.passed + sum(segment.broken for segment in gone),
    )


def lost(queue: Queue) -> Queue:
    """Drop the first segment, whose file is gone; the next one is marked."""
    rest = queue.waiting[1:]
    if rest:
        rest = (replace(rest[0], broken=True), *rest[1:])
    return replace(queue, waiting=rest)


def playlist(queue: Queue) -> str:
    """Return the playlist that announces the first segment."""
    entries = (*queue.recent, *queue.waiting[:1])
    first = queue.sent - len(queue.recent)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        f"#EXT-X-TARGETDURATION:{TARGET_DURATION_S}",
        f"#EXT-X-MEDIA-SEQUENCE:{first}",
    ]
    if queue.passed:
        lines.append(f"#EXT-X-DISCONTINUITY-SEQUENCE:{queue.passed}")
    for number, segment in enumerate(entries, first):
        if segment.broken:
            lines.append("#EXT-X-DISCONTINUITY")
        lines += [f"#EXTINF:{segment.seconds:.6f},", queue.name(number)]
    return "\n".join(lines) + "\n"


def behind(queue: Queue | None, window: Sequence[Segment], begin: int) -> float:
    """Seconds of air from where an upload would continue to the newest segment's end."""
    if queue is None:
        return sum(segment.seconds for segment in window[-begin:])
    new, _ = news(queue, window, begin)
    return queue.seconds + sum(segment.seconds for segment in new)
