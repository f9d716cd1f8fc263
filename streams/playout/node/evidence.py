"""Keeps what was on air around an incident: a still, and some seconds of the segments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from streams.playout.contract.ledger import Evidence, IncidentOpened
from streams.playout.contract.picture import Segment
from streams.playout.ffmpeg import hls_window
from streams.playout.ffmpeg.air_probe import AirDecoder, DecoderError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Incidents that are about what viewers see and hear.
ABOUT_THE_AIR: Final = frozenset({"picture", "sound"})
#: Segments of two seconds.
SEGMENTS: Final = 5
#: Pixels; some 20 kB in the database.
STILL_WIDTH: Final = 480
#: Bytes and seconds for which the files of a node are kept.
MAX_BYTES: Final = 200_000_000
MAX_AGE_S: Final = 14 * 86_400


@dataclass(frozen=True, slots=True)
class Keeper:
    """Takes evidence. Slow: it belongs into a thread of its own."""

    decoder: AirDecoder
    #: The folder of the files; None: only stills are kept.
    folder: Path | None

    def take(self, incident: IncidentOpened, at: float, hls: Path) -> Evidence | None:
        """Return what there is; None: nothing.

        `at`: when the incident began (monotonic). `hls`: the channel's window.
        """
        around = nearest(hls_window.listed(hls), at)
        if not around:
            return None
        try:
            still = self.decoder.still(around[-1].path, STILL_WIDTH) or b""
        except DecoderError as error:
            log.warning("evidence.no_still", channel=incident.channel, why=str(error))
            still = b""
        clip = ""
        if self.folder is not None and incident.subject in ABOUT_THE_AIR:
            name = f"{incident.channel}-{incident.subject}-{round(incident.at * 1000)}.ts"
            clip = name if self._kept(around, self.folder, name) else ""
        if not still and not clip:
            return None
        return Evidence(
            incident.channel, incident.run, incident.subject, incident.at, still, clip
        )

    @staticmethod
    def _kept(segments: Sequence[Segment], folder: Path, name: str) -> bool:
        draft = folder / f"{name}.draft"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                for segment in segments:
                    file.write(segment.path.read_bytes())
            draft.replace(folder / name)
            prune(folder, time.time())
        except OSError as error:
            # A full disk, or the window moved on: the still shows what matters.
            log.warning("evidence.no_clip", name=name, error=str(error))
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            return False
        return True


def nearest(segments: Sequence[Segment], at: float) -> list[Segment]:
    """Return the segments around a moment, in their order."""
    by_distance = sorted(segments, key=lambda one: abs(one.at + one.seconds / 2 - at))
    return sorted(by_distance[:SEGMENTS], key=lambda one: one.at)


def prune(folder: Path, now: float) -> None:
    """Remove the oldest files, so that the others stay within the bounds. Raises `OSError`."""
    files = sorted(
        ((path, path.stat()) for path in folder.iterdir()),
        key=lambda one: one[1].st_mtime,
        reverse=True,
    )
    total = 0
    for path, stat in files:
        total += stat.st_size
        if total > MAX_BYTES or now - stat.st_mtime > MAX_AGE_S:
            path.unlink(missing_ok=True)
