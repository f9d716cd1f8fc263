"""Detects this FFmpeg's abilities, above all whether it can receive a stream key secretly.

The key is passed in a preset on a pipe (`-fpre`). FFmpeg 5.1 reads it from there. FFmpeg 9
accepts the option, silently ignores it and would publish without a key. So each build is probed
once: FFmpeg publishes to another FFmpeg on the loopback interface, which reports the name it
was called by.
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

#: Seconds for one probe, which normally takes half a second.
PROBE_TIMEOUT_S: Final = 10.0
#: First FFmpeg version that reports progress by the clock (its scheduler).
BY_CLOCK_VERSION: Final = (7, 0)
#: First FFmpeg version whose -re starts with a burst of half a second (readrate_initial_burst).
BURSTS_VERSION: Final = (6, 1)
_UNKNOWN_VERSION: Final = (99, 0)
#: Seconds for the version query: the thread that waits for it serves all channels.
VERSION_TIMEOUT_S: Final = 2.0
#: Keyed by the program's path, size and modification time.
_versions: dict[tuple[str, int, int], tuple[int, int]] = {}


def hides_keys(ffmpeg: str, cache_file: Path) -> bool | None:
    """Whether `ffmpeg` takes the key from a pipe; None if it can't be probed.

    `cache_file`: keeps the result for this build.
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
    """by_clock: reports come by the clock. bursts: -re starts with half a second at once."""

    by_clock: bool
    bursts: bool


def abilities(ffmpeg: str) -> Abilities:
    """Return this FFmpeg's abilities. Queried once per build, which takes 50 ms.

    FFmpeg may be missing, or be replaced by another version, while channels are on air.
    """
    version = _version(shutil.which(ffmpeg))
    if version is None:
        # FFmpeg would exit on an unknown option; reports per packet may cost a core.
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
    """Query the version; a build without a version number counts as new."""
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
    """Publish one second; retry until the server listens."""
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
