"""One download in a process of its own: `python -I runner.py PARENT MESSAGES < job.json`.

It imports nothing of streamsite, so that any virtual environment with yt-dlp can run it. The
job is a line of JSON on stdin; it contains yt-dlp's parameters. Events are written as JSON
lines to the descriptor MESSAGES; two of them ("extracted", "chosen") are questions, and the
answer is an empty line on stdin. SIGINT and SIGTERM end the process within a second, and keep
part files; it dies with the thread that started it (PARENT is that thread's pid).
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
#: Seconds for yt-dlp's orderly end after a signal. Its threads may take far longer.
EXIT_TIMEOUT_S: Final = 0.4
#: Seconds between two progress messages.
PROGRESS_INTERVAL_S: Final = 0.25
#: Maximum number of warnings, and characters of each.
MAX_WARNINGS: Final = 20
MAX_CHARS: Final = 500
#: Logged for each page of an unknown site: the user knows that.
_NOTHING_NEW: Final = "Falling back on generic information extractor"
_RETRYING: Final = re.compile(r"Retrying.*?\((\d+)/(\d+)\)")


def live_and_die(parent: int, limits: Mapping[str, int]) -> None:
    """Ends with the worker, and applies the job's limits. Called before other imports."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("The worker is gone.")
    for name, limit in limits.items():
        resource_id = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(resource_id)
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource_id, (bound, bound))
    for number in (signal.SIGINT, signal.SIGTERM):
        # A worker ignores SIGINT, and children inherit that.
        signal.signal(number, _interrupted)


def _interrupted(number: int, _frame: object) -> None:
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)

    def end() -> None:
        time.sleep(EXIT_TIMEOUT_S)
        # Pending fragments block Python's own exit; their part files stay as they are.
        os._exit(128 + number)

    threading.Thread(target=end, daemon=True).start()
    raise KeyboardInterrupt


class Messenger:
    """Sends messages, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._next = 0.0

    def __call__(self, kind: str, **what: Any) -> None:
        line = json.dumps({"kind": kind, **what}, default=str).encode() + b"\n"
        # A worker that no longer reads is dead, and this process ends with it.
        with self._lock, contextlib.suppress(BrokenPipeError):
            os.write(self._descriptor, line)

    def request(self, kind: str, **what: Any) -> None:
        """Sends a message and waits for the worker's answer."""
        self(kind, **what)
        if not sys.stdin.readline():
            raise KeyboardInterrupt

    def now_and_then(self, kind: str, **what: Any) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_INTERVAL_S
            self(kind, **what)


class Log:
    """yt-dlp's `logger`: collects warnings and the last error; ignores debug and info."""

    def __init__(self, send: Messenger) -> None:
        self._send = send
        self.warnings: list[str] = []
        self.last_error = ""

    def debug(self, message: str) -> None:
        self._retry(message)

    def info(self, message: str) -> None:
        self._retry(message)

    def warning(self, message: str, **_: object) -> None:
        self._retry(message)
        if _NOTHING_NEW in message:
            return
        self.warnings = [*self.warnings, message[:MAX_CHARS]][-MAX_WARNINGS:]

    def error(self, message: str) -> None:
        self.last_error = message[:MAX_CHARS]

    def _retry(self, message: str) -> None:
        if match := _RETRYING.search(message):
            self._send("retry", number=int(match[1]), of=int(match[2]))


def main() -> int:
    parent, messages = int(sys.argv[1]), int(sys.argv[2])
    send = Messenger(messages)
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    live_and_die(parent, job["limits"])
    os.chdir(job["folder"])
    log = Log(send)
    try:
        _run(job, send, log)
    except KeyboardInterrupt:
        send("cancelled")
        return 130
    except BaseException as error:  # noqa: BLE001 - the last place to report it
        send("failed", **_failure(error, log))
        return 1
    return 0


def _failure(error: BaseException, log: Log) -> dict[str, Any]:
    """Returns the cause behind yt-dlp's wrapper exception, and the warnings before it."""
    inner = getattr(error, "exc_info", None)
    cause = inner[1] if inner and inner[1] is not None else error
    text = str(cause) or str(error) or type(cause).__name__
    return {
        "code": getattr(error, "code_of_ours", ""),
        "begins": getattr(error, "begins", None),
        "type": type(cause).__name__,
        "text": text[: 4 * MAX_CHARS],
        # yt-dlp's message, with the step that failed.
        "logged": log.last_error,
        "warnings": log.warnings,
    }


def _run(job: Mapping[str, Any], send: Messenger, log: Log) -> None:
    # Imported late: its memory counts against the limits, and a signal can end it.
    spec = spec_from_file_location("fetch", Path(__file__).with_name("runner_ytdlp.py"))
    assert spec is not None  # noqa: S101 - for the type checker
    assert spec.loader is not None  # noqa: S101 - for the type checker
    fetch = module_from_spec(spec)
    spec.loader.exec_module(fetch)
    fetch.run(job, send, log)


if __name__ == "__main__":
    sys.exit(main())
