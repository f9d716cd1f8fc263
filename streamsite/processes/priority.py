"""Who gets the processor: what is on air first, and what can wait after it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

#: Of 0 (as all begin) to 19. At 10 it gets a tenth of what a process at 0 gets beside it: see
#: sched(7). The units in deploy/systemd have the same.
BEHIND: Final = 10


def step_back() -> None:
    """This process and those that it starts let others go first."""
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(mine, BEHIND))
    if os.getsid(0) == os.getpid():
        session_steps_back(os.getpid())


def session_steps_back(leader: int) -> bool:
    """The session of that process, which leads it, lets other sessions go first.

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
