"""Looks at what the node's channels send, as viewers would."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from streams.playout.contract.air_flaws import DATED, Watched, advance, changed, exact
from streams.playout.contract.picture import Flaw, Inspection, Segment
from streams.playout.ffmpeg import hls_window
from streams.playout.ffmpeg.air_probe import AirDecoder, DecoderError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds: where a flaw begins or ends is known to two seconds before pictures tell more.
AROUND_S: Final = 3.0


class AirWatch:
    """Looks at every channel's newest segment; at more of them where something changed.

    Slow: `inspect` belongs into a thread of its own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.decoder = AirDecoder()
        #: What was seen up to the last inspection, and up to the one before it.
        self._states: dict[int, Watched] = {}
        self._earlier: dict[int, Watched] = {}
        #: Channels at which the decoder failed, the last one last.
        self._failed: list[int] = []
        self._fault = ""

    def close(self) -> None:
        """End its process, and a look that is under way in another thread."""
        self.decoder.close()

    def inspect(self, folders: Mapping[int, Path]) -> dict[int, Watched]:
        """Look at the channels with these HLS folders, and return what was seen so far.

        One at which the decoder fails ends the look and comes last in the next one: it hides no
        other channel, and a look waits for one answer at most.
        """
        if not folders:
            self.decoder.rest()
        for pk in self._states.keys() - folders.keys():
            del self._states[pk]
            self._earlier.pop(pk, None)
        self._failed = [pk for pk in self._failed if pk in folders]
        windows = {
            pk: segments
            for pk, folder in folders.items()
            if (segments := hls_window.listed(folder, self._clock))
            and self._is_news(pk, segments[-1])
        }
        ranks = {pk: rank for rank, pk in enumerate(self._failed)}
        for pk in sorted(windows, key=lambda pk: ranks.get(pk, -1)):
            self._failed = [other for other in self._failed if other != pk]
            try:
                (one,) = self.decoder.inspect(windows[pk][-1:])
                self._fault = ""
                if one is not None:
                    self._take(pk, windows[pk], one)
            except DecoderError as error:
                if str(error) != self._fault:
                    # Once for as long as it stays the same: looks come each ten seconds.
                    log.warning("air.not_watched", channel=pk, error=str(error))
                self._fault = str(error)
                self._failed.append(pk)
                break
        return dict(self._states)

    def _dated(self, before: Watched, after: Watched, segments: list[Segment]) -> Watched:
        """Date what has begun or ended by more pictures."""
        since, over = dict(after.since), dict(after.over)
        for flaw in DATED:
            if flaw in since and flaw not in before.since:
                since[flaw] = self._date(flaw, since[flaw], after, segments, begins=True)
            if flaw in over and over[flaw] != before.over.get(flaw):
                began, ended = over[flaw]
                if flaw not in before.since:
                    began = self._date(flaw, began, after, segments, begins=True)
                over[flaw] = began, self._date(flaw, ended, before, segments, begins=False)
        return replace(after, since=since, over=over)

    def _date(
        self, flaw: Flaw, at: float, state: Watched, segments: list[Segment], *, begins: bool
    ) -> float:
        """Return when the flaw began or ended, near `at`."""
        if state.last is None:
            return at
        around = [one for one in segments if abs(one.at + one.seconds / 2 - at) < AROUND_S]
        pictures = [picture for one in around for picture in self.decoder.pictures(one)]
        dated = exact(flaw, pictures, state.last.luma, begins=begins)
        return at if dated is None else dated

    def _is_news(self, pk: int, segment: Segment) -> bool:
        last = self._states.get(pk, Watched()).last
        return last is None or segment.at > last.at + segment.seconds / 2

    def _take(self, pk: int, segments: list[Segment], inspection: Inspection) -> None:
        state = self._states.get(pk, Watched())
        if changed(state, inspection):
            earlier = self._earlier.get(pk, Watched())
            begin = float("-inf") if earlier.last is None else earlier.last.at
            between = [
                one for one in segments if begin + one.seconds / 2 < one.at < inspection.at
            ]
            closer = self.decoder.inspect(between)
            seen = [one for one in closer if one is not None]
            after = self._dated(earlier, advance(earlier, [*seen, inspection]), segments)
        else:
            after = advance(state, [inspection])
        self._earlier[pk], self._states[pk] = state, after
