"""The library's door to FFmpeg and ffprobe: what they may read, how long, and with what limits.

The files come from strangers, so only known containers over known protocols are opened, in a
process with a minimal environment, little priority, and an end. Imports no Django.
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

#: Containers a file of the library may be. Without this list an HLS playlist renamed .mp4
#: makes FFmpeg open whatever stands in it; a list of protocols alone does not stop that.
CONTAINERS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,mxf,asf,ogg"
#: What FFmpeg says of any other container, behind its name in brackets.
NOT_LISTED: Final = "Format not on whitelist"
#: From 7.1 on, of an HLS playlist that does not call itself one: the same, said earlier.
NOT_NAMED: Final = "Not detecting m3u8/hls"
#: Bytes of the last error output that are kept.
TAIL: Final = 4000
#: Seconds a killed process may take to be gone.
GRACE: Final = 5.0
#: Seconds between two calls of a `watch`.
WATCH_EVERY: Final = 0.4
#: Pixels of a picture: 8192 x 4320, the most H.264 and HEVC know at level 6.2.
LARGEST: Final = 8192 * 4320
#: Before a source: larger pictures are refused, and memory does not grow with the cores.
DECODE: Final = ("-max_pixels", str(LARGEST), "-threads", "4")


class ToolError(Exception):
    """FFmpeg or ffprobe did not do its work. `str()` of it is a sentence for the operator."""


class ToolMissingError(ToolError):
    """The program is not on this machine."""


class ToolTooSlowError(ToolError):
    """It was stopped: out of time, or silent for too long."""


class ToolFailedError(ToolError):
    """It ended with a status other than 0; its last words are in the sentence."""


@dataclass(frozen=True, slots=True)
class Source:
    """Arguments that make FFmpeg read one file, and the descriptors they speak of."""

    args: tuple[str, ...]
    descriptors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds by the clock, seconds without a word, bytes in files, of memory, on stdout.

    What all its threads compute is bounded as well: by the seconds on each of the cores.
    """

    seconds: float
    silent_seconds: float | None = None
    file_bytes: int | None = None
    memory_bytes: int | None = None
    said_bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a file, in seconds."""

    start: float
    seconds: float


@contextmanager
def opened(
    location: Location, directives: str = "", window: Window | None = None
) -> Iterator[Source]:
    """How FFmpeg opens a location. A signed URL is written into a pipe, never into argv.

    `directives` are further ffconcat lines about the file; they count for signed URLs only.
    Of a `window` (not for ffprobe) little more is read than itself and the file's index.
    """
    match location:
        case LocalFile(path):
            only = ("-protocol_whitelist", "file", "-format_whitelist", CONTAINERS)
            part = (
                ()
                if window is None
                else ("-ss", f"{window.start:.3f}", "-t", f"{window.seconds:.3f}")
            )
            # The prefix keeps a name such as "-y" or "tcp:x" a name.
            yield Source((*part, *only, "-i", f"file:{path}"))
        case SignedUrl(url):
            if window is not None:
                # ffconcat can't be sought in without lengths, but its files can.
                end = window.start + window.seconds
                directives += f"inpoint {window.start:.3f}\noutpoint {end:.3f}\n"
            plain = url.reveal()
            if plain.startswith("https:"):
                directives = tls.directives() + directives
            protocols = "file,https,tls,tcp" + (",http" if plain.startswith("http:") else "")
            reader, writer = os.pipe()
            try:
                with os.fdopen(writer, "w") as out:
                    # The list may be one; what is in it may not.
                    inner = f"option format_whitelist {CONTAINERS}\n"
                    out.write(
                        f"ffconcat version 1.0\nfile '{quoted_url(plain)}'\n{inner}{directives}"
                    )
                limits = ("-protocol_whitelist", protocols, "-format_whitelist")
                form = ("-f", "concat", "-safe", "0", *limits, f"concat,{CONTAINERS}")
                # No -t: FFmpeg 7 counts it from the keyframe before the window, 5 from the
                # window. The outpoint ends it in both.
                yield Source((*form, "-i", f"/dev/fd/{reader}"), (reader,))
            finally:
                os.close(reader)


def environment() -> dict[str, str]:
    """All that a child inherits: no credentials, and English messages."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "AV_LOG_FORCE_NOCOLOR": "1",
        # Each thread would reserve 64 MB of addresses, which count against the bound.
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
    """Run to the end and return stdout; with `on_line`, each line of it is handed on instead.

    What is on air goes first, unless it is `urgent`: a channel waits for it. `watch` is called
    about every `WATCH_EVERY` seconds, said or silent. Raises a `ToolError`; whatever `on_line`
    or `watch` raise ends the process and goes on up.
    """
    if shutil.which(argv[0]) is None:
        raise ToolMissingError(
            f"{argv[0]} is not on this machine: install it (apt install ffmpeg), or set "
            "FFMPEG_PATH."
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
        said, complaint = _listen(process, argv[0], bounds, on_line, watch)
        status = process.wait(GRACE)
    except subprocess.TimeoutExpired:
        raise ToolTooSlowError(f"{argv[0]} closed its output but did not end.") from None
    finally:
        _end(process)
    if status != 0:
        raise ToolFailedError(
            _last_words(complaint) or f"{argv[0]} ended with status {status}."
        )
    return said


def _prefix(*, urgent: bool) -> tuple[str, ...]:
    """Little priority, for channels are on the air meanwhile; and no life after ours."""
    low = ("nice", "-n", "15") if not urgent and shutil.which("nice") else ()
    # A worker that is killed can't stop its child; the kernel does.
    bound = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
    return low + bound


def _limit(pid: int, bounds: Bounds) -> None:
    cpu_seconds = max(1, round(bounds.seconds)) * (os.cpu_count() or 1)
    wanted = [
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, bounds.file_bytes),
        (resource.RLIMIT_AS, bounds.memory_bytes),
    ]
    for what, most in wanted:
        if most is not None:
            try:
                resource.prlimit(pid, what, (most, most))
            except ProcessLookupError:
                return


def _listen(
    process: subprocess.Popen[bytes],
    name: str,
    bounds: Bounds,
    on_line: Callable[[str], None] | None,
    watch: Callable[[], None] | None,
) -> tuple[str, str]:
    """Read both outputs until they close. Silence is measured on stdout, where progress is."""
    assert process.stdout is not None  # noqa: S101 - for the type checker: both are pipes
    assert process.stderr is not None  # noqa: S101
    clock = _Clock(name, bounds, watch)
    said, complaint, rest = bytearray(), bytearray(), bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(process.stdout, selectors.EVENT_READ)
        pipes.register(process.stderr, selectors.EVENT_READ)
        while pipes.get_map():
            for ready, _ in pipes.select(clock.look()):
                chunk = os.read(ready.fd, 65536)
                if not chunk:
                    pipes.unregister(ready.fileobj)
                elif ready.fileobj is process.stderr:
                    complaint = (complaint + chunk)[-TAIL:]
                elif on_line is None:
                    said += chunk
                else:
                    clock.heard = time.monotonic()
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        on_line(line.decode(errors="replace").strip())
            if max(len(said), len(rest)) > bounds.said_bytes:
                raise ToolFailedError(f"{name} said far too much about it.")
    return said.decode(errors="replace"), complaint.decode(errors="replace")


class _Clock:
    """Tells how long to wait for a word, and ends what takes too long."""

    def __init__(self, name: str, bounds: Bounds, watch: Callable[[], None] | None) -> None:
        self._name = name
        self._bounds = bounds
        self._watch = watch
        self.heard = self._watched = time.monotonic()
        self._end = self.heard + bounds.seconds

    def look(self) -> float:
        """Seconds until the next look is due. Raises `ToolTooSlowError`."""
        now = time.monotonic()
        silent = self._bounds.silent_seconds
        if now >= self._end:
            raise ToolTooSlowError(
                f"{self._name} was stopped: it took more than {self._bounds.seconds:.0f} s."
            )
        if silent is not None and now >= self.heard + silent:
            raise ToolTooSlowError(f"{self._name} was stopped: no progress for {silent:.0f} s.")
        wait = self._end - now
        if silent is not None:
            wait = min(wait, self.heard + silent - now)
        if self._watch is None:
            return wait
        if now >= self._watched + WATCH_EVERY:
            self._watched = now
            self._watch()
        return min(wait, WATCH_EVERY)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its whole group is gone when this returns; one that ended by itself is only tidied up.

    Not politely: asked to end, FFmpeg would first complete its file, which is thrown away.
    """
    if process.poll() is None:
        # Not reaped yet, so the number can't be another's.
        os.killpg(process.pid, signal.SIGKILL)
        # One that waits in the kernel, for a disk, goes when the kernel lets it.
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _last_words(complaint: str) -> str:
    """The last error line; FFmpeg's first lines are often only what led to it.

    But which container it found and may not open is said there, and not again at the end.
    """
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    telling = (NOT_LISTED, NOT_NAMED, *tls.REFUSALS)
    refused = [line for line in lines if any(mark in line for mark in telling)]
    return (refused or lines)[-1][:300] if lines else ""
