"""Moves an installation: a backup of one bare Debian brings another one on air.

deploy/server_test.sh --restore [--postgres] [RELEASE [FOLDER]]. The machines are made and
booted as in server_test.py, one after the other.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from server_air import KEY, sink
from server_machine import Machine, demand, made_repository, made_root, must, report, until
from server_site import NAME, Site
from server_test import ON_AIR, block, blocks, install_by_script, main, services_run

PHRASE: Final = "correct horse battery"
#: What a person types for PostgreSQL, in the place of the prompt for the password.
POSTGRES: Final = """
systemctl start postgresql
runuser -u postgres -- psql --quiet --command "CREATE ROLE streamsite LOGIN PASSWORD 'p:w/d'"
runuser -u postgres -- createdb --owner streamsite streamsite
echo 'DATABASE_URL=postgres://streamsite:p%3Aw%2Fd@127.0.0.1/streamsite' >>/etc/streamsite/env
"""
RESTORE: Final = "/srv/streamsite/deploy/restore.sh"
MEDIA: Final = "/var/lib/streamsite/media"
BACKUP: Final = "/var/lib/streamsite/moved.backup"
MAKE: Final = f"""
echo '{PHRASE}' >/var/lib/streamsite/phrase
streamsite backup {BACKUP} --passphrase-file /var/lib/streamsite/phrase
"""


def machine_of(name: str, release: str, kept: Path, work: Path, *, postgres: bool) -> Machine:
    """A bare Debian with the packages, which need the network, and the program's copy."""
    folder = work / name
    folder.mkdir()
    machine = Machine(made_root(release, kept, folder), kept, made_repository(folder))
    machine.demand_container()
    document = (Path(__file__).parent / "README.md").read_text()
    text = block(
        blocks(document), "1. Packages, user, code",
        ("ADDRESS-OF-THE-REPOSITORY", "/mnt/repository"),
    )  # fmt: skip
    lines = [line for line in text.splitlines() if not line.startswith("add")]
    packages = "apt-get install --yes postgresql" if postgres else "true"
    machine.before("\n".join([*lines, packages]))
    return machine


def installed(machine: Machine, *, postgres: bool) -> str:
    """Returns the password that was printed last."""
    password = install_by_script(machine)
    if not postgres:
        return password
    report("PostgreSQL")
    machine.run(POSTGRES)
    output = machine.run(f"/srv/streamsite/deploy/install.sh {NAME}", seconds=600)
    shown = re.search(r"Password +(\S+)", output)
    must(shown, "with another database, install.sh makes its tables and an account")
    return shown[1] if shown else ""


def sends(
    machine: Machine, site: Site, begin: Callable[[], object], then: Callable[[], object]
) -> None:
    """The output reaches a server. `begin` and `then` are called while that listens.

    The server takes one connection: a preflight, which tries the address, would be that.
    """
    until(lambda: site.state() not in {"", "off", "starting"}, ON_AIR, "the channel plays")
    with sink(machine, "/tmp/received.ts") as lives:
        begin()
        received = Path(f"/proc/{machine.leader}/root/tmp/received.ts")
        until(
            lambda: received.exists() and received.stat().st_size > 0, 180, "the output sends"
        )
        until(lambda: site.state() == "on_air", ON_AIR, "the channel is on the air")
        then()
        must(lives(), "the channel is on the air, and its output sends")


def test(release: str, kept: Path, work: Path, options: set[str]) -> None:
    demand()
    postgres = "--postgres" in options
    report("the old machine")
    old = machine_of("old", release, kept, work, postgres=postgres)
    with old.booted():
        site = Site(old)
        password = installed(old, postgres=postgres)
        until(site.health, 90, "the site answers")
        site.key = old.run("streamsite create_api_key test --permissions ADMIN").split()[-1]
        old.run("echo TIME_ZONE=Europe/London >>/etc/streamsite/env")
        output = {
            "channel": "demo", "name": "Sink", "platform": "rtmp",
            "url": "rtmp://127.0.0.1:1936/live", "key": KEY,
        }  # fmt: skip
        sends(old, site, lambda: site.api("POST", "outputs", output), lambda: old.run(MAKE))
        keys = re.search(r"^FIELD_KEYS=.+$", old.run("cat /etc/streamsite/env"), re.MULTILINE)
    for path in (BACKUP, MEDIA):
        must((old.root / path[1:]).exists(), f"the old machine's disk has {path}")

    report("the new machine")
    new = machine_of("new", release, kept, work, postgres=postgres)
    with new.booted():
        site = Site(new)
        installed(new, postgres=postgres)
        own = new.run("cat /etc/streamsite/env")
        new.run(f"echo '{PHRASE}' >/root/phrase")
        copy(old.root / BACKUP[1:], new.root / "root/backup")
        copy(old.root / MEDIA[1:] / ".", new.root / MEDIA[1:])
        new.run(f"chown --recursive streamsite: {MEDIA}")
        shown = new.run(
            f"{RESTORE} /root/backup --passphrase-file /root/phrase 2>&1", seconds=300
        )
        must("go on the air" in shown, "deploy/restore.sh puts it in place")
        settings = new.run("cat /etc/streamsite/env")
        must(keys and keys[0] in settings, "the old machine's key is there")
        must("TIME_ZONE=Europe/London" in settings, "and its settings")
        database = re.search(r"^DATABASE_URL=.*$", own, re.MULTILINE)
        must(not database or database[0] in settings, "the database is the new machine's own")
        until(site.health, 90, "the site answers")
        sends(new, site, lambda: None, lambda: examine(new))
        services_run(new)
        site.login(password)
        shown = new.run("streamsite rotate_keys --drop-old")
        must("0 secrets are encrypted" in shown, "every stored secret can be read")


def examine(machine: Machine) -> None:
    """The doctor finds no fault in a machine that sends."""
    shown = machine.run("streamsite doctor || true")
    print(shown, flush=True)
    must(KEY not in shown and PHRASE not in shown, "the doctor shows no secret")
    must("0 faults" in shown, "and finds no fault")


def copy(source: Path, to: Path) -> None:
    """As rsync would, from one machine's disk to the other's."""
    subprocess.run(("cp", "--archive", str(source), str(to)), check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], test))
