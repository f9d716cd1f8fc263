"""Installs on a bare Debian with systemd, by deploy/install.sh or by hand: see server_test.sh.

The command blocks that are run are the document's own. A root made by mmdebstrap takes the
place of the VPS: the first block runs in it with the network, for it fetches packages; then
systemd is booted there in a network of its own. Done here, and said, is what a person would do
at the keyboard (an editor, certbot).
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from server_air import (
    KEY,
    UPGRADE,
    anomalies,
    broken_releases,
    grows,
    sink,
    to_older_version,
    upgrade,
)
from server_machine import (
    RELEASES,
    ROOT,
    CannotError,
    Machine,
    WrongError,
    demand,
    made_repository,
    made_root,
    must,
    other_release,
    report,
    until,
)
from server_site import NAME, Site

DOCUMENT: Final = ROOT / "deploy/README.md"
SERVICES: Final = ("web", "jobs", "playout")
#: Exit status for "this machine can't do it", as automake has it.
CANNOT: Final = 77
#: Seconds. Generous: the machine may be busy with other tests.
ON_AIR: Final = 900.0


def blocks(text: str) -> dict[str, list[str]]:
    """The command blocks of a document, by the heading or bold words before them."""
    result: dict[str, list[str]] = {}
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
            result.setdefault(heading, []).append("\n".join(block))
    return result


def block(result: dict[str, list[str]], heading: str, *changes: tuple[str, str]) -> str:
    """The first block under the heading, with what a reader is to put in its place."""
    if heading not in result:
        raise WrongError(f"{DOCUMENT.name} has no commands under “{heading}” any more")
    text = result[heading][0]
    for there, here in changes:
        if there not in text:
            raise WrongError(f"the commands under “{heading}” do not hold “{there}” any more")
        text = text.replace(there, here)
    return text


def install_by_script(machine: Machine) -> str:
    """deploy/install.sh, twice. Returns the password that was printed."""
    report("deploy/install.sh")
    command = f"/srv/streamsite/deploy/install.sh {NAME} --tls self-signed"
    output = machine.run(command, seconds=600)
    password = re.search(r"Password +(\S+)", output)
    must(password, "the password is printed")
    must(f"https://{NAME}/admin/" in output, "and the address")
    before = machine.run("cat /etc/streamsite/env")
    again = machine.run(command, seconds=600)
    must("Password" not in again, "run again, it makes no other account")
    must(machine.run("cat /etc/streamsite/env") == before, "and keeps the settings")
    return password[1] if password else ""


def install(machine: Machine, result: dict[str, list[str]]) -> str:
    """Sections 2 to 5, in the booted system. Returns the password that was printed."""
    report("2. Settings (the editor's work is done here)")
    text = block(result, "2. Settings", ("nano /etc/streamsite/env", "true"))
    output = machine.run(f"cd /srv/streamsite\n{text}")
    key = re.search(r"^FIELD_KEYS=\S+$", output, re.MULTILINE)
    must(key, "a key for the fields is printed")
    settings = machine.root / "etc/streamsite/env"
    text = settings.read_text().replace("tv.example.org", NAME)
    settings.write_text(text.replace("\nFIELD_KEYS=\n", f"\n{key[0] if key else ''}\n"))
    report("3. Database and static files")
    output = machine.run(
        f"cd /srv/streamsite\n{block(result, '3. Database and static files')}\n"
    )
    report("4. Services and account")
    output = machine.run(f"cd /srv/streamsite\n{block(result, '4. Services and account')}")
    password = re.search(r"Password +(\S+)", output)
    must(password, "the password is printed")
    report("5. nginx and HTTPS (a certificate of this test's own in certbot's place)")
    text = block(
        result, "5. nginx and HTTPS", ("YOUR.NAME", NAME),
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
    report("  well: every service runs, and none was started twice")


def rights_hold(machine: Machine) -> None:
    report("who may read what")
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
    output = machine.run("streamsite check --deploy 2>&1", check=False)
    must("no issues" in output, f"check --deploy finds nothing: {output.strip()[-300:]}")


def uploaded(site: Site, clip: Path) -> int:
    """The clip in the library, by the browser's way. Returns the item's number."""
    body = clip.read_bytes()
    begun = site.api("POST", "media/uploads", {"name": "film.mp4", "size_bytes": len(body)})
    for number in range(1, begun["parts"] + 1):
        part = body[(number - 1) * begun["part_bytes"] :][: begun["part_bytes"]]
        where = site.api(
            "POST", "media/uploads/part-url", {"ticket": begun["ticket"], "number": number}
        )
        status, output, _ = site.request(
            "PUT", where["url"], part,
            X_Upload_Ticket=begun["ticket"], Content_Type="application/octet-stream",
        )  # fmt: skip
        must(status == 200, f"part {number} of the upload is taken ({output[:200]!r})")
    return int(site.api("POST", "media/uploads/finish", {"ticket": begun["ticket"]})["id"])


def follow(
    machine: Machine,
    result: dict[str, list[str]],
    work: Path,
    *,
    by_hand: bool,
    upgrades: int,
) -> None:
    """From the settings to an upgrade on air."""
    site = Site(machine)
    password = install(machine, result) if by_hand else install_by_script(machine)
    until(site.health, 90, "the site answers through nginx by HTTPS")
    services_run(machine)
    site.login(password)
    until(lambda: site.state() == "on_air", ON_AIR, "the Demo channel is on the air")
    report("  well: the Demo channel is on the air")
    rights_hold(machine)
    status, playlist, headers = site.request("GET", "/api/v1/channels/demo/preview.m3u8")
    must(status == 200 and b"#EXTINF" in playlist, "nginx sends the preview's playlist")
    segment = playlist.decode().strip().splitlines()[-1]
    status, body, _ = site.request("GET", f"/api/v1/channels/demo/{segment}")
    must(status == 200 and body[:1] == b"G", "and its segments")
    # One is not waited for on a busy machine: the page asks again.
    picture = "/api/v1/channels/demo/picture.jpg"
    until(lambda: site.request("GET", picture)[1][:2] == b"\xff\xd8", 90, "and its picture")
    _, page, _ = site.request("GET", "/admin/")
    static = re.search(rb'(?:href|src)="(/static/[^"]+\.css)"', page)
    status, _, headers = site.request("GET", static[1].decode() if static else "/static/")
    must(status == 200 and "immutable" in headers.get("Cache-Control", ""), "and static files")

    by_script, by_typing = result["A new version"]
    must(by_script == UPGRADE, "the document names deploy/upgrade.sh")
    command = f"cd /srv/streamsite\n{by_typing}" if by_hand else by_script
    on_air(machine, result, site, work, command, upgrades)


def on_air(
    machine: Machine,
    result: dict[str, list[str]],
    site: Site,
    work: Path,
    command: str,
    upgrades: int,
) -> None:
    """Events while the channel is on the air: an upload, a cleared folder, an upgrade."""
    site.key = machine.run("streamsite create_api_key test --permissions ADMIN").split()[-1]
    with sink(machine, "/tmp/received.ts") as lives:
        # /tmp of the booted system may be in memory.
        received = Path(f"/proc/{machine.leader}/root/tmp/received.ts")
        site.api("POST", "outputs", {
            "channel": "demo", "name": "Sink", "platform": "rtmp",
            "url": "rtmp://127.0.0.1:1936/live", "key": KEY,
        })  # fmt: skip
        until(lambda: received.exists() and received.stat().st_size > 0, 90, "the output sends")
        report("  well: an output added on air sends to a real RTMP server")
        item = uploaded(site, make_video(work))
        lists = site.api("GET", "playlists")
        site.api("POST", f"playlists/{lists['items'][0]['id']}/entries", {"item_ids": [item]})
        reported = until(
            lambda: prepared(site, item), 420, "the upload is inspected and prepared"
        )
        report(f"  well: the upload is inspected and prepared ({reported})")
        parts = {p["name"]: p for p in site.api("GET", "health/detailed")["parts"]}
        must(parts["jobs"]["ok"], f"no job fails: {parts['jobs']['sentence']}")
        must(lives(), "its session has held")

    for script in ("find /run/streamsite -mindepth 1 -delete", "rm -rf /run/streamsite"):
        wiped(machine, site, script)
    elsewhere(machine, result)
    another_key(machine, result)
    with sink(machine, "/tmp/second.ts") as lives:
        received = Path(f"/proc/{machine.leader}/root/tmp/second.ts")
        until(
            lambda: received.exists() and received.stat().st_size > 0, 180, "the output sends"
        )
        until(lambda: site.state() == "on_air", 180, "the channel is on the air again")
        report("a new version while on air")
        for number in range(1, upgrades + 1):
            # At a random moment of the items, which are half a minute long.
            time.sleep(random.uniform(0, 30) if upgrades > 1 else 0)  # noqa: S311 - no secret
            upgrade(machine, site, command, number)
            grows(received)
        if command == UPGRADE:
            broken_releases(machine)
            grows(received)
            back = blocks((DOCUMENT.parent / "rollback.md").read_text())
            to_older_version(machine, back["To an older version, later"][0])
            grows(received)
        until(lambda: site.state() == "on_air", 90, "the channel is on the air")
        grows(received)
        must(lives(), "the upgrade left the RTMP session as it was")
        count, faulty = anomalies(received)
        must(
            count > 0 and not faulty,
            f"none of its {count} timestamps goes back or leaps {faulty[:5]}",
        )
        services_run(machine)


def elsewhere(machine: Machine, result: dict[str, list[str]]) -> None:
    """The services come back with another folder to write in at the next start."""
    report("A folder elsewhere")
    machine.run("install -d -o streamsite -g streamsite /srv/films")
    machine.run(block(result, "A folder elsewhere"))


def another_key(machine: Machine, result: dict[str, list[str]]) -> None:
    """The old one is gone from the settings when the new version starts."""
    report("Another key for the secrets")
    settings = machine.root / "etc/streamsite/env"
    old = re.search(r"^FIELD_KEYS=(.+)$", settings.read_text(), re.MULTILINE)
    modes = machine.run("stat -c '%U %G %a' /etc/streamsite/env")
    output = machine.run(block(result, "Another key for the secrets"), seconds=300)
    must("1 secrets are encrypted with the first key" in output, f"{output.strip()}")
    must(old and old[1] not in settings.read_text(), "the old key is gone")
    must(
        machine.run("stat -c '%U %G %a' /etc/streamsite/env") == modes,
        "the settings belong to whom they did",
    )


def all_run(machine: Machine) -> bool:
    units = " ".join(f"streamsite-{service}" for service in SERVICES)
    output = machine.run(f"systemctl is-active {units}", check=False)
    return output.split() == ["active"] * len(SERVICES)


def wiped(machine: Machine, site: Site, script: str) -> None:
    """Somebody deletes the run directory while the channel is on the air."""
    report(script)
    began = time.monotonic()
    machine.run(script)
    seen = "cat /run/streamsite/channel-1/hls/*.ts"
    until(lambda: machine.may("www-data", seen), 120, "nginx can read the preview again")
    made = "cd /run/streamsite && ls supervisor.lock playout.alive jobs.alive downloads.alive"
    until(lambda: machine.may("streamsite", made), 60, "each service has its files again")
    until(lambda: all_run(machine), 60, "every service runs")
    must(site.health(), f"all is there again after {time.monotonic() - began:.0f} s")


def prepared(site: Site, item: int) -> str:
    reported = site.api("GET", f"media/{item}")
    if reported["status"] == "fault":
        raise WrongError(f"the upload is taken for faulty: {reported['fault']}")
    return (
        f"{reported['video_codec']}, {reported['loudness_lufs']} LUFS"
        if reported["status"] == "ready"
        else ""
    )


def make_video(work: Path) -> Path:
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


def test(release: str, kept: Path, work: Path, options: set[str]) -> None:
    demand()
    by_hand = "--by-hand" in options
    upgrades = 10 if "--ten-upgrades" in options else 1
    result = blocks(DOCUMENT.read_text())
    root = made_root(release, kept, work)
    machine = Machine(root, kept, made_repository(work))
    machine.demand_container()
    report("1. Packages, user, code")
    first = block(
        result, "1. Packages, user, code", ("ADDRESS-OF-THE-REPOSITORY", "/mnt/repository")
    )
    if not by_hand:
        # The script makes users and groups; the network is there for the packages alone.
        first = "\n".join(line for line in first.splitlines() if not line.startswith("add"))
    machine.before(first)
    with machine.booted():
        output = machine.run(
            "python3 --version; ffmpeg -version | head -1; systemctl --version"
        )
        report(f"booted: {'; '.join(output.splitlines()[:3])}")
        try:
            follow(machine, result, work, by_hand=by_hand, upgrades=upgrades)
        except WrongError:
            log = machine.run(
                "systemctl --no-pager --lines 20 --full status 'streamsite-*'; "
                "journalctl --unit 'streamsite-*' --priority warning --lines 60 --no-pager; "
                "tail -20 /var/log/nginx/error.log", check=False,
            )  # fmt: skip
            print(log, flush=True)
            raise


def main(words: list[str], test: Callable[[str, Path, Path, set[str]], None]) -> int:
    """Runs a test of a release in a folder of its own. `words`: options, release, folder."""
    # Everything made for the test goes with it, however it ends.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    options = {word for word in words if word.startswith("--")}
    words = [word for word in words if not word.startswith("--")]
    release = words[0] if words else other_release()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="streamsite-server-", dir="/var/tmp") as name:
        work = Path(name)
        kept = Path(words[1]).resolve() if len(words) > 1 else work / "kept"
        try:
            if release not in RELEASES:
                raise CannotError(f"{release} is none of {', '.join(RELEASES)}")
            test(release, kept, work, options)
        except CannotError as why:
            report(f"The server test can't run here: {why}")
            return CANNOT
        except WrongError as what:
            report(f"WRONG: {what}")
            return 1
    report(f"The documented installation holds on {release}: {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], test))
