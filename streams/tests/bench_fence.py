"""Measures for how long two nodes both send a channel when one loses the database.

python -m streams.tests.bench_fence [TIMES]

Runs as root: each node lives in a network namespace of its own, with one link to the PostgreSQL
database and one to an RTMP server, both on this machine. TIMES (20) times the sending node
loses its link to the database; every third time its supervisor is also frozen, every third time
killed. Pushers are counted in both nodes' run directories, fifty times a second. Prints for
each time: seconds until the first stopped and the second started, and seconds in which both
ran.
"""

# Django is set up for the database that is started here, so imports are late.
# ruff: noqa: C901, PLR0915 - a script whose processes choose Django's settings first
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from streams.tests.bench.rtmp import free_port
from streams.tests.bench.waiting import until

#: Debian's paths.
MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
POSTGRES = Path("/usr/lib/postgresql")
KEY = "k-fence"
POLL_INTERVAL_S = 0.02


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
    """Counts pushers of both nodes, and the seconds in which both had one."""

    def __init__(self, run_dirs: list[Path]) -> None:
        super().__init__(daemon=True)
        self.run_dirs = run_dirs
        self.now = [0 for _ in run_dirs]
        self.both = self.gap = 0.0

    def run(self) -> None:
        from streams.playout.ffmpeg import process

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
            self.both += (moment - last) * all(self.now)
            self.gap = max(self.gap, moment - last)
            last = moment
            time.sleep(POLL_INTERVAL_S)  # the polling rate


def main(times: int = 20) -> int:
    """Return the number of runs in which two pushers overlapped."""
    # If ended early, nothing is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-fence-")))
        folder.chmod(0o755)
        nets = [stack.enter_context(Net(number)) for number in (1, 2)]
        port = stack.enter_context(postgres(folder / "postgres"))
        os.environ |= {
            "DATABASE_URL": f"postgres://streamsite:none@127.0.0.1:{port}/postgres",
            "ENV_FILE": "/dev/null",
            "DJANGO_SETTINGS_MODULE": "streamsite.settings",
            "MEDIA_FOLDER": str(folder / "media"),
            "STORAGE_PROVIDER": "local",
            "DATA_DIR": str(folder / "data"),
        }
        return _measured(times, stack, folder, nets, port)


def _measured(times: int, stack: ExitStack, folder: Path, nets: list[Net], port: int) -> int:
    import django

    django.setup()
    from django.core.management import call_command

    from streams.control import actions
    from streams.models import Channel
    from streams.playout.ffmpeg import process
    from streams.tests.bench import clips, rtmp
    from streams.tests.bench.node import MANAGE, Bench

    call_command("migrate", verbosity=0)
    # Each node reaches it at another address, so the server listens on all.
    rtmp._CONFIG = rtmp._CONFIG.replace("listen 127.0.0.1:", "listen 0.0.0.0:")  # type: ignore[misc]  # changed for this machine
    server = rtmp.RtmpServer(folder / "rtmp", MODULE)
    server.start()
    stack.callback(server.stop)
    # One address for both, reached over each node's own link.
    run("ip", "address", "add", "10.99.0.1/32", "dev", "lo")
    stack.callback(run, "ip", "address", "del", "10.99.0.1/32", "dev", "lo")
    for net in nets:
        gateway = net.address(1, 1)
        run("ip", "-n", net.name, "route", "add", "10.99.0.1", "via", gateway)
    media = folder / "media"
    media.mkdir(exist_ok=True)
    run_dirs = [folder / f"run-{number}" for number in (1, 2)]
    nodes: list[subprocess.Popen[bytes] | None] = [None, None]

    def start(number: int) -> None:
        net = nets[number]
        with (folder / f"node-{number}.log").open("ab") as log:
            nodes[number] = subprocess.Popen(
                (
                    "ip",
                    "netns",
                    "exec",
                    net.name,
                    sys.executable,
                    MANAGE,
                    "run_cluster",
                    "playout",
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ
                | {
                    "NODE_NAME": f"node-{number}",
                    "RUN_DIR": str(run_dirs[number]),
                    "DATABASE_URL": (
                        f"postgres://streamsite:none@{net.address(0, 1)}:{port}/postgres"
                    ),
                },
            )

    def kill(number: int) -> None:
        if (node := nodes[number]) is not None:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait(20)
            nodes[number] = None

    def frozen(number: int, signum: signal.Signals) -> None:
        node = nodes[number]
        if node is not None:
            os.killpg(node.pid, signum)

    for run_dir in run_dirs:
        run_dir.mkdir()
    bench = Bench(run_dirs[0], media, folder)
    channel = bench.channel(bench.item(clips.prepared(folder, 1, 10.0)))
    bench.output(channel, f"rtmp://10.99.0.1:{server.port}/live", KEY)
    counter = Counter(run_dirs)
    failed = 0
    try:
        for number in (0, 1):
            start(number)
        counter.start()
        actions.start(Channel.objects.get(), by="bench", now=django.utils.timezone.now())
        for number in range(times):
            until(lambda: sum(counter.now) == 1, 120, "one sends")
            time.sleep(6)  # both have seen each other's rows
            sender = counter.now.index(1)
            how = ("cut", "cut and frozen", "killed")[number % 3]
            counter.both = counter.gap = 0.0
            began = time.monotonic()
            if how == "killed":
                kill(sender)
            else:
                nets[sender].database("down")
                if how == "cut and frozen":
                    frozen(sender, signal.SIGSTOP)
            until(lambda: not counter.now[sender], 60, "the first has stopped")  # noqa: B023 - called within the turn
            stopped = time.monotonic() - began
            until(lambda: counter.now[1 - sender], 90, "the second sends")  # noqa: B023 - called within the turn
            second = time.monotonic() - began
            if how == "killed":
                start(sender)
            else:
                nets[sender].database("up")
                if how == "cut and frozen":
                    frozen(sender, signal.SIGCONT)
            time.sleep(20)  # the first is back, and must not send
            failed += counter.both > 0
            print(
                f"{number + 1}: node {sender + 1} {how}: stopped after {stopped:.1f} s, the "
                f"other sent after {second:.1f} s; two for {counter.both:.2f} s (polled at "
                f"every {counter.gap:.2f} s at the least); refused by the server: "
                f"{server.log().count('already publishing')}",
                flush=True,
            )
    finally:
        for number in (0, 1):
            nets[number].database("up")
            kill(number)
            process.stop_everything(run_dirs[number])
    print(f"two pushers in {failed} of {times}")
    return failed


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])) > 0)
