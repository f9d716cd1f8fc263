"""A real RTMP server: nginx with the rtmp module, recording every session to FLV."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from streams.tests.bench.waiting import until

_CONFIG: Final = """\
load_module {module};
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/events.log info;
events {{ worker_connections 256; }}
rtmp {{
    access_log off;
    server {{
        listen {listen}:{port};
        application live {{
            live on;
            record all;
            record_path {folder}/recordings;
            record_unique on;
        }}
    }}
}}
"""
_PUBLISH: Final = re.compile(r"publish: name='([^']*)'")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


class RtmpServer:
    """A server whose port and recordings stay across `start` and `stop`."""

    def __init__(self, folder: Path, module: Path, listen: str = "127.0.0.1") -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "recordings").mkdir(parents=True)
        config = _CONFIG.format(module=module, folder=folder, port=self.port, listen=listen)
        (folder / "nginx.conf").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The application's address, without the key."""
        return f"rtmp://127.0.0.1:{self.port}/live"

    def start(self) -> None:
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self._process = subprocess.Popen(
            (nginx, "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", "stderr"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, 60, "nginx listens")

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Stop at once: publishers see their connection closed."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def sessions(self, key: str) -> int:
        """The number of publish sessions of that key."""
        try:
            events = (self.folder / "events.log").read_text(errors="replace")
        except FileNotFoundError:
            return 0
        return _PUBLISH.findall(events).count(key)

    def recordings(self, key: str) -> list[Path]:
        """Recordings of that key, one file per session, oldest first."""
        files = (self.folder / "recordings").glob(f"{key}-*.flv")
        return sorted(files, key=lambda path: int(path.stem.rpartition("-")[2]))

    def bytes_of(self, key: str) -> int:
        """Bytes recorded so far."""
        return sum(path.stat().st_size for path in self.recordings(key))

    def seconds_to_first_byte(self, key: str, since: float, within: float) -> float:
        """Seconds from `since` (monotonic) until the first byte was recorded."""
        # A recording is created with its first frame.
        until(lambda: self.bytes_of(key), within, f"the server gets data of {key}")
        return time.monotonic() - since

    def until_sent(self, key: str, seconds: float, bitrate: int, within: float) -> None:
        """Wait until so many more seconds are recorded, at a constant bit rate."""
        target = self.bytes_of(key) + int(seconds * bitrate / 8)
        until(lambda: self.bytes_of(key) >= target, within, f"{seconds} s of {key} arrive")

    def log(self) -> str:
        path = self.folder / "events.log"
        return path.read_text(errors="replace") if path.exists() else ""
