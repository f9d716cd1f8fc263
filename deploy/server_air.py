"""What is sent while the server is upgraded: a recorder, and releases that work or do not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server_machine import Machine, commit, git, must, report, until
from server_site import Site

KEY: Final = "k3y-of-the-server-test"
UPGRADE: Final = "/srv/streamsite/deploy/upgrade.sh"
#: Seconds between two packets of a stream from which on something is missing.
LEAP: Final = 0.2
#: Seconds without a byte after which the session counts as broken.
SILENCE: Final = 20.0


@contextmanager
def sink(machine: Machine, into: str) -> Iterator[Callable[[], bool]]:
    """An RTMP server that takes one session and ends with it. Tells whether it still runs.

    A connection that brings nothing, as a preflight's, is no session.
    """
    listen = f"rtmp://127.0.0.1:1936/live/{KEY}"
    # A signal would reach nsenter alone: the end of its input ends it.
    script = f"""
        exec 3<&0
        (
            trap 'kill $server; exit' TERM
            while [ ! -s {into} ]; do
                ffmpeg -nostdin -y -v error -listen 1 -i {listen} -c copy -f mpegts {into} &
                server=$!
                wait $server || true
            done
        ) &
        {{ read -r _ <&3 || true; kill $!; }} &
        wait %1
    """
    process = subprocess.Popen(
        machine.command(script),
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield lambda: process.poll() is None
    finally:
        if process.stdin is not None:
            process.stdin.close()
        process.wait(30)


def grows(path: Path) -> None:
    size = path.stat().st_size
    until(lambda: path.stat().st_size > size, SILENCE, "the server gets more of the stream")


def anomalies(received: Path) -> tuple[int, list[str]]:
    """Packets that a server has recorded, and where their decoding time goes back or leaps."""
    listed = subprocess.run(
        ("ffprobe", "-v", "quiet", "-show_entries", "packet=stream_index,dts_time",
         "-of", "csv=p=0", str(received)),
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    last: dict[str, float] = {}
    count, result = 0, []
    for line in listed.splitlines():
        # The last packet of a file that grows may be incomplete.
        stream, _, written = line.strip(",").partition(",")
        try:
            dts = float(written.strip(","))
        except ValueError:
            continue
        count += 1
        step = dts - last.get(stream, dts - LEAP / 2)
        if not 0 < step <= LEAP:
            result.append(f"stream {stream} at {dts:.3f} s: a step of {step:.3f} s")
        last[stream] = dts
    return count, result


def upgrade(machine: Machine, site: Site, script: str, number: int) -> None:
    """A new version, while pages are asked for without a pause."""
    line = f"- New version {number}."
    with (machine.repository / "CHANGELOG.md").open("a") as changes:
        changes.write(f"{line}\n")
    commit(machine.repository, "a new version")
    lost: list[str] = []
    requests = 0
    process = subprocess.Popen(
        machine.command(script),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while process.poll() is None:
        began = time.monotonic()
        status, page, _ = site.request("GET", "/admin/")
        requests += 1
        if status != 200:
            lost.append(f"{status} after {time.monotonic() - began:.1f} s: {page[-300:]!r}")
    output = process.stdout.read() if process.stdout else ""
    must(process.returncode == 0, f"the upgrade ends well {output[-800:]}")
    reported = machine.run("tail -1 /srv/streamsite/CHANGELOG.md").strip()
    must(reported == line, f"the new version {number} is there")
    must(
        requests and not lost, f"every one of {requests} pages asked for meanwhile came {lost}"
    )


def broken_releases(machine: Machine) -> None:
    """Versions that do not work here are never used, or not for long."""
    for file, line, what in (
        ("streamsite/settings.py", "raise RuntimeError", "does not load"),
        ("streamsite/asgi.py", "raise RuntimeError", "The old version runs again"),
    ):
        path = machine.repository / file
        whole = path.read_text()
        path.write_text(f"{whole}\n{line}\n")
        commit(machine.repository, "broken")
        before = machine.run("realpath /srv/streamsite")
        output = machine.run(f"{UPGRADE} 2>&1", check=False, seconds=900)
        must(what in output, f"a release that is broken in {file} is refused: {output[-500:]}")
        must(machine.run("realpath /srv/streamsite") == before, "the old one stays")
        path.write_text(whole)
        commit(machine.repository, "mended")


def to_older_version(machine: Machine, script: str) -> None:
    """Goes back to the version that was installed first, by its tag; `script` names v0.1.0."""
    report("an older version while on air")
    first = git(machine.repository, "rev-list", "--max-parents=0", "HEAD").strip()
    git(machine.repository, "tag", "v0.1.0", first)
    output = machine.run(script, seconds=900)
    must("v0.1.0 runs" in output, f"the older version runs {output[-500:]}")
    now = machine.run("git -C /srv/streamsite rev-parse HEAD").strip()
    must(now == first, "and it is the one of the tag")
