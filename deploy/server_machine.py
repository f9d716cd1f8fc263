"""A bare Debian with systemd, made for a test, and commands in it.

It has a root, processes and a network of its own, so that nothing of this machine is touched.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
ROOT: Final = Path(__file__).resolve().parents[1]
MIRROR: Final = "http://deb.debian.org/debian"
#: Packages that every VPS has and the smallest root has not.
BASE: Final = "systemd,systemd-sysv,dbus,ca-certificates,adduser,procps,openssl"
RELEASES: Final = ("bookworm", "trixie")
#: Programs that are needed here, and the packages that bring them.
PROGRAMS: Final = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "git": "git",
    "ffmpeg": "ffmpeg",
}
#: Seconds. Generous: the machine may be busy with other tests.
BOOT: Final = 120.0


class CannotError(Exception):
    """This machine can't do it; `str()` says why."""


class WrongError(Exception):
    """The documented installation does not do what it should."""


def report(text: str) -> None:
    print(f"[{time.strftime('%T')}] {text}", flush=True)


def must(held: object, what: str) -> None:
    """Go on only where it holds."""
    if not held:
        raise WrongError(what)
    report(f"  well: {what}")


def until(call: Callable[[], T], seconds: float, what: str) -> T:
    """The first answer that is true. Raises `WrongError`."""
    deadline = time.monotonic() + seconds
    while not (answer := call()):
        if time.monotonic() > deadline:
            raise WrongError(f"within {seconds:.0f} s: {what}")
        time.sleep(0.5)
    return answer


@dataclass
class Machine:
    """The root, and how commands are run in it: before its start, and while it is booted."""

    root: Path
    kept: Path
    repository: Path
    leader: int = 0

    @property
    def binds(self) -> tuple[str, ...]:
        certificates = "/etc/ssl/certs/ca-certificates.crt"
        return (
            f"--bind-ro={self.repository}:/mnt/repository",
            f"--bind={self.kept}/apt:/var/cache/apt/archives",
            f"--bind={self.kept}/pip:/mnt/pip",
            *(
                (f"--bind-ro={certificates}:/mnt/ca.crt",)
                if Path(certificates).exists()
                else ()
            ),
        )

    def demand_container(self) -> None:
        """Raise `CannotError` where this machine lets nobody run one."""
        done = subprocess.run(
            (*nspawn(self.root), "--as-pid2", *self.binds, "true"),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotError(f"systemd-nspawn is refused: {done.stderr.strip()[-600:]}")

    def before(self, script: str) -> None:
        """As root, with this machine's network and without systemd."""
        given = {
            "DEBIAN_FRONTEND": "noninteractive",
            "PIP_CACHE_DIR": "/mnt/pip",
            "PIP_CERT": "/mnt/ca.crt",
            "PIP_QUIET": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        named = (f"--setenv={name}={value}" for name, value in given.items())
        command = (*nspawn(self.root), "--as-pid2", *self.binds, *named)
        done = subprocess.run(
            (*command, "bash", "-ec", script), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=1200, check=False,
        )  # fmt: skip
        if done.returncode:
            raise WrongError(f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")

    @contextmanager
    def booted(self) -> Iterator[None]:
        """Systemd, in a network of its own."""
        boot = (
            *nspawn(self.root),
            "--private-network",
            "--console=pipe",
            "--boot",
            *self.binds,
        )
        # systemd wants the one hierarchy of control groups; this machine may have the old ones.
        script = (
            '[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || '
            "{ umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup; } "
            "|| exit 77; "
            'exec "$@"'
        )
        log = (self.root.parent / "boot.log").open("w+")
        process = subprocess.Popen(
            ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "-", *boot),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            with suppress(WrongError):
                until(lambda: self._leads(process) and self._ready(), BOOT, "systemd runs")
            if process.poll() is not None or not self.leader:
                log.seek(0)
                raise CannotError(f"systemd can't be booted: {log.read().strip()[-600:]}")
            must(self._ready(), "systemd has started all that it starts")
            yield
        finally:
            # Nothing of it is needed any more: its first process takes all others along.
            if self.leader:
                with suppress(ProcessLookupError):
                    os.kill(self.leader, signal.SIGKILL)
            else:
                process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)
            log.close()

    def _leads(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether systemd runs. Raises `WrongError` where it never will."""
        if process.poll() is not None:
            raise WrongError("systemd has ended")
        self.leader = self.leader or self._leader(process.pid)
        return bool(self.leader)

    def _leader(self, parent: int) -> int:
        """The container's first process: nspawn's child with process numbers of its own."""
        ours = Path("/proc/self/ns/pid").readlink()
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                for child in path.read_text().split():
                    if Path(f"/proc/{child}/ns/pid").readlink() != ours:
                        return int(child)
        return 0

    def _ready(self) -> bool:
        output = self.run("systemctl is-system-running", check=False)
        return output.strip() in {"running", "degraded"}

    def command(self, script: str) -> tuple[str, ...]:
        entered = ("nsenter", f"--target={self.leader}", "--all", "--root", "--wd=/")
        clean = (
            "env",
            "-i",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "HOME=/root",
        )
        # The folder this test was called from is none of the booted system's.
        return (*entered, *clean, "bash", "-ec", f"cd /\n{script}")

    def run(self, script: str, *, check: bool = True, seconds: float = 300) -> str:
        """As root in the booted system; what it said."""
        done = subprocess.run(
            self.command(script), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise WrongError(f"{script}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def may(self, user: str, script: str) -> bool:
        quoted = script.replace("'", r"'\''")
        done = subprocess.run(
            self.command(f"runuser -u {user} -- sh -c '{quoted}'"),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode == 0


def nspawn(root: Path) -> tuple[str, ...]:
    command = ("systemd-nspawn", "--quiet", f"--directory={root}", "--register=no")
    # Without systemd no unit can be queried.
    own = () if Path("/run/systemd/system").is_dir() else ("--keep-unit",)
    return (*command, *own, f"--machine=streamsite-{os.getpid()}", "--resolv-conf=replace-host")


def demand() -> None:
    """Raise `CannotError` unless the machine can do it at all."""
    if os.geteuid() != 0:
        raise CannotError("it must be run as root, for it makes a root and boots it")
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise CannotError(f"there is no {program} here: apt-get install --yes {package}")


def other_release(os_release: Path = Path("/etc/os-release")) -> str:
    """A release that is not this machine's, on which all other tests run."""
    result = re.search(r"^VERSION_CODENAME=(\w+)$", os_release.read_text(), re.MULTILINE)
    return next(name for name in RELEASES if result is None or name != result[1])


def made_root(release: str, kept: Path, work: Path) -> Path:
    """A fresh root; it is kept as an archive."""
    for name in ("apt", "pip"):
        (kept / name).mkdir(parents=True, exist_ok=True)
    root = work / "root"
    archive = kept / f"{release}.tar"
    if archive.exists():
        root.mkdir()
        subprocess.run(("tar", "-C", str(root), "-xf", str(archive)), check=True)
        return root
    report(f"a bare {release}")
    # As debootstrap does it, in half of the time. dpkg would wait for the disk at each file.
    done = subprocess.run(
        ("mmdebstrap", "--variant=minbase", "--mode=root", "--quiet", f"--include={BASE}",
         "--dpkgopt=force-unsafe-io", release, str(root), MIRROR),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    if done.returncode:
        raise CannotError(f"mmdebstrap has failed: {done.stdout[-600:]}{done.stderr[-600:]}")
    (root / "etc/apt/apt.conf.d/keep").write_text(
        'Binary::apt-get::APT::Keep-Downloaded-Packages "true";\n'
    )
    if kept != work / "kept":
        draft = archive.with_suffix(".part")
        subprocess.run(("tar", "-C", str(root), "-cf", str(draft), "."), check=True)
        draft.replace(archive)
    return root


def made_repository(work: Path) -> Path:
    """The checked-out files, uncommitted changes included."""
    path = work / "repository"
    path.mkdir()
    requests = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    listed = subprocess.run(requests, cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    git(path, "init", "--quiet", "--initial-branch=main")
    commit(path, "as it is here")
    return path


def git(path: Path, *words: str) -> str:
    """Returns what git prints."""
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    argv = ("git", *who, "-C", str(path), *words)
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def commit(path: Path, what: str) -> None:
    git(path, "add", "--all", "--force")
    git(path, "commit", "--quiet", "--no-verify", "--message", what)
