"""One download in a process of its own: `python -I runner.py PARENT MESSAGES < job.json`.

It imports nothing of streamsite, so that any virtual environment with yt-dlp can run it. The
job comes as a line of JSON on stdin: what yt-dlp's parameters are was decided before. What
happens is told as JSON lines on the descriptor MESSAGES; to what is asked there ("found",
"chosen") an empty line on stdin is the answer. SIGINT and SIGTERM end it within a second, part
files kept; it dies with the thread that started it (PARENT is the pid of that).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

#: From linux/prctl.h.
PR_SET_PDEATHSIG: Final = 1
#: Seconds that yt-dlp has for an orderly end after a signal. Its threads may take far longer.
GRACE: Final = 0.4
#: Seconds between two words about the progress.
EVERY: Final = 0.25
#: Warnings that are kept, and characters of each.
WARNINGS: Final = 20
LONGEST: Final = 500
#: Of each page of a site that yt-dlp does not know: whoever asked for it knows.
_NOTHING_NEW: Final = "Falling back on generic information extractor"
_RETRYING: Final = re.compile(r"Retrying.*?\((\d+)/(\d+)\)")


def live_and_die(parent: int, limits: Mapping[str, int]) -> None:
    """End with the worker; never take more than the job may. Before anything else is loaded."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("The worker is gone.")
    for name, most in limits.items():
        what = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(what)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))
    for number in (signal.SIGINT, signal.SIGTERM):
        # A worker ignores SIGINT, and that would be inherited.
        signal.signal(number, _interrupted)


def _interrupted(number: int, _frame: object) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)

    def end() -> None:
        time.sleep(GRACE)
        # Fragments on their way hold Python's own end back; their part files stay as they are.
        os._exit(128 + number)

    threading.Thread(target=end, daemon=True).start()
    raise KeyboardInterrupt


class Teller:
    """Writes the messages. From any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._next = 0.0

    def __call__(self, kind: str, **what: Any) -> None:
        line = json.dumps({"kind": kind, **what}, default=str).encode() + b"\n"
        # A worker that no longer reads is gone, and this process with it.
        with self._lock, contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, line)

    def ask(self, kind: str, **what: Any) -> None:
        """Tell, and wait until the worker says that it may go on."""
        self(kind, **what)
        if not sys.stdin.readline():
            raise KeyboardInterrupt

    def now_and_then(self, kind: str, **what: Any) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + EVERY
            self(kind, **what)


class Log:
    """What yt-dlp says, as its `logger`. Debug and info are of no interest to anyone here."""

    def __init__(self, tell: Teller) -> None:
        self._tell = tell
        self.warnings: list[str] = []
        self.error_said = ""

    def debug(self, message: str) -> None:
        self._retry(message)

    def info(self, message: str) -> None:
        self._retry(message)

    def warning(self, message: str, **_: object) -> None:
        self._retry(message)
        if _NOTHING_NEW in message:
            return
        self.warnings = [*self.warnings, message[:LONGEST]][-WARNINGS:]

    def error(self, message: str) -> None:
        self.error_said = message[:LONGEST]

    def _retry(self, message: str) -> None:
        if found := _RETRYING.search(message):
            self._tell("retry", number=int(found[1]), of=int(found[2]))


def main() -> int:
    parent, messages = int(sys.argv[1]), int(sys.argv[2])
    tell = Teller(messages)
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    live_and_die(parent, job["limits"])
    os.chdir(job["folder"])
    log = Log(tell)
    try:
        _run(job, tell, log)
    except KeyboardInterrupt:
        tell("cancelled")
        return 130
    except BaseException as error:  # noqa: BLE001 - the last place where it can be told
        tell("failed", **_told(error, log))
        return 1
    return 0


def _told(error: BaseException, log: Log) -> dict[str, Any]:
    """The cause behind yt-dlp's own wrapping, and what it warned of before."""
    inner = getattr(error, "exc_info", None)
    cause = inner[1] if inner and inner[1] is not None else error
    text = str(cause) or str(error) or type(cause).__name__
    return {
        "code": getattr(error, "code_of_ours", ""),
        "begins": getattr(error, "begins", None),
        "type": type(cause).__name__,
        "text": text[: 4 * LONGEST],
        # As yt-dlp put it, with the step that failed.
        "said": log.error_said,
        "warnings": log.warnings,
    }


def _run(job: Mapping[str, Any], tell: Teller, log: Log) -> None:
    # Not before: what it takes counts against the limits, and a signal ends it.
    spec = spec_from_file_location("fetch", Path(__file__).with_name("runner_ytdlp.py"))
    assert spec is not None  # noqa: S101 - for the type checker
    assert spec.loader is not None  # noqa: S101
    fetch = module_from_spec(spec)
    spec.loader.exec_module(fetch)
    fetch.run(job, tell, log)


if __name__ == "__main__":
    sys.exit(main())
