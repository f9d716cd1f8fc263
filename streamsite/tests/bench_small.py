"""Runs a new installation in 1 GB of memory, with one channel, one preparation, one download.

python -m streamsite.tests.bench_small [SECONDS]

As root. Clones this repository, and types `deploy/run.sh` in the clone, bounded to 1 GB by a
control group: what the kernel keeps of files in memory counts too, and can be given up. When
the Demo is on air, a film of 1080p is uploaded and prepared for it, and a film is downloaded.
Watches for SECONDS (3600) altogether, and prints the memory each minute. Returns 1 if the
kernel killed anything, if the destination saw more than one session, or if a job failed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from conftest import RTMP_MODULE
from media_library.tests.clips import lavfi, make
from media_library.tests.web import web_site
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.tests.processes.test_serve import ROOT, Site, a_site

LIMIT_BYTES: Final = 1_000_000_000
#: Where the kernel's second version of control groups is; the first has a folder per resource.
GROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """A control group that bounds the memory of what joins it."""

    path: Path
    second: bool

    @staticmethod
    def make() -> Group:
        second = (GROUPS / "cgroup.controllers").exists()
        name = f"streamsite-small-{os.getpid()}"
        path = GROUPS / name if second else GROUPS / "memory" / name
        path.mkdir()
        limit = "memory.max" if second else "memory.limit_in_bytes"
        (path / limit).write_text(str(LIMIT_BYTES))
        return Group(path, second)

    def around(self, *command: str | Path) -> tuple[str | Path, ...]:
        """The command, which joins the group before it begins."""
        join = 'echo $$ >"$0" && exec "$@"'
        return ("/bin/sh", "-c", join, self.path / "cgroup.procs", *command)

    def number(self, file: str, word: str) -> int:
        lines = (self.path / file).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.split()[0] == word)

    def kills(self) -> int:
        return self.number("memory.events" if self.second else "memory.oom_control", "oom_kill")

    def used(self) -> tuple[int, int]:
        """Bytes of programs, and of all with the files that the kernel keeps in memory."""
        anonymous = self.number("memory.stat", "anon" if self.second else "total_rss")
        whole = "memory.current" if self.second else "memory.usage_in_bytes"
        return anonymous, int((self.path / whole).read_text())

    def remove(self) -> None:
        until(lambda: not (self.path / "cgroup.procs").read_text(), 60, "nothing is left in it")
        self.path.rmdir()


def main(seconds: int = 3600) -> int:
    # If ended early, nothing is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-small-")))
        group = Group.make()
        stack.callback(group.remove)
        server = RtmpServer(folder / "rtmp", RTMP_MODULE)
        server.start()
        stack.callback(server.stop)
        videos = folder / "videos"
        videos.mkdir()
        _video(videos / "film.mp4", 180)
        _video(folder / "upload.mp4", 300)
        web = stack.enter_context(web_site(videos))
        place = stack.enter_context(a_site(folder / "site"))
        clone = folder / "clone"
        subprocess.run(("git", "clone", "--quiet", ROOT, clone), check=True)
        return Trial(group, server, place, clone).run(
            seconds, folder / "upload.mp4", web.url("film.mp4"), web.port
        )


def _video(path: Path, seconds: int) -> None:
    make(
        path,
        *lavfi(f"testsrc2=s=1920x1080:r=24:d={seconds}", f"sine=r=44100:d={seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "6M", "-c:a", "aac"),
    )


@dataclass
class Trial:
    group: Group
    server: RtmpServer
    place: Site
    clone: Path
    key: str = ""

    def run(self, seconds: int, upload: Path, url: str, port: int) -> int:
        began = time.monotonic()
        self._serve(port)
        until(self.place.on_air, 900, "the Demo is on air")
        print(f"on air after {time.monotonic() - began:.0f} s", flush=True)
        self.key = self._typed("create_api_key", "bench", "--permissions", "FULL_ACCESS")
        answer = json.loads(self._typed("upload_media", str(upload), "--json"))
        pk = answer["uploaded"][0]["id"]
        until(
            lambda: self._request("GET", f"media/{pk}")["status"] == "probed", 300, "inspected"
        )
        playlist = self._request("GET", "playlists")["items"][0]["id"]
        self._request("POST", f"playlists/{playlist}/entries", {"item_ids": [pk]})
        prepare = partial(self._request, "POST", f"media/{pk}/prepare", {"channel": "demo"})
        prepare()
        job = self._request("POST", "download", {"url": url})
        while time.monotonic() - began < seconds:
            programs, whole = (size / 1e6 for size in self.group.used())
            elapsed = time.monotonic() - began
            print(
                f"{elapsed / 60:.0f} min: programs {programs:.0f} MB, with files "
                f"{whole:.0f} MB, killed {self.group.kills()}, {self.place.state()}",
                flush=True,
            )
            time.sleep(60)  # the measured period
        copy, download = prepare(), self._request("GET", f"status/{job['id']}")
        sessions = self.server.sessions("k0")
        print(f"the copy: {copy}\nthe download: {download}\nsessions: {sessions}")
        jobs = (copy["status"], download["status"]) == ("ready", "done")
        good = self.group.kills() == 0 and sessions == 1 and jobs and self.place.on_air()
        return 0 if good else 1

    def _serve(self, port: int) -> None:
        with (self.place.folder / "log").open("ab") as log:
            self.place.process = subprocess.Popen(
                self.group.around("deploy/run.sh"),
                cwd=self.clone,
                env=self._environment(
                    YOUTUBE_STREAM_KEY="k0",
                    YOUTUBE_RTMP_URL=self.server.address,
                    DOWNLOAD_NETWORKS="127.0.0.1/32",
                    DOWNLOAD_PORTS=str(port),
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environment(self, **more: str) -> dict[str, str]:
        return self.place.environment(**more) | {"PYTHON": "python3"}

    def _typed(self, *command: str) -> str:
        """The last line that a command prints, as the operator types it in the clone."""
        return subprocess.run(
            self.group.around(self.clone / ".venv/bin/python", "manage.py", *command),
            cwd=self.clone,
            env=self._environment(),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()[-1]

    def _request(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.place.port}/api/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"X-API-Key": self.key, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
            return json.load(answer)


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))
