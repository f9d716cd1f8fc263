"""Has segments decoded by a process that lasts (`air_decoder`), and waits with a bound."""

from __future__ import annotations

import base64
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog

from streams.playout.contract.picture import Inspection, Segment
from streams.playout.ffmpeg import air_decoder
from streams.playout.ffmpeg.process import INHERITED

T = TypeVar("T")

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds for one answer; measured: 0.3 for the start and 0.011 for each segment.
TIMEOUT_S: Final = 20.0
#: Seconds between two pictures where a flaw begins or ends.
STEP_S: Final = 0.25
#: Bytes of an answer that are read at once.
CHUNK: Final = 1 << 16
#: Bytes of the longest answer that is taken: a still has some 40,000.
MAX_ANSWER: Final = 1 << 22


class DecoderError(Exception):
    """The decoder has ended or does not answer. `str()` is a sentence."""


class AirDecoder:
    """The decoder's process, started when it is needed and ended when it is not."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False

    def inspect(self, segments: Sequence[Segment]) -> list[Inspection | None]:
        """Return a look at each segment, in their order. None: it can't be decoded.

        Raises `DecoderError`.
        """
        if not segments:
            return []
        paths = [str(segment.path) for segment in segments]
        return self._query(
            {"inspect": paths},
            lambda answer: [
                None
                if one is None
                else Inspection(
                    segment.at, base64.b64decode(one[0]), tuple(float(db) for db in one[1])
                )
                for segment, one in zip(segments, answer, strict=True)
            ],
        )

    def pictures(self, segment: Segment) -> list[tuple[float, bytes]]:
        """Return moments and pictures within a segment. Raises `DecoderError`."""
        return self._query(
            {"pictures": str(segment.path), "step": STEP_S},
            lambda answer: [
                (segment.at + number * STEP_S, base64.b64decode(one))
                for number, one in enumerate(answer)
            ],
        )

    def still(self, path: Path, width: int) -> bytes | None:
        """Return the first picture of a segment as a JPEG. Raises `DecoderError`."""
        return self._query(
            {"still": str(path), "width": width},
            lambda answer: None if answer is None else base64.b64decode(answer),
        )

    def close(self) -> None:
        """End the process for good. A call that waits for its answer, in a thread, fails."""
        self._over = True
        self.rest()

    def rest(self) -> None:
        """End the process until it is needed again."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    # A request that it has not read can't be written any more.
                    with suppress(OSError):
                        pipe.close()

    def _query(self, request: dict[str, Any], parse: Callable[[Any], T]) -> T:
        try:
            process = self._started()
            line = self._answer(process, json.dumps(request).encode() + b"\n")
            return parse(json.loads(line))
        except (DecoderError, OSError, ValueError, TypeError, LookupError) as error:
            self.rest()
            raise DecoderError(f"The air can't be looked at: {error}") from error

    def _started(self) -> subprocess.Popen[bytes]:
        if self._over:
            raise DecoderError("the supervisor ends.")
        if self._process is None:
            # -P: its folder holds modules whose names are those of others.
            self._process = subprocess.Popen(
                [sys.executable, "-P", air_decoder.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in INHERITED if name in os.environ}
                # One pool of memory: there is one thread that matters.
                | {"MALLOC_ARENA_MAX": "1"},
            )
            if self._over:
                # Closed by the other thread meanwhile.
                self.rest()
                raise DecoderError("the supervisor ends.")
        return self._process

    @staticmethod
    def _answer(process: subprocess.Popen[bytes], request: bytes) -> bytes:
        """Write the request and return the answer's line."""
        if process.stdin is None or process.stdout is None:
            raise DecoderError("it has no pipes.")
        process.stdin.write(request)
        process.stdin.flush()
        ends, line = time.monotonic() + TIMEOUT_S, b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, ends - time.monotonic())):
                    raise DecoderError(f"it did not answer within {TIMEOUT_S:.0f} seconds.")
                if not (part := os.read(process.stdout.fileno(), CHUNK)):
                    raise DecoderError("it has ended.")
                line += part
                if len(line) > MAX_ANSWER:
                    raise DecoderError("its answer has no end.")
        return line
