"""Lets FFmpeg oversleep, which saves a third of the CPU of hubs and pushers."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: From linux/prctl.h.
PR_SET_TIMERSLACK: Final = 29
#: Seconds by which the kernel may prolong a sleep, so that it wakes several processes at once.
#: FFmpeg paces by sleeping 10 ms until the next packet is due: 100 wake-ups a second become 9.
#: What it sends is at most so much later, and is never early.
SLACK_S: Final = 0.1

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def oversleeping() -> Iterator[None]:
    """Give the processes that this thread starts meanwhile `SLACK_S`; they keep it.

    A kernel that refuses changes nothing: they use more CPU.
    """
    _libc.prctl(PR_SET_TIMERSLACK, round(SLACK_S * 1_000_000_000), 0, 0, 0)
    try:
        yield
    finally:
        # 0 restores this thread's own.
        _libc.prctl(PR_SET_TIMERSLACK, 0, 0, 0, 0)
