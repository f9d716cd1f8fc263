"""Makes slates in the background: each takes seconds, on a busy machine minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import structlog

from media_library.conform.slate import Slate
from media_library.house_format import HouseFormat
from streams.planning import plans
from streams.programme.item import Item

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Slates that are made at the same time: a slow one must not hold up all others.
WORKERS: Final = 2
#: Seconds after which a failed slate is tried again.
RETRY_S: Final = 30.0
BEING_MADE: Final = "The slate is being made. The channel starts as soon as it is ready."


class SlateMaker:
    """Makes slates. `find` never blocks; `changed` is called in another thread after each."""

    def __init__(self, changed: Callable[[], object] = lambda: None) -> None:
        self._changed = changed
        self._workers = ThreadPoolExecutor(WORKERS, "slates")
        self._making: dict[tuple[HouseFormat, Slate], tuple[float, Future[Item]]] = {}

    def find(self, house_format: HouseFormat, which: Slate = Slate.PAUSE) -> Item | str:
        """Return the slate, or why there is none as a sentence. Starts making a missing one."""
        key = (house_format.bare, which)
        if (item := plans.made_slate(house_format, which)) is not None:
            self._making.pop(key, None)
            return item
        since, making = self._making.get(key, (0.0, None))
        failed = making is not None and making.done()
        if making is None or (failed and time.monotonic() - since > RETRY_S):
            making = self._workers.submit(plans.slate, *key)
            self._making[key] = time.monotonic(), making
            making.add_done_callback(self._done)
        if failed and making.done() and (error := making.exception()) is not None:
            return f"The slate can't be made: {error}"
        return BEING_MADE

    def _done(self, making: Future[Item]) -> None:
        if not making.cancelled() and (error := making.exception()) is not None:
            log.warning("slate.not_made", fault=str(error))
        self._changed()

    def close(self) -> None:
        """Cancel pending work. A slate in progress remains a draft until it is complete."""
        self._workers.shutdown(wait=False, cancel_futures=True)
