"""A process that ends with its parent, even where the parent is killed."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

#: From linux/prctl.h.
PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with_parent(sig: signal.Signals, *, parent: int) -> None:
    """Have the kernel send us `sig` when the thread that forked us ends.

    `parent` is the pid we were forked from: if it is gone already, we go too.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if os.getppid() != parent:
        os.kill(os.getpid(), sig)
