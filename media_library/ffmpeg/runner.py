"""Runs FFmpeg and ffprobe for the library, with limits on access, time and resources.

The files come from strangers, so only known containers over known protocols are opened, in a
process with a minimal environment, low priority, and a deadline. Imports no Django.
"""

from __future__ import annotations

import os
import resource
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from media_library.location import LocalFile, Location, SignedUrl
from streamsite.processes.priority import session_steps_back
from streamsite.security import tls
from streamsite.security.secret import quoted_url

#: Allowed containers. Without this list, an HLS playlist renamed to .mp4 makes FFmpeg open any
#: address in it; a list of protocols alone does not prevent that.
CONTAINERS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,mxf,asf,ogg"
#: FFmpeg's message about any other container, after its name in brackets.
NOT_LISTED: Final = "Format not on whitelist"
#: The earlier message of FFmpeg 7.1 and later about an HLS playlist with a wrong name.
NOT_NAMED: Final = "Not detecting m3u8/hls"
#: Bytes of the last error output that are kept.
TAIL_BYTES: Final = 4000
#: Seconds in which a killed process has to end.
EXIT_TIMEOUT_S: Final = 5.0
#: Seconds between two calls of `watch`.
WATCH_INTERVAL_S: Final = 0.4
#: Maximum pixels of a picture: 8192 x 4320, the maximum of H.264 and HEVC at level 6.2.
MAX_PIXELS: Final = 8192 * 4320
#: Options before a source: larger pictures are refused; memory does not grow with the cores.
DECODE: Final = ("-max_pixels", str(MAX_PIXELS), "-threads", "4")


class ToolError(Exception):
    """FFmpeg or ffprobe failed. `str()` is a sentence for the operator."""


class ToolMissingError(ToolError):
    """The program is not on this machine."""


class ToolTooSlowError(ToolError):
    """It was stopped: out of time, or without output for too long."""


class ToolFailedError(ToolError):
    """It ended with a status other than 0; the sentence has its last error line."""


@dataclass(frozen=True, slots=True)
class Source:
    """Arguments that make FFmpeg read one file, and the descriptors that they use."""

    args: tuple[str, ...]
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits: wall-clock seconds, seconds without output, bytes of files, memory and stdout.

    CPU time of all threads is limited as well: to `seconds` on each core.
    """

    seconds: float
    silent_seconds: float | None = None
    file_bytes: int | None = None
    memory_bytes: int | None = None
    output_bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a file, in seconds."""

    start: float
    seconds: float


@contextmanager
def opened(
    location: Location, directives: str = "", window: Window | None = None
) -> Iterator[Source]:
    """Opens a location for FFmpeg. A signed URL is written into a pipe, never into argv.

    `directives` are further ffconcat lines about the file, used for signed URLs only. With a
    `window` (not for ffprobe) little more than the window and the file's index is read.
    """
    match location:
        case LocalFile(path):
            only = ("-protocol_whitelist", "file", "-format_whitelist", CONTAINERS)
            part = (
                ()
                if window is None
                else ("-ss", f"{window.start:.3f}", "-t", f"{window.seconds:.3f}")
            )
            # The prefix keeps names such as "-y" or "tcp:x" from being parsed.
            yield Source((*part, *only, "-i", f"file:{path}"))
        case SignedUrl(url):
            if window is not None:
                # ffconcat can't seek without lengths, but its files can.
                end = window.start + window.seconds
                directives += f"inpoint {window.start:.3f}\noutpoint {end:.3f}\n"
            plain = url.reveal()
            if plain.startswith("https:"):
                directives = tls.directives() + directives
            protocols = "file,https,tls,tcp" + (",http" if plain.startswith("http:") else "")
            reader, writer = os.pipe()
            try:
                with os.fdopen(writer, "w") as out:
                    # Only the outer file may be a list.
                    inner = f"option format_whitelist {CONTAINERS}\n"
                    out.write(
                        f"ffconcat version 1.0\nfile '{quoted_url(plain)}'\n{inner}{directives}"
                    )
                limits = ("-protocol_whitelist", protocols, "-format_whitelist")
                form = ("-f", "concat", "-safe", "0", *limits, f"concat,{CONTAINERS}")
                # No -t: FFmpeg 7 counts it from the keyframe before the window, FFmpeg 5 from
                # the window. The outpoint ends it in both.
                yield Source((*form, "-i", f"/dev/fd/{reader}"), (reader,))
            finally:
                os.close(reader)


def environment() -> dict[str, str]:
    """Returns the child's environment: no credentials, and English messages."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "AV_LOG_FORCE_NOCOLOR": "1",
        # Each thread would reserve 64 MB of address space, which counts against the limit.
        "MALLOC_ARENA_MAX": "4",
    }


def run(
    argv: Sequence[str],
    *,
    bounds: Bounds,
    descriptors: Sequence[int] = (),
    on_line: Callable[[str], None] | None = None,
    watch: Callable[[], None] | None = None,
    urgent: bool = False,
) -> str:
    """Runs the command and returns stdout; with `on_line`, each line is passed on instead.

    The process has lower priority than the channels, unless `urgent`: a channel waits for it.
    `watch` is called about every `WATCH_INTERVAL_S` seconds. Raises a `ToolError`; errors of
    `on_line` and `watch` end the process and are re-raised.
    """
    if shutil.which(argv[0]) is None:
        raise ToolMissingError(
            f"{argv[0]} is not installed on this machine: install it (apt install ffmpeg), or "
            "set FFMPEG_PATH."
        )
    process = subprocess.Popen(
        (*_prefix(urgent=urgent), *argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        pass_fds=tuple(descriptors),
        start_new_session=True,
    )
    try:
        if not urgent:
            session_steps_back(process.pid)
        _limit(process.pid, bounds)
        output, complaint = _read_outputs(process, argv[0], bounds, on_line, watch)
        status = process.wait(EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ToolTooSlowError(f"{argv[0]} closed its output but did not end.") from None
    finally:
        _end(process)
    if status != 0:
        raise ToolFailedError(
            _last_error_line(complaint) or f"{argv[0]} ended with status {status}."
        )
    return output


def _prefix(*, urgent: bool) -> tuple[str, ...]:
    """Low priority, because channels are on air, and a parent-death signal."""
    low = ("nice", "-n", "15") if not urgent and shutil.which("nice") else ()
    # A killed worker can't stop its child; the kernel does.
    bound = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
    return low + bound


def _limit(pid: int, bounds: Bounds) -> None:
    cpu_seconds = max(1, round(bounds.seconds)) * (os.cpu_count() or 1)
    limits = [
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_AS, bounds.memory_bytes),
    ]
    for resource_id, bound in limits:
        if bound is not None:
            try:
                resource.prlimit(pid, resource_id, (bound, bound))
            except ProcessLookupError:
                return


def _read_outputs(
    process: subprocess.Popen[bytes],
    name: str,
    bounds: Bounds,
    on_line: Callable[[str], None] | None,
    watch: Callable[[], None] | None,
) -> tuple[str, str]:
    """Reads both outputs until they close. Silence is measured on stdout, where progress is."""
    assert process.stdout is not None  # noqa: S101 - for the type checker: both are pipes
    assert process.stderr is not None  # noqa: S101 - for the type checker
    clock = _Clock(name, bounds, watch)
    output, complaint, rest = bytearray(), bytearray(), bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(process.stdout, selectors.EVENT_READ)
        pipes.register(process.stderr, selectors.EVENT_READ)
        while pipes.get_map():
            for ready, _ in pipes.select(clock.poll()):
                chunk = os.read(ready.fd, 65536)
                if not chunk:
                    pipes.unregister(ready.fileobj)
                elif ready.fileobj is process.stderr:
                    complaint = (complaint + chunk)[-TAIL_BYTES:]
                elif on_line is None:
                    output += chunk
                else:
                    clock.last_output = time.monotonic()
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        on_line(line.decode(errors="replace").strip())
            if max(len(output), len(rest)) > bounds.output_bytes:
                raise ToolFailedError(f"{name} wrote too much output about it.")
    return output.decode(errors="replace"), complaint.decode(errors="replace")


class _Clock:
    """Returns how long to wait for output, and ends a process that takes too long."""

    def __init__(self, name: str, bounds: Bounds, watch: Callable[[], None] | None) -> None:
        self._name = name
        self._bounds = bounds
        self._watch = watch
        self.last_output = self._watched = time.monotonic()
        self._end = self.last_output + bounds.seconds

    def poll(self) -> float:
        """Returns seconds until the next call is due. Raises `ToolTooSlowError`."""
        now = time.monotonic()
        silent = self._bounds.silent_seconds
        if now >= self._end:
            raise ToolTooSlowError(
                f"{self._name} was stopped: it took more than {self._bounds.seconds:.0f} s."
            )
        if silent is not None and now >= self.last_output + silent:
            raise ToolTooSlowError(f"{self._name} was stopped: no progress for {silent:.0f} s.")
        wait = self._end - now
        if silent is not None:
            wait = min(wait, self.last_output + silent - now)
        if self._watch is None:
            return wait
        if now >= self._watched + WATCH_INTERVAL_S:
            self._watched = now
            self._watch()
        return min(wait, WATCH_INTERVAL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the process group; a process that ended by itself is only closed.

    SIGKILL, because FFmpeg would complete its file first, and that is discarded.
    """
    if process.poll() is None:
        # Not reaped yet, so the pid can't belong to another process.
        os.killpg(process.pid, signal.SIGKILL)
        # A process that waits in the kernel for a disk ends when the kernel lets it.
        with suppress(subprocess.TimeoutExpired):
            process.wait(EXIT_TIMEOUT_S)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _last_error_line(complaint: str) -> str:
    """Returns the last error line; FFmpeg's first lines are often only consequences.

    The message about a refused container appears only once, so it is searched in all lines.
    """
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    marks = (NOT_LISTED, NOT_NAMED, *tls.REFUSALS)
    refused = [line for line in lines if any(mark in line for mark in marks)]
    return (refused or lines)[-1][:300] if lines else ""
