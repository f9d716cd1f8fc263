"""A real nginx-rtmp with the configuration of deploy/, and publishers with FFmpeg."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from django.conf import settings

from streams.tests.bench.rtmp import free_port
from streams.tests.bench.waiting import until

_CONFIG: Final = "deploy/nginx/rtmp.conf"


class NginxIngest:
    """A server whose ports stay the same across `start`, `kill` and `stop`."""

    def __init__(self, folder: Path, module: Path, site: str, token: str) -> None:
        self.folder = folder
        (folder / "hls/live").mkdir(parents=True)
        self.rtmp, self.api, self.hls = free_port(), free_port(), free_port()
        config = (settings.BASE_DIR / _CONFIG).read_text()
        for old, new in (
            (r"/usr/lib/nginx/modules/ngx_rtmp_module.so", str(module)),
            # The test's folder belongs to its user; and a single process dies by one SIGKILL.
            (r"user www-data;", "user root;\nmaster_process off;"),
            (r"/run/streamsite-ingest", str(folder)),
            (r"/var/log/nginx/streamsite-ingest.log", str(folder / "log")),
            (r"listen 1935;", f"listen 127.0.0.1:{self.rtmp};"),
            (r"127.0.0.1:8090", f"127.0.0.1:{self.api}"),
            (r"127.0.0.1:8888", f"127.0.0.1:{self.hls}"),
            (r"http://127.0.0.1:8000", site),
            (r"X-Ingest-Token CHANGE;", f"X-Ingest-Token {token};"),
        ):
            config, times = re.subn(re.escape(old), new, config)
            assert times, f"{old} is not in {_CONFIG}"
        (folder / "nginx.conf").write_text(config)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api}"

    @property
    def hls_url(self) -> str:
        return f"http://127.0.0.1:{self.hls}"

    @property
    def address(self) -> str:
        return f"rtmp://127.0.0.1:{self.rtmp}"

    def start(self) -> None:
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        self._process = subprocess.Popen(
            (nginx, "-p", self.folder, "-c", self.folder / "nginx.conf"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, 60, "nginx listens")

    def _answers(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.rtmp)) == 0

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


#: A small test video with audio.
_SMALL: Final = (
    *("-re", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=10"),
    *("-f", "lavfi", "-i", "sine=sample_rate=44100"),
    *("-c:v", "libx264", "-preset", "ultrafast", "-g", "20", "-pix_fmt", "yuv420p"),
    *("-b:v", "200k", "-minrate", "200k", "-maxrate", "200k", "-bufsize", "100k"),
    *("-nal-hrd", "cbr", "-c:a", "aac", "-b:a", "64k"),
)


class Publisher:
    """FFmpeg, sending in real time until it is ended: a looped file, or a small test video."""

    def __init__(self, address: str, file: Path | None = None, form: str = "flv") -> None:
        looped = ("-re", "-stream_loop", "-1", "-i", str(file), "-c", "copy")
        self.process = subprocess.Popen(
            (
                *("ffmpeg", "-nostdin", "-loglevel", "error"),
                *(_SMALL if file is None else looped),
                *("-f", form, address),
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def sends(self) -> bool:
        return self.process.poll() is None

    def until_ended(self, within: float, what: str) -> None:
        until(lambda: not self.sends, within, what)

    def freeze(self) -> None:
        """Stop sending but keep the connection."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it: the system closes the connection, and nothing is unpublished."""
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        """End it cleanly: it unpublishes."""
        if self.sends:
            # It may be frozen.
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(10)


Publish = Callable[[str, str], Publisher]
