"""Follows deploy/README.md on a bare Debian with systemd: see server_test.sh.

The command blocks that are run are the document's own. A debootstrap root takes the place of
the VPS: the first block runs in it with the network, for it fetches packages; then systemd is
booted there in a network of its own, so that nothing of this machine is touched. What a person
would do at the keyboard (an editor, certbot) is done here, and said.
"""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")
ROOT: Final = Path(__file__).resolve().parents[1]
DOCUMENT: Final = ROOT / "deploy/README.md"
MIRROR: Final = "http://deb.debian.org/debian"
#: What every VPS has that debootstrap's smallest root has not.
BASE: Final = "systemd,systemd-sysv,dbus,ca-certificates,adduser,procps,openssl"
RELEASES: Final = ("bookworm", "trixie")
NAME: Final = "tv.test"
KEY: Final = "k3y-of-the-server-test"
SERVICES: Final = ("web", "jobs", "downloads", "playout")
#: Exit status for "this machine can't do it", as automake has it.
CANNOT: Final = 77
#: Seconds. Generous: the machine may be busy with other tests.
BOOT: Final = 120.0
ON_AIR: Final = 900.0
#: Seconds between two packets of a stream from which on something is missing.
LEAP: Final = 0.2
#: Seconds without a byte after which the session counts as broken.
SILENCE: Final = 20.0


class CannotError(Exception):
    """This machine can't do it; `str()` says why."""


class WrongError(Exception):
    """The documented installation does not do what it should."""


def say(text: str) -> None:
    print(f"[{time.strftime('%T')}] {text}", flush=True)


def must(held: object, what: str) -> None:
    """Go on only where it holds."""
    if not held:
        raise WrongError(what)
    say(f"  well: {what}")


def until(ask: Callable[[], T], seconds: float, what: str) -> T:
    """The first answer that is true. Raises `WrongError`."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise WrongError(f"within {seconds:.0f} s: {what}")
        time.sleep(0.5)
    return answer


# ---- the document ----------------------------------------------------------------------------


def blocks(text: str) -> dict[str, list[str]]:
    """The command blocks of a document, by the heading or bold words before them."""
    found: dict[str, list[str]] = {}
    heading = ""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif bold := re.match(r"\*\*(.+?)\*\*", line):
            heading = bold[1]
        elif line == "```sh":
            block: list[str] = []
            while (inner := next(lines)) != "```":
                block.append(inner)
            found.setdefault(heading, []).append("\n".join(block))
    return found


def block(found: dict[str, list[str]], heading: str, *changes: tuple[str, str]) -> str:
    """The first block under the heading, with what a reader is to put in its place."""
    if heading not in found:
        raise WrongError(f"{DOCUMENT.name} has no commands under “{heading}” any more")
    text = found[heading][0]
    for there, here in changes:
        if there not in text:
            raise WrongError(f"the commands under “{heading}” do not hold “{there}” any more")
        text = text.replace(there, here)
    return text


# ---- the root --------------------------------------------------------------------------------


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
            self.leader = until(lambda: self._leader(process.pid), BOOT, "systemd is started")
            until(self._ready, BOOT, "systemd has started what it starts")
            yield
        except WrongError:
            if process.poll() is not None:
                log.seek(0)
                raise CannotError(f"systemd can't be booted: {log.read()[-600:]}") from None
            raise
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            if process.poll() is None:
                os.kill(self.leader, signal.SIGKILL)
                process.kill()
            process.wait(30)
            log.close()

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
        said = self.run("systemctl is-system-running", check=False)
        return said.strip() in {"running", "degraded"}

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
    # Where no systemd runs, nobody can be asked for a unit.
    own = () if Path("/run/systemd/system").is_dir() else ("--keep-unit",)
    return (*command, *own, f"--machine=streamsite-{os.getpid()}", "--resolv-conf=replace-host")


def demand() -> None:
    """Raise `CannotError` unless the machine can do it at all."""
    if os.geteuid() != 0:
        raise CannotError("it must be run as root, for it makes a root and boots it")
    for program in ("debootstrap", "systemd-nspawn", "nsenter", "unshare", "git", "ffmpeg"):
        if shutil.which(program) is None:
            raise CannotError(f"there is no {program} here: apt-get install --yes {program}")


def own_release() -> str:
    said = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=(\w+)$", said, re.MULTILINE)
    return found[1] if found else ""


def made_root(release: str, kept: Path, work: Path) -> Path:
    """A fresh root; debootstrap's work is kept as an archive."""
    for name in ("apt", "pip", "debs"):
        (kept / name).mkdir(parents=True, exist_ok=True)
    root = work / "root"
    archive = kept / f"{release}.tar"
    if not archive.exists():
        say(f"debootstrap {release}")
        done = subprocess.run(
            ("debootstrap", "--variant=minbase", f"--include={BASE}",
             f"--cache-dir={kept}/debs", release, str(root), MIRROR),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotError(
                f"debootstrap has failed: {done.stdout[-600:]}{done.stderr[-600:]}"
            )
        # dpkg waits for the disk at each file otherwise.
        (root / "etc/dpkg/dpkg.cfg.d/unsafe").write_text("force-unsafe-io\n")
        (root / "etc/apt/apt.conf.d/keep").write_text(
            'Binary::apt-get::APT::Keep-Downloaded-Packages "true";\n'
        )
        draft = archive.with_suffix(".part")
        subprocess.run(("tar", "-C", str(root), "-cf", str(draft), "."), check=True)
        draft.replace(archive)
        return root
    root.mkdir()
    subprocess.run(("tar", "-C", str(root), "-xf", str(archive)), check=True)
    return root


def made_repository(work: Path) -> Path:
    """What is checked out here, changes that nobody has committed included."""
    path = work / "repository"
    path.mkdir()
    asked = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    listed = subprocess.run(asked, cwd=ROOT, check=True, capture_output=True).stdout
    for name in listed.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    git(path, "init", "--quiet", "--initial-branch=main")
    commit(path, "as it is here")
    return path


def git(path: Path, *words: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(("git", *who, "-C", str(path), *words), check=True, capture_output=True)


def commit(path: Path, what: str) -> None:
    git(path, "add", "--all", "--force")
    git(path, "commit", "--quiet", "--no-verify", "--message", what)


# ---- asking the site -------------------------------------------------------------------------


class Site:
    """The site as a visitor of the container's network sees it: by HTTPS, through nginx."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.key = ""
        self.cookies: dict[str, str] = {}

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers. Asked by a process in the container's network."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            sent["X-API-Key"] = self.key
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        entered = ("nsenter", f"--target={self.machine.leader}", "--net")
        asked = {"method": method, "path": path, "headers": sent, "size": len(body or b"")}
        try:
            done = subprocess.run(
                (*entered, sys.executable, __file__, "--ask", json.dumps(asked)),
                input=body or b"", capture_output=True, timeout=120, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            return 0, str(late).encode(), {}
        if done.returncode:
            return 0, done.stderr, {}
        head, _, rest = done.stdout.partition(b"\n")
        told = json.loads(head)
        for name, value in told["cookies"].items():
            self.cookies[name] = value
        return told["status"], rest, told["headers"]

    def api(self, method: str, path: str, body: object = None) -> Any:
        sent = None if body is None else json.dumps(body).encode()
        status, said, _ = self.ask(
            method, f"/api/v1/{path}", sent, Content_Type="application/json"
        )
        if not 200 <= status < 300:
            raise WrongError(f"{method} /api/v1/{path} answers {status}: {said[:600]!r}")
        return json.loads(said) if said else None

    def health(self) -> dict[str, Any]:
        status, said, _ = self.ask("GET", "/health")
        return dict(json.loads(said)) if status in {200, 503} else {}

    def state(self) -> str:
        return next((str(c["state"]) for c in self.health().get("channels", ())), "")

    def login(self, password: str) -> None:
        _, page, _ = self.ask("GET", "/admin/login/")
        found = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page)
        must(found, "the login page is there")
        form = {"username": "operator", "password": password, "next": "/admin/"}
        form["csrfmiddlewaretoken"] = found[1].decode() if found else ""
        status, _, _ = self.ask(
            "POST", "/admin/login/", urllib.parse.urlencode(form).encode(),
            Content_Type="application/x-www-form-urlencoded",
            Referer=f"https://{NAME}/admin/login/",
        )  # fmt: skip
        must(status == 302 and "sessionid" in self.cookies, "the printed password logs in")


def ask_from_here(asked: dict[str, Any]) -> None:
    """Ask one thing, and print the answer: its head as a line of JSON, then its body."""
    body = sys.stdin.buffer.read() if asked["size"] else None
    context = ssl.create_default_context()
    # Made for this test alone.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context),
        Stay,
        urllib.request.HTTPCookieProcessor(jar),
    )
    request = urllib.request.Request(
        f"https://127.0.0.1{asked['path']}", body, {"Host": NAME, **asked["headers"]},
        method=asked["method"],
    )  # fmt: skip
    try:
        answer = opener.open(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    cookies = {}
    for line in answer.headers.get_all("Set-Cookie") or ():
        name, _, value = line.partition(";")[0].partition("=")
        cookies[name] = value
    head = {"status": answer.status, "headers": dict(answer.headers), "cookies": cookies}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + answer.read())


# ---- the test --------------------------------------------------------------------------------


def install(machine: Machine, found: dict[str, list[str]]) -> str:
    """Sections 2 to 5, in the booted system. Returns the password that was printed."""
    say("2. Settings (the editor's work is done here)")
    text = block(found, "2. Settings", ("nano /etc/streamsite/env", "true"))
    said = machine.run(f"cd /srv/streamsite\n{text}")
    key = re.search(r"^FIELD_KEYS=\S+$", said, re.MULTILINE)
    must(key, "a key for the fields is printed")
    settings = machine.root / "etc/streamsite/env"
    text = settings.read_text().replace("tv.example.org", NAME)
    settings.write_text(text.replace("\nFIELD_KEYS=\n", f"\n{key[0] if key else ''}\n"))
    say("3. Database and static files")
    said = machine.run(f"cd /srv/streamsite\n{block(found, '3. Database and static files')}\n")
    say("4. Services and account")
    said = machine.run(f"cd /srv/streamsite\n{block(found, '4. Services and account')}")
    password = re.search(r"Password +(\S+)", said)
    must(password, "the password is printed")
    say("5. nginx and HTTPS (a certificate of this test's own in certbot's place)")
    text = block(
        found, "5. nginx and HTTPS", ("YOUR.NAME", NAME),
        (f"certbot --nginx --redirect --domain {NAME}", CERTIFICATE),
    )  # fmt: skip
    machine.run(f"cd /srv/streamsite\n{text}")
    return password[1] if password else ""


CERTIFICATE: Final = rf"""
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={NAME} \
    -keyout /etc/ssl/private/test.key -out /etc/ssl/certs/test.crt 2>/dev/null
sed -i '0,/listen \[::\]:80;/s||listen [::]:80; listen 443 ssl; ssl_certificate \
/etc/ssl/certs/test.crt; ssl_certificate_key /etc/ssl/private/test.key;|' \
    /etc/nginx/sites-available/streamsite
nginx -t && systemctl restart nginx
"""


def services_run(machine: Machine) -> None:
    for service in SERVICES:
        unit = f"streamsite-{service}"
        shown = machine.run(f"systemctl show -p ActiveState -p NRestarts {unit}")
        if "ActiveState=active" not in shown or "NRestarts=0" not in shown:
            log = machine.run(f"journalctl --unit {unit} --lines 40 --no-pager", check=False)
            raise WrongError(f"{unit}: {shown}\n{log}")
    say("  well: every service runs, and none was started twice")


def rights_hold(machine: Machine) -> None:
    say("who may read what")
    groups = machine.run("id -nG www-data").split()
    must("streamsite" not in groups, "nginx is not in the group of the service")
    for what, script in {
        "the settings": "cat /etc/streamsite/env",
        "the database": "cat /var/lib/streamsite/streamsite.sqlite3",
        "the data folder": "ls /var/lib/streamsite",
        "the run directory": "ls /run/streamsite",
        "the processes' records": "cat /run/streamsite/channel-1/*.json",
    }.items():
        must(not machine.may("www-data", script), f"nginx can't read {what}")
    must(
        machine.may("www-data", "cat /var/www/streamsite/staticfiles.json"),
        "static files",
    )
    must(
        machine.may("www-data", "cat /run/streamsite/channel-1/hls/live.m3u8"),
        "and the preview it can read",
    )
    must(not machine.may("nobody", "ls /run/streamsite/channel-1/hls"), "nobody else can")
    must(
        not machine.may("nobody", "test -w /run/streamsite-web.sock"),
        "nor ask for a page",
    )
    modes = machine.run("stat -c %a /var/lib/streamsite /var/lib/streamsite/streamsite.sqlite3")
    must(modes.split() == ["750", "600"], "the folder is 0750, the database 0600")
    said = machine.run("streamsite check --deploy 2>&1", check=False)
    must("no issues" in said, f"check --deploy finds nothing: {said.strip()[-300:]}")


@contextmanager
def sink(machine: Machine, into: str) -> Iterator[Callable[[], bool]]:
    """An RTMP server that takes one session and ends with it. Tells whether it still runs."""
    listen = f"rtmp://127.0.0.1:1936/live/{KEY}"
    process = subprocess.Popen(
        machine.command(f"exec ffmpeg -nostdin -v error -listen 1 -i {listen} "
            f"-c copy -f mpegts {into}"),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield lambda: process.poll() is None
    finally:
        process.terminate()
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
    count, found = 0, []
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
            found.append(f"stream {stream} at {dts:.3f} s: a step of {step:.3f} s")
        last[stream] = dts
    return count, found


def uploaded(site: Site, clip: Path) -> int:
    """The clip in the library, by the browser's way. Returns the item's number."""
    body = clip.read_bytes()
    begun = site.api("POST", "media/uploads", {"name": "film.mp4", "size_bytes": len(body)})
    for number in range(1, begun["parts"] + 1):
        part = body[(number - 1) * begun["part_bytes"] :][: begun["part_bytes"]]
        where = site.api(
            "POST", "media/uploads/part-url", {"ticket": begun["ticket"], "number": number}
        )
        status, said, _ = site.ask(
            "PUT", where["url"], part,
            X_Upload_Ticket=begun["ticket"], Content_Type="application/octet-stream",
        )  # fmt: skip
        must(status == 200, f"part {number} of the upload is taken ({said[:200]!r})")
    return int(site.api("POST", "media/uploads/finish", {"ticket": begun["ticket"]})["id"])


def upgrade(machine: Machine, found: dict[str, list[str]], site: Site) -> None:
    """A new version by the document's commands, while pages are asked for without a pause."""
    with (machine.repository / "CHANGELOG.md").open("a") as changes:
        changes.write("- A new version.\n")
    commit(machine.repository, "a new version")
    lost: list[str] = []
    asked = 0
    process = subprocess.Popen(
        machine.command(f"cd /srv/streamsite\n{block(found, 'A new version')}"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while process.poll() is None:
        began = time.monotonic()
        status, page, _ = site.ask("GET", "/admin/")
        asked += 1
        if status != 200:
            lost.append(f"{status} after {time.monotonic() - began:.1f} s: {page[-300:]!r}")
    said = process.stdout.read() if process.stdout else ""
    told = machine.run("tail -1 /srv/streamsite/CHANGELOG.md").strip()
    must(told == "- A new version.", "the new version is there")
    must(process.returncode == 0, f"the commands of “A new version” end well {said[-800:]}")
    must(asked and not lost, f"every one of {asked} pages asked for meanwhile came {lost}")


def follow(machine: Machine, found: dict[str, list[str]], work: Path) -> None:
    """From the settings to an upgrade on air."""
    site = Site(machine)
    password = install(machine, found)
    until(site.health, 90, "the site answers through nginx by HTTPS")
    services_run(machine)
    site.login(password)
    until(lambda: site.state() == "on_air", ON_AIR, "the Demo channel is on the air")
    say("  well: the Demo channel is on the air")
    rights_hold(machine)
    status, playlist, headers = site.ask("GET", "/hls/demo/live.m3u8")
    must(status == 200 and b"#EXTINF" in playlist, "nginx sends the preview's playlist")
    segment = playlist.decode().strip().splitlines()[-1]
    status, body, _ = site.ask("GET", f"/hls/demo/{segment}")
    must(status == 200 and body[:1] == b"G", "and its segments")
    status, body, _ = site.ask("GET", "/channels/demo/picture.jpg")
    must(status == 200 and body[:2] == b"\xff\xd8", "and its picture")
    _, page, _ = site.ask("GET", "/admin/")
    static = re.search(rb'(?:href|src)="(/static/[^"]+\.css)"', page)
    status, _, headers = site.ask("GET", static[1].decode() if static else "/static/")
    must(status == 200 and "immutable" in headers.get("Cache-Control", ""), "and static files")

    on_air(machine, found, site, work)


def on_air(machine: Machine, found: dict[str, list[str]], site: Site, work: Path) -> None:
    """What happens while the channel is on the air: an upload, a cleared folder, an upgrade."""
    site.key = machine.run("streamsite create_api_key test --level ADMIN").split()[-1]
    with sink(machine, "/tmp/received.ts") as lives:
        # /tmp of the booted system may be in memory.
        received = Path(f"/proc/{machine.leader}/root/tmp/received.ts")
        site.api("POST", "outputs", {
            "channel": "demo", "name": "Sink", "platform": "rtmp",
            "url": "rtmp://127.0.0.1:1936/live", "key": KEY,
        })  # fmt: skip
        until(lambda: received.exists() and received.stat().st_size > 0, 90, "the output sends")
        say("  well: an output added on air sends to a real RTMP server")
        item = uploaded(site, film(work))
        lists = site.api("GET", "playlists")
        site.api("POST", f"playlists/{lists['items'][0]['id']}/entries", {"item_ids": [item]})
        told = until(lambda: prepared(site, item), 420, "the upload is inspected and prepared")
        say(f"  well: the upload is inspected and prepared ({told})")
        parts = {p["name"]: p for p in site.api("GET", "health/detailed")["parts"]}
        must(parts["jobs"]["ok"], f"no job fails: {parts['jobs']['sentence']}")

        say("a cleared run directory")
        machine.run("find /run/streamsite -mindepth 1 -delete")
        until(site.health, 30, "the pages are there again")
        seen = "cat /run/streamsite/channel-1/hls/*.ts"
        until(lambda: machine.may("www-data", seen), 60, "nginx can read the preview again")
        held = "held" if lives() else "was begun anew"
        say(f"  well: pages and preview are there; the session {held}")
    with sink(machine, "/tmp/second.ts") as lives:
        received = Path(f"/proc/{machine.leader}/root/tmp/second.ts")
        until(
            lambda: received.exists() and received.stat().st_size > 0, 180, "the output sends"
        )
        until(lambda: site.state() == "on_air", 180, "the channel is on the air again")
        say("a new version while on air")
        upgrade(machine, found, site)
        grows(received)
        until(lambda: site.state() == "on_air", 90, "the channel is on the air")
        grows(received)
        must(lives(), "the upgrade left the RTMP session as it was")
        count, found_wrong = anomalies(received)
        must(
            count > 0 and not found_wrong,
            f"none of its {count} timestamps goes back or leaps {found_wrong[:5]}",
        )
        services_run(machine)


def prepared(site: Site, item: int) -> str:
    told = site.api("GET", f"media/{item}")
    if told["status"] == "fault":
        raise WrongError(f"the upload is taken for faulty: {told['fault']}")
    return (
        f"{told['video_codec']}, {told['loudness_lufs']} LUFS"
        if told["status"] == "ready"
        else ""
    )


def film(work: Path) -> Path:
    path = work / "film.mp4"
    sources = (
        "-f",
        "lavfi",
        "-i",
        "testsrc2=s=640x360:r=25:d=8",
        "-f",
        "lavfi",
        "-i",
        "sine=d=8",
    )
    subprocess.run(
        ("ffmpeg", "-v", "error", "-nostdin", "-y", *sources, "-c:v", "libx264", "-preset",
         "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)),
        check=True,
    )  # fmt: skip
    return path


def test(release: str, kept: Path, work: Path) -> None:
    demand()
    found = blocks(DOCUMENT.read_text())
    root = made_root(release, kept, work)
    machine = Machine(root, kept, made_repository(work))
    say("1. Packages, user, code")
    machine.before(
        block(
            found, "1. Packages, user, code", ("ADDRESS-OF-THE-REPOSITORY", "/mnt/repository")
        )
    )
    with machine.booted():
        said = machine.run("python3 --version; ffmpeg -version | head -1; systemctl --version")
        say(f"booted: {'; '.join(said.splitlines()[:3])}")
        try:
            follow(machine, found, work)
        except WrongError:
            log = machine.run(
                "journalctl --unit 'streamsite-*' --priority warning --lines 60 --no-pager; "
                "tail -20 /var/log/nginx/error.log", check=False,
            )  # fmt: skip
            print(log, flush=True)
            raise


def main(words: list[str]) -> int:
    if words[:1] == ["--ask"]:
        ask_from_here(json.loads(words[1]))
        return 0
    # What is made for the test goes with it, however it ends.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    release = words[0] if words else own_release()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamsite-server-", dir="/var/tmp") as name:
        work = Path(name)
        kept = Path(words[1]).resolve() if len(words) > 1 else work / "kept"
        try:
            if release not in RELEASES:
                raise CannotError(
                    f"{release or 'this system'} is none of {', '.join(RELEASES)}"
                )
            test(release, kept, work)
        except CannotError as why:
            say(f"The server test can't run here: {why}")
            return CANNOT
        except WrongError as what:
            say(f"WRONG: {what}")
            return 1
    say(f"The documented installation holds on {release}: {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
