"""A process that no longer turns ends, and says where it stood."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

HANGS = """
from streamsite.processes import watchdog
def hang():
    while True:
        pass
watchdog.report()
watchdog.expect(1)
hang()
"""


def test_a_process_that_hangs_ends_with_a_traceback() -> None:
    ended = subprocess.run(
        (sys.executable, "-c", HANGS), cwd=Path(__file__).parents[3],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGALRM
    assert "in hang" in ended.stderr
