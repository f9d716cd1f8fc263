"""The one door to the runner's process: start it, hear it, end it and all that it started."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from streamsite.processes.priority import session_steps_back

RUNNER: Final = Path(__file__).with_name("runner.py")
#: Seconds between SIGINT and SIGKILL. The runner itself takes less than one.
GRACE: Final = 10.0
#: Bytes of memory that its own variables may take. (Not of addresses: deno reserves far more.)
MEMORY: Final = 2 << 30
#: Bytes that a job's files may exceed the most by: a merge writes both passes once more.
SLACK: Final = 64 << 20
#: Bytes of one message: a playlist's entries are the longest.
LONGEST_MESSAGE: Final = 16 << 20
#: Messages that wait for an answer, and those after which nothing comes.
QUESTIONS: Final = frozenset({"found", "chosen"})
LAST_WORDS: Final = frozenset({"looked", "about", "done", "failed", "cancelled"})


class RunnerError(Exception):
    """The runner could not be started, or said what can't be read."""


def limits(most_bytes: int) -> dict[str, int]:
    """Of the runner and all it starts, by their names in resource(3)."""
    return {
        "DATA": MEMORY,
        "FSIZE": most_bytes + SLACK if most_bytes else 1 << 62,
        "CORE": 0,
        "NOFILE": 1024,
    }


def environment(folder: Path, python: str) -> dict[str, str]:
    """All that it inherits. Its home is its folder: no configuration of anyone's is found."""
    # A newer environment goes before streamsite's own, whose deno serves where it has none.
    beside = dict.fromkeys(str(Path(each).parent) for each in (python, sys.executable))
    return {
        "PATH": os.pathsep.join((*beside, os.environ.get("PATH", os.defpath))),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "DENO_DIR": str(folder / "deno"),
        "LC_ALL": "C.UTF-8",
        "YTDLP_NO_PLUGINS": "1",
        "MALLOC_ARENA_MAX": "4",
    }


class Runner:
    """A running job: `with Runner(...) as runner`, at whose end nothing of it is left."""

    def __init__(self, job: Mapping[str, Any], *, folder: Path, python: str = "") -> None:
        self._job = dict(job)
        self._folder = folder
        self._python = python or sys.executable
        self._buffer = b""
        self.silent_since = time.monotonic()

    def __enter__(self) -> Self:
        reader, writer = os.pipe()
        try:
            self.process = subprocess.Popen(
                # -I: neither PYTHON* nor the user's own packages are looked at.
                (self._python, "-I", str(RUNNER), str(os.getpid()), str(writer)),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                env=environment(self._folder, self._python),
                pass_fds=(writer,),
                start_new_session=True,
            )
        except OSError as error:
            os.close(reader)
            raise RunnerError(f"{self._python} can't be started: {error.strerror}.") from None
        finally:
            os.close(writer)
        # FFmpeg works in it.
        session_steps_back(self.process.pid)
        self._reader = reader
        os.set_blocking(reader, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(reader, selectors.EVENT_READ)
        # The proxy's secret is in it: it goes this way and no other.
        self._say(json.dumps(self._job))
        return self

    def go_on(self) -> None:
        """The answer to what it asks."""
        self._say("")

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None  # noqa: S101 - for the type checker: a pipe
        # One that is gone is found to have ended.
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{line}\n".encode())
            self.process.stdin.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(grace=0.0)
        assert self.process.stdin is not None  # noqa: S101 - for the type checker: a pipe
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self._selector.close()
        os.close(self._reader)

    @property
    def pid(self) -> int:
        return self.process.pid

    def messages(self, within: float) -> Iterator[dict[str, Any]]:
        """What it says in the next `within` seconds at most; all that is there is handed on.

        Raises `RunnerError` for what is no message.
        """
        if not self._selector.select(within):
            return
        with suppress(BlockingIOError):
            while chunk := os.read(self._reader, 1 << 16):
                self._buffer += chunk
                if len(self._buffer) > LONGEST_MESSAGE:
                    raise RunnerError("It says far too much.")
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                # Neither NaN nor Infinity is a number to a database.
                message = _storable(json.loads(line, parse_constant=lambda _: None))
            except ValueError:
                raise RunnerError("It says what can't be read.") from None
            self.silent_since = time.monotonic()
            yield message

    def conclusion(self, within: float) -> dict[str, Any] | None:
        """Its last word, where nobody watches how far it is; {} if it ends without one.

        What it asks is granted. None: it takes longer than `within` seconds.
        """
        until = time.monotonic() + within
        while True:
            ended = self.ended
            for message in self.messages(0.0 if ended else 0.2):
                if message["kind"] in LAST_WORDS:
                    return message
                if message["kind"] in QUESTIONS:
                    self.go_on()
            if ended:
                return {}
            if time.monotonic() > until:
                return None

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def interrupt(self) -> None:
        """Ask it and what it started to end: part files stay."""
        self._signal(signal.SIGINT)

    def end(self, *, grace: float = GRACE) -> None:
        """Nothing of its session is left when this returns."""
        if not self.ended and grace:
            self._signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        # What it started may outlive it: the group is killed even where it is gone itself. A
        # group's number is not given to another while one of its members lives.
        sweep(self.pid, self._folder)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)

    def _signal(self, number: signal.Signals) -> None:
        # Before it is reaped, its number can't be another's; nor its group's: it leads it.
        if not self.ended:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def _storable(told: Any) -> Any:
    """Without what no database takes: NUL, and lone halves of a character (surrogates).

    Titles are the sites': one of theirs in a title must not cost the job.
    """
    match told:
        case str():
            return told.replace("\0", "").encode(errors="replace").decode()
        case list():
            return [_storable(each) for each in told]
        case dict():
            return {name: _storable(each) for name, each in told.items()}
        case _:
            return told


def sweep(session: int, folder: Path) -> int:
    """Kill what is left of a job's session; returns how many there were.

    All of them work in its folder: a session whose number another program has by now does not.
    """
    ended = 0
    for each in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(each.pid) == session and each.cwd() == str(folder):
                # psutil compares the start time: it is the very process that was looked at.
                each.kill()
                ended += 1
    return ended
