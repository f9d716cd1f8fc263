"""Several nodes on one machine: each in a network namespace, with links that can be cut.

Needs root. Import it before Django is set up: nothing here reads the settings.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streams.tests.bench.rtmp import free_port
from streams.tests.bench.waiting import until

#: Debian's paths.
MODULE: Final = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
POSTGRES: Final = Path("/usr/lib/postgresql")
FAKETIME: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
MANAGE: Final = Path(__file__).parents[3] / "manage.py"
#: The address of the RTMP server, the same for all nodes, reached over each one's own link.
RECORDER: Final = "10.99.0.1"
POLL_INTERVAL_S: Final = 0.02


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Net:
    """A node's network namespace: link 0 leads to the database, link 1 to the RTMP server."""

    def __init__(self, number: int) -> None:
        self.name = f"fence{os.getpid()}-{number}"
        self.links = [f"fn{number}{kind}h" for kind in range(2)]
        self.number = number

    def __enter__(self) -> Net:
        run("ip", "netns", "add", self.name)
        for kind, link in enumerate(self.links):
            inner = f"fn{self.number}{kind}n"
            run("ip", "link", "add", link, "type", "veth", "peer", "name", inner)
            run("ip", "link", "set", inner, "netns", self.name)
            run("ip", "address", "add", f"{self.address(kind, 1)}/24", "dev", link)
            run("ip", "link", "set", link, "up")
            inside = ("ip", "-n", self.name)
            run(*inside, "address", "add", f"{self.address(kind, 2)}/24", "dev", inner)
            run(*inside, "link", "set", inner, "up")
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for link in self.links:
            subprocess.run(("ip", "link", "del", link), check=False, capture_output=True)
        run("ip", "netns", "del", self.name)

    def address(self, kind: int, end: int) -> str:
        return f"10.{77 + kind}.{self.number}.{end}"

    def database(self, state: str) -> None:
        """Cut (down) or restore (up) the link: packets are dropped without notice."""
        run("ip", "link", "set", self.links[0], state)

    def route(self) -> None:
        """Lead to the RTMP server, whose address is on the host's loopback."""
        run("ip", "-n", self.name, "route", "add", RECORDER, "via", self.address(1, 1))


@contextmanager
def recorder_address() -> Iterator[None]:
    run("ip", "address", "add", f"{RECORDER}/32", "dev", "lo")
    try:
        yield
    finally:
        run("ip", "address", "del", f"{RECORDER}/32", "dev", "lo")


@contextmanager
def postgres(folder: Path) -> Iterator[int]:
    """A server on all addresses, as deploy/postgres.sh starts one. Yields its port."""
    programs = max(POSTGRES.glob("*/bin"))
    folder.mkdir()
    shutil.chown(folder, "postgres", "postgres")
    owner = ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups")
    data = folder / "data"
    initdb = (programs / "initdb", "-D", data, "-U", "streamsite", "-A", "trust", "-E", "UTF8")
    subprocess.run((*owner, *initdb, "--no-sync"), check=True, capture_output=True, cwd=folder)
    with (data / "pg_hba.conf").open("a") as hba:
        hba.write("host all all 10.77.0.0/16 trust\n")
    port = free_port()
    options = f"-p {port} -c listen_addresses=* -c unix_socket_directories='' -c fsync=off"
    control = (*owner, programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w")
    subprocess.run(
        (*control, "-o", options, "start"), check=True, cwd=folder, stdout=subprocess.DEVNULL
    )
    try:
        yield port
    finally:
        subprocess.run(
            (*control, "-m", "immediate", "stop"),
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        )


class Counter(threading.Thread):
    """Counts the pushers of each node, and the seconds in which more than one node had one."""

    def __init__(self, run_dirs: list[Path]) -> None:
        super().__init__(daemon=True)
        self.run_dirs = run_dirs
        self.now = [0 for _ in run_dirs]
        self.both = self.gap = 0.0

    def run(self) -> None:
        from streams.playout.ffmpeg import process  # noqa: PLC0415 - reads the settings

        last = time.monotonic()
        while True:
            self.now = [
                sum(
                    record.role == process.PUSHER and process.born(record.pid) == record.born
                    for folder in process.channel_folders(run_dir).values()
                    for record in process.records(folder)
                )
                for run_dir in self.run_dirs
            ]
            moment = time.monotonic()
            # A late tick counts in full.
            self.both += (moment - last) * (sum(map(bool, self.now)) > 1)
            self.gap = max(self.gap, moment - last)
            last = moment
            time.sleep(POLL_INTERVAL_S)  # the polling rate

    def until_one(self, within: float = 120) -> int:
        """Wait until exactly one node sends, and return its number."""
        until(lambda: sum(map(bool, self.now)) == 1, within, "one node sends")
        return next(number for number, count in enumerate(self.now) if count)


class Nodes:
    """The playout processes of the nodes 0, 1, ..., each in its namespace."""

    def __init__(self, nets: list[Net], folder: Path, port: int) -> None:
        self.nets, self.folder, self.port = nets, folder, port
        self.run_dirs = [folder / f"run-{number}" for number in range(len(nets))]
        for run_dir in self.run_dirs:
            run_dir.mkdir()
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def name(self, number: int) -> str:
        return f"node-{number + 1}"

    def start(self, number: int, *, fake_clock: bool = False) -> None:
        """Start the node. `fake_clock`: `set_clock` changes what it takes for the time."""
        net = self.nets[number]
        database = f"postgres://streamsite:none@{net.address(0, 1)}:{self.port}/postgres"
        environment = {
            "NODE_NAME": self.name(number),
            "RUN_DIR": str(self.run_dirs[number]),
            "DATABASE_URL": database,
        }
        if fake_clock:
            self.set_clock(number, 0)
            environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock(number)),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        with (self.folder / f"{self.name(number)}.log").open("ab") as log:
            self._running[number] = subprocess.Popen(
                (
                    *("ip", "netns", "exec", net.name),
                    *(sys.executable, MANAGE, "run_cluster", "playout"),
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | environment,
            )

    def _clock(self, number: int) -> Path:
        return self.folder / f"clock-{number}"

    def set_clock(self, number: int, seconds: int) -> None:
        """Set the node's wall clock to so many seconds beside the machine's."""
        draft = self._clock(number).with_suffix(".part")
        draft.write_text(f"{seconds:+d}s\n")
        draft.replace(self._clock(number))

    def signal(self, number: int, signum: signal.Signals) -> None:
        if (node := self._running.get(number)) is not None:
            os.killpg(node.pid, signum)

    def kill(self, number: int) -> None:
        """Kill the supervisor; its FFmpeg processes play on."""
        if (node := self._running.pop(number, None)) is not None:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait(20)

    def power_off(self, number: int) -> None:
        """Kill everything of the node at once, as a power cut does."""
        from streams.playout.ffmpeg import process  # noqa: PLC0415 - reads the settings

        self.kill(number)
        for pid in process.marked_pids(self.run_dirs[number]):
            os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        from streams.playout.ffmpeg import process  # noqa: PLC0415 - reads the settings

        for number, net in enumerate(self.nets):
            net.database("up")
            self.kill(number)
            process.stop_everything(self.run_dirs[number])
