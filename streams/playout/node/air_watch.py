"""Looks at what the node's channels send, as viewers would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streams.playout.contract.air_flaws import Watched, advance, changed
from streams.playout.contract.picture import Look, Segment
from streams.playout.ffmpeg import hls_window
from streams.playout.ffmpeg.air_probe import AirDecoder


class AirWatch:
    """Looks at every channel's newest segment; at more of them where something changed.

    Slow: `look` belongs into a thread of its own.
    """

    def __init__(self) -> None:
        self.decoder = AirDecoder()
        #: What was known after the last look, and after the one before it.
        self._known: dict[int, Watched] = {}
        self._earlier: dict[int, Watched] = {}

    def close(self) -> None:
        """End its process, and a look that is under way in another thread."""
        self.decoder.close()

    def look(self, folders: Mapping[int, Path]) -> dict[int, Watched]:
        """Look at the channels with these HLS folders. Raises `DecoderError`."""
        if not folders:
            self.decoder.rest()
        for pk in self._known.keys() - folders.keys():
            del self._known[pk]
            self._earlier.pop(pk, None)
        windows = {
            pk: segments
            for pk, folder in folders.items()
            if (segments := hls_window.listed(folder)) and self._is_news(pk, segments[-1])
        }
        newest = [segments[-1] for segments in windows.values()]
        looks = self.decoder.look(newest)
        for (pk, segments), one in zip(windows.items(), looks, strict=True):
            if one is not None:
                self._take(pk, segments, one)
        return dict(self._known)

    def _is_news(self, pk: int, segment: Segment) -> bool:
        last = self._known.get(pk, Watched()).last
        return last is None or segment.at > last.at + segment.seconds / 2

    def _take(self, pk: int, segments: list[Segment], look: Look) -> None:
        known = self._known.get(pk, Watched())
        if changed(known, look):
            earlier = self._earlier.get(pk, Watched())
            begin = float("-inf") if earlier.last is None else earlier.last.at
            between = [one for one in segments if begin + one.seconds / 2 < one.at < look.at]
            closer = self.decoder.look(between)
            seen = [one for one in closer if one is not None]
            after = advance(earlier, [*seen, look])
        else:
            after = advance(known, [look])
        self._earlier[pk], self._known[pk] = known, after
