"""Background work lets channels go first, in its own session and beside others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from conftest import need
from streamsite.processes.priority import BEHIND, session_steps_back
from streamsite.tests.waiting import until

PYTHON = (sys.executable, "-c")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def group() -> Iterator[psutil.Popen]:
    need(Path("/proc/self/autogroup").exists(), "autogroup in its kernel")
    waiting = psutil.Popen((*PYTHON, "input()"), stdin=subprocess.PIPE, start_new_session=True)
    yield waiting
    waiting.communicate(b"\n")


def niceness(pid: int) -> str:
    return Path(f"/proc/{pid}/autogroup").read_text().split()[-1]


def test_a_session_steps_back(group: psutil.Popen) -> None:
    assert niceness(group.pid) == "0"
    until(lambda: session_steps_back(group.pid), 10, "it is taken")
    assert niceness(group.pid) == str(BEHIND)


def test_what_is_gone_can_not() -> None:
    gone = subprocess.Popen((*PYTHON, ""))
    gone.wait()
    assert not session_steps_back(gone.pid)


STEPS_BACK = """
import os, subprocess, sys
from streamsite.processes.priority import step_back
step_back()
child = [sys.executable, "-c", "import os; print(os.getpriority(0, 0))"]
subprocess.run(child, check=True)
os.setpriority(0, 0, 15)
step_back()
print(os.getpriority(0, 0))
"""


def test_a_process_steps_back_with_those_it_starts_and_no_further_than_it_is() -> None:
    reported = subprocess.run(
        (*PYTHON, STEPS_BACK), check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    assert reported.split() == [str(max(mine, BEHIND)), "15"]
