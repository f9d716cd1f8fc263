"""What this FFmpeg can do: above all, whether nobody sees a stream key that it is given.

The key is handed over in a preset on a pipe (`-fpre`). FFmpeg 5.1 takes it from there; FFmpeg 9
accepts the option and silently ignores it, and would publish without a key. So it is tried once
per build: FFmpeg publishes to FFmpeg on the loopback, which says what name it was called by.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.playout.contract.plan import OutputPlan
from streams.playout.ffmpeg.commands import destination
from streams.playout.ffmpeg.process import hand_over
from streamsite.security.secret import Secret

#: Seconds for one try; it takes half a second.
PROBE_TIMEOUT_S: Final = 10.0
#: The first version of FFmpeg whose reports come by the clock (its scheduler).
BY_CLOCK_VERSION: Final = (7, 0)
#: The first version whose -re begins with half a second at once (readrate_initial_burst).
BURSTS_VERSION: Final = (6, 1)
_UNKNOWN_VERSION: Final = (99, 0)
#: Seconds for its version: what asks serves all channels.
VERSION_TIMEOUT_S: Final = 2.0
#: By the program's path, size and time of change.
_versions: dict[tuple[str, int, int], tuple[int, int]] = {}


def hides_keys(ffmpeg: str, cache_file: Path) -> bool | None:
    """Whether `ffmpeg` takes the key from a pipe; None when it can't be tried.

    `memory`: a file that keeps the answer for this build.
    """
    program = shutil.which(ffmpeg)
    if program is None:
        return None
    stat = Path(program).stat()
    build = f"{program} {stat.st_size} {stat.st_mtime_ns}"
    try:
        cached = json.loads(cache_file.read_text())
        if cached["build"] == build:
            return bool(cached["hides_keys"])
    except (OSError, ValueError, KeyError, TypeError):
        cached = None
    answer = _probe(program)
    if answer is not None:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        draft = cache_file.with_name(f"{cache_file.name}.{secrets.token_hex(4)}")
        draft.write_text(json.dumps({"build": build, "hides_keys": answer}))
        draft.replace(cache_file)
    return answer


@dataclass(frozen=True, slots=True)
class Abilities:
    """by_clock: reports come by the clock. bursts: -re begins with half a second at once."""

    by_clock: bool
    bursts: bool


def abilities(ffmpeg: str) -> Abilities:
    """What this FFmpeg is able to. Asked once per build: 50 ms.

    It may be missing, or be replaced by another version, while channels are on air.
    """
    version = _version(shutil.which(ffmpeg))
    if version is None:
        # An option that it does not know would end it; reports by the packet may cost a core.
        return Abilities(by_clock=True, bursts=False)
    return Abilities(by_clock=version >= BY_CLOCK_VERSION, bursts=version >= BURSTS_VERSION)


def _version(program: str | None) -> tuple[int, int] | None:
    if program is None:
        return None
    try:
        stat = Path(program).stat()
        build = (program, stat.st_size, stat.st_mtime_ns)
        if build not in _versions:
            _versions[build] = _read_version(program)
        return _versions[build]
    except (OSError, subprocess.SubprocessError):
        return None


def _read_version(program: str) -> tuple[int, int]:
    """Its version; a build that names none is taken for a new one."""
    output = subprocess.run(
        [program, "-version"],
        capture_output=True,
        text=True,
        timeout=VERSION_TIMEOUT_S,
        check=True,
    ).stdout
    match = re.match(r"ffmpeg version n?(\d+)\.(\d+)", output)
    return _UNKNOWN_VERSION if match is None else (int(match[1]), int(match[2]))


def _probe(program: str) -> bool | None:
    key = secrets.token_hex(8)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(program, "-hide_banner", "-nostdin", "-loglevel", "warning", "-listen", "1"),
            *("-timeout", str(round(PROBE_TIMEOUT_S)), "-f", "flv"),
            *("-i", f"rtmp://127.0.0.1:{port}/probe/{key}", "-c", "copy", "-f", "null", "-"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={},
    )
    try:
        if not _published(program, port, key):
            return None
        _, output = server.communicate(timeout=PROBE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    finally:
        server.kill()
        server.wait()
    return "Unexpected stream" not in output


def _published(program: str, port: int, key: str) -> bool:
    """Publish one second; again until the server listens."""
    output = OutputPlan(0, "probe", f"rtmp://127.0.0.1:{port}/probe", Secret(key))
    source = ("-f", "lavfi", "-i", "color=s=64x64:r=10:d=1", "-f", "lavfi", "-i", "anullsrc")
    command = (
        *(program, "-hide_banner", "-nostdin", "-loglevel", "error", *source, "-t", "1"),
        *("-c:v", "flv1", "-c:a", "aac"),
        *(word for word in destination(output) if word not in {"-bsf:v", "extract_extradata"}),
    )
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    while time.monotonic() < deadline:
        with hand_over(command) as (argv, pipes):
            tried = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_TIMEOUT_S,
                pass_fds=pipes,
                env={},
                check=False,
            )
        if tried.returncode == 0:
            return True
        if b"Connection refused" not in tried.stderr:
            return False
    return False
