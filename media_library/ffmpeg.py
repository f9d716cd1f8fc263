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
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from media_library.location import LocalFile, Location, SignedUrl

#: Containers a file of the library may be. Without this list an HLS playlist renamed .mp4
#: makes FFmpeg open whatever stands in it; a list of protocols alone does not stop that.
CONTAINERS: Final = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,mxf,asf,ogg"
#: Bytes of the last error output that are kept.
TAIL: Final = 4000
#: Seconds between a polite and a final signal.
GRACE: Final = 5.0


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
    """Seconds by the clock, seconds without a word, bytes written, bytes of memory."""

    seconds: float
    silent_seconds: float | None = None
    file_bytes: int | None = None
    memory_bytes: int | None = None


@contextmanager
def opened(location: Location, directives: str = "") -> Iterator[Source]:
    """How FFmpeg opens a location. A signed URL is written into a pipe, never into argv.

    `directives` are further ffconcat lines about the file; they count for signed URLs only.
    """
    match location:
        case LocalFile(path):
            only = ("-protocol_whitelist", "file", "-format_whitelist", CONTAINERS)
            # The prefix keeps a name such as "-y" or "tcp:x" a name.
            yield Source((*only, "-i", f"file:{path}"))
        case SignedUrl(url):
            plain = url.reveal()
            protocols = "file,https,tls,tcp" + (",http" if plain.startswith("http:") else "")
            quoted = plain.replace("'", r"'\''")
            reader, writer = os.pipe()
            try:
                with os.fdopen(writer, "w") as out:
                    out.write(f"ffconcat version 1.0\nfile '{quoted}'\n{directives}")
                limits = ("-protocol_whitelist", protocols, "-format_whitelist")
                form = ("-f", "concat", "-safe", "0", *limits, f"concat,{CONTAINERS}")
                yield Source((*form, "-i", f"/dev/fd/{reader}"), (reader,))
            finally:
                os.close(reader)


def environment() -> dict[str, str]:
    """All that a child inherits: no credentials, and English messages."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "AV_LOG_FORCE_NOCOLOR": "1",
    }


def run(
    argv: Sequence[str],
    *,
    bounds: Bounds,
    descriptors: Sequence[int] = (),
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run to the end and return stdout; with `on_line`, each line of it is handed on instead.

    Raises a `ToolError`; whatever `on_line` raises ends the process and goes on up.
    """
    if shutil.which(argv[0]) is None:
        raise ToolMissingError(
            f"{argv[0]} is not on this machine: install it (apt install ffmpeg), or set "
            "FFMPEG_PATH."
        )
    process = subprocess.Popen(
        (*_prefix(), *argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        pass_fds=tuple(descriptors),
        start_new_session=True,
    )
    try:
        _limit(process.pid, bounds)
        said, complaint = _listen(process, argv[0], bounds, on_line)
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


def _prefix() -> tuple[str, ...]:
    """Little priority, for channels are on the air meanwhile; and no life after ours."""
    low = ("nice", "-n", "15") if shutil.which("nice") else ()
    # A worker that is killed can't stop its child; the kernel does.
    bound = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
    return low + bound


def _limit(pid: int, bounds: Bounds) -> None:
    wanted = [
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
) -> tuple[str, str]:
    """Read both outputs until they close. Silence is measured on stdout, where progress is."""
    assert process.stdout is not None  # noqa: S101 - for the type checker: both are pipes
    assert process.stderr is not None  # noqa: S101
    end = time.monotonic() + bounds.seconds
    heard = time.monotonic()
    said, complaint, rest = bytearray(), bytearray(), bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(process.stdout, selectors.EVENT_READ)
        pipes.register(process.stderr, selectors.EVENT_READ)
        while pipes.get_map():
            now = time.monotonic()
            limit = end
            if bounds.silent_seconds is not None:
                limit = min(end, heard + bounds.silent_seconds)
            if now >= limit:
                raise ToolTooSlowError(
                    f"{name} was stopped: it took more than {bounds.seconds:.0f} s."
                    if limit == end
                    else f"{name} was stopped: no progress for {bounds.silent_seconds:.0f} s."
                )
            for ready, _ in pipes.select(limit - now):
                chunk = os.read(ready.fd, 65536)
                if not chunk:
                    pipes.unregister(ready.fileobj)
                elif ready.fileobj is process.stderr:
                    complaint = (complaint + chunk)[-TAIL:]
                elif on_line is None:
                    said += chunk
                else:
                    heard = time.monotonic()
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        on_line(line.decode(errors="replace").strip())
    return said.decode(errors="replace"), complaint.decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its whole group is gone when this returns; one that ended by itself is only tidied up."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        # Not reaped yet, so the number can't be another's.
        os.killpg(process.pid, number)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _last_words(complaint: str) -> str:
    """The last error line; FFmpeg's first lines are often only what led to it."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
