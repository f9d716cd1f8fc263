"""The runner's process: starts it, reads its messages, ends it and all its children."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil
from django.conf import settings

from media_library.downloads import cookies
from media_library.downloads.errors import UPCOMING
from media_library.downloads.options import PROTOCOLS, Place
from media_library.downloads.proxy import Proxy, Seen
from streamsite.processes.priority import session_steps_back
from streamsite.security.ssrf import Rules

RUNNER: Final = Path(__file__).with_name("runner.py")
#: Seconds between SIGINT and SIGKILL. The runner itself needs less than one.
EXIT_TIMEOUT_S: Final = 10.0
#: Bytes of memory for its data. (Not for address space: deno reserves far more.)
MAX_MEMORY_BYTES: Final = 2 << 30
#: Bytes by which a job's files may exceed the maximum: a merge writes both passes again.
FILE_SLACK_BYTES: Final = 64 << 20
#: Maximum bytes of one message: a playlist's entries are the longest.
MAX_MESSAGE_BYTES: Final = 16 << 20
#: Messages that wait for an answer, and final messages.
QUESTIONS: Final = frozenset({"extracted", "chosen"})
FINAL_MESSAGES: Final = frozenset({"inspected", "about", "done", "failed", "cancelled"})


class RunnerError(Exception):
    """The runner could not be started, or sent an invalid message."""


def limits(most_bytes: int) -> dict[str, int]:
    """Returns the limits of the runner and its children, by their names in resource(3)."""
    return {
        "DATA": MAX_MEMORY_BYTES,
        "FSIZE": most_bytes + FILE_SLACK_BYTES if most_bytes else 1 << 62,
        "CORE": 0,
        "NOFILE": 1024,
    }


def environment(folder: Path, python: str) -> dict[str, str]:
    """Returns the environment. The folder is its home: no user configuration is read."""
    # A newer environment precedes streamsite's own, which provides deno if it has none.
    beside = dict.fromkeys(
        str(Path(executable).parent) for executable in (python, sys.executable)
    )
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
    """A running job: use it as a context manager; its whole session has ended afterwards."""

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
                # -I: ignores PYTHON* and the user's own packages.
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
        # FFmpeg runs in it.
        session_steps_back(self.process.pid)
        self._reader = reader
        os.set_blocking(reader, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(reader, selectors.EVENT_READ)
        # It contains the proxy's secret, so stdin is used and not argv.
        self._send(json.dumps(self._job))
        return self

    def go_on(self) -> None:
        """Answers a question of the runner: it continues."""
        self._send("")

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None  # noqa: S101 - for the type checker: a pipe
        # A process that has ended is detected elsewhere.
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
        """Yields its messages, waiting for `within` seconds at most.

        Raises `RunnerError` for an invalid message.
        """
        if not self._selector.select(within):
            return
        with suppress(BlockingIOError):
            while chunk := os.read(self._reader, 1 << 16):
                self._buffer += chunk
                if len(self._buffer) > MAX_MESSAGE_BYTES:
                    raise RunnerError("It sent too long a message.")
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                # Databases accept neither NaN nor Infinity.
                message = storable(json.loads(line, parse_constant=lambda _: None))
            except ValueError:
                raise RunnerError("It sent an invalid message.") from None
            self.silent_since = time.monotonic()
            yield message

    def conclusion(self, within: float) -> dict[str, Any] | None:
        """Returns its final message, ignoring progress; {} if it ends without one.

        Questions are answered. None: it takes longer than `within` seconds.
        """
        until = time.monotonic() + within
        while True:
            ended = self.ended
            for message in self.messages(0.0 if ended else 0.2):
                if message["kind"] in FINAL_MESSAGES:
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

    def end(self, *, grace: float = EXIT_TIMEOUT_S) -> None:
        """Ends all processes of its session."""
        if not self.ended and grace:
            self._signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        # Its children may outlive it: the group is killed even if the leader has ended. A
        # group's number is not reused while one of its members lives.
        sweep(self.pid, self._folder)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(EXIT_TIMEOUT_S)

    def _signal(self, number: signal.Signals) -> None:
        # Before it is reaped, its pid can't be reused, nor its group's: it leads the group.
        if not self.ended:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)


@contextmanager
def behind_proxy(
    order: Callable[[Place], dict[str, Any]],
    folder: Path,
    python: str,
    rules: Rules,
    *,
    site: str = "",
    any_site: bool = False,
    max_bytes: int,
) -> Iterator[tuple[Runner, Seen]]:
    """Runs yt-dlp in that folder, with the site's cookies, behind a proxy of its own.

    `order` returns the mode, the address and yt-dlp's parameters. The proxy passes on twice
    `max_bytes`: both passes, and some bytes for pages.
    """
    lent = cookies.lent(site, folder) if site else nullcontext(enter_result=False)
    with Proxy(rules, most_bytes=2 * max_bytes) as proxy, lent as have_cookies:
        place = Place(
            folder=str(folder),
            proxy=proxy.url.reveal(),
            ffmpeg=shutil.which(settings.FFMPEG_PATH) or settings.FFMPEG_PATH,
            any_site=any_site,
            cookies=have_cookies,
        )
        job = {
            "folder": str(folder),
            "limits": limits(max_bytes),
            "most_bytes": max_bytes,
            "protocols": PROTOCOLS,
            "upcoming": UPCOMING,
            **order(place),
        }
        with Runner(job, folder=folder, python=python) as runner:
            yield runner, proxy.seen


def storable(value: Any) -> Any:
    """Removes characters that databases refuse: NUL and lone surrogates.

    Titles come from sites: such a character must not fail the job.
    """
    match value:
        case str():
            return value.replace("\0", "").encode(errors="replace").decode()
        case list():
            return [storable(item) for item in value]
        case dict():
            return {name: storable(item) for name, item in value.items()}
        case _:
            return value


def sweep(session: int, folder: Path) -> int:
    """Kills the rest of a job's session; returns the number of processes.

    They all work in its folder, which distinguishes them from a reused session number.
    """
    ended = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session and process.cwd() == str(folder):
                # psutil compares the start time: it is the same process.
                process.kill()
                ended += 1
    return ended
