"""Limits how many workers of a kind run at once on this machine."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

from django.conf import settings


@contextmanager
def slot(work: str, count: int) -> Iterator[bool]:
    """Takes one of `count` slots while the block runs; False if none is free.

    A slot is a lock on a file: the kernel releases it however the worker ends.
    """
    settings.RUN_DIR.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        for number in range(count):
            file = files.enter_context((settings.RUN_DIR / f"{work}-{number}.lock").open("wb"))
            if _locked(file):
                yield True
                return
        yield False


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
