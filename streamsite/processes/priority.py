"""Priorities of the processor: channels on air first, background work after them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

#: The niceness of background work, from 0 (the default) to 19. At 10 it gets a tenth of the
#: processor time of a process at 0 beside it: see sched(7). The units in deploy/systemd have
#: the same.
BEHIND: Final = 10


def step_back() -> None:
    """Lowers the priority of this process and of those that it starts."""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(mine, BEHIND))
    if os.getsid(0) == os.getpid():
        session_steps_back(os.getpid())


def session_steps_back(leader: int) -> bool:
    """Lowers the priority of the session that the process leads.

    Linux shares a processor among sessions before it looks at niceness within one (autogroup
    in sched(7)): without this an encoder in a session of its own has as much as a channel.
    False where the kernel has no such groups, or does not take it: it takes one such order in
    a tenth of a second from who is not root.
    """
    try:
        Path(f"/proc/{leader}/autogroup").write_text(str(BEHIND))
    except OSError:
        return False
    return True
