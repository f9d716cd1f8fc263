"""Looks at what the node's channels send, as viewers would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streams.playout.contract.air_flaws import Watched, advance, changed
from streams.playout.contract.picture import Inspection, Segment
from streams.playout.ffmpeg import hls_window
from streams.playout.ffmpeg.air_probe import AirDecoder


class AirWatch:
    """Looks at every channel's newest segment; at more of them where something changed.

    Slow: `inspect` belongs into a thread of its own.
    """

    def __init__(self) -> None:
        self.decoder = AirDecoder()
        #: What was seen up to the last inspection, and up to the one before it.
        self._states: dict[int, Watched] = {}
        self._earlier: dict[int, Watched] = {}

    def close(self) -> None:
        """End its process, and a look that is under way in another thread."""
        self.decoder.close()

    def inspect(self, folders: Mapping[int, Path]) -> dict[int, Watched]:
        """Look at the channels with these HLS folders. Raises `DecoderError`."""
        if not folders:
            self.decoder.rest()
        for pk in self._states.keys() - folders.keys():
            del self._states[pk]
            self._earlier.pop(pk, None)
        windows = {
            pk: segments
            for pk, folder in folders.items()
            if (segments := hls_window.listed(folder)) and self._is_news(pk, segments[-1])
        }
        newest = [segments[-1] for segments in windows.values()]
        inspections = self.decoder.inspect(newest)
        for (pk, segments), one in zip(windows.items(), inspections, strict=True):
            if one is not None:
                self._take(pk, segments, one)
        return dict(self._states)

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
            after = advance(earlier, [*seen, inspection])
        else:
            after = advance(state, [inspection])
        self._earlier[pk], self._states[pk] = state, after
