"""Runs the commands of the documents as they stand there, on an installation of their own.

`streamsite` and the site's addresses are those of the installation. `CHANGES` has whatever else
a reader is to put in the place of an example.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from conftest import need
from streams.tests.bench.rtmp import free_port
from streamsite import settings as site
from streamsite.tests.documents.blocks import ROOT, Block, blocks
from streamsite.tests.documents.preloaded import CLIENT
from streamsite.tests.serving import is_open
from streamsite.tests.waiting import until

pytestmark = pytest.mark.slow

RUN_HERE: Final = [
    block for block in blocks() if block.runner.endswith("documents/test_commands.py")
]
#: What a reader puts in the place of an example.
CHANGES: Final = {
    "reset_second_factor NAME": "reset_second_factor operator",
    "playlists/7": "playlists/1",
    '"playlist_id": 7': '"playlist_id": 1',
}
#: Exit statuses of commands that report how it is.
REPORTS: Final = {"Is it well?": {0, 1, 2}}
#: What a command has to print, by a part of its text.
PRINTS: Final = {
    "create_api_key": r"\nssk_[\w-]+\n$",
    "check_health": r"0 of 1 channels",
    "doctor": r"streamsite \d",
    "backup /": r"today\.backup",
    "upload_media": r"series/one/night\.mp4 in the library",
    "sync_media": r"0 added, 0 changed, 0 gone",
    "create_stream_key": r"\n[\w-]{22,}\n$",
    "export_as_run": r"^$",
    "prune": r"\d",
    "api/v1/download": r'"id":',
    "ask()": r'"slug": ?"night"(?s:.*)"state"',
    "ffmpeg": r"libx264(?s:.*)rtmps",
    "reset_second_factor": r"operator",
}
#: The library of the installation, two items and an account, before the commands are run.
PREPARE: Final = """
from django.contrib.auth import get_user_model
from django.utils import timezone
from media_library.models import MediaItem
from streams.models import Channel
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission

get_user_model().objects.create_superuser("operator", password="a long password")
Channel.objects.create(name="Demo", slug="demo")
for number in (1, 2):
    MediaItem.objects.create(key=f"{number}.mp4", title=f"Item {number}", size_bytes=1)
_, key = keys.mint("Documents", KeyPermission.FULL_ACCESS, by="ada", now=timezone.now())
print(key.reveal())
"""


@dataclass(frozen=True)
class Desk:
    """A folder to work in, and the environment of a shell there."""

    folder: Path
    environment: dict[str, str]
    http: str

    def typed(self, text: str) -> str:
        """The commands with the places of this installation."""
        places = {
            "https://tv.example.org": self.http,
            "http://127.0.0.1:8000": self.http,
            "KEY=ssk_...": f"KEY={self.environment['KEY']}",
            "/var/lib/streamsite": str(self.folder),
        }
        for there, here in (CHANGES | places).items():
            text = text.replace(there, here)
        return text

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("bash", "-euo", "pipefail", "-c", self.typed(text)),
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Desk]:
    need(shutil.which("curl"), "curl")
    folder: Path = tmp_path_factory.mktemp("desk")
    names = {name: value for name, value in os.environ.items() if name not in site.env.defaults}
    port = free_port()
    names |= {
        "DJANGO_SETTINGS_MODULE": "streamsite.settings",
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(folder / "data"),
        "RUN_DIR": str(folder / "run"),
        "PORT": str(port),
        # A manifest of static files would take seconds, and no page is asked for.
        "DEBUG": "true",
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
    }
    (folder / "data/media").mkdir(parents=True, mode=0o750)
    shutil.copy(migrated, folder / "data/streamsite.sqlite3")
    for name in ("night.mp4", "data/media/1.mp4", "data/media/2.mp4"):
        (folder / name).write_bytes(b"-")
    (folder / "phrase").write_text("correct horse battery\n")
    place = folder / "commands.sock"
    (folder / "bin").mkdir()
    program = folder / "bin/streamsite"
    program.write_text(CLIENT.format(python=sys.executable, place=str(place)))
    program.chmod(0o755)
    log = folder / "log"
    with log.open("wb") as out, ExitStack() as stack:
        for words in (
            ("streamsite.tests.documents.preloaded", str(place)),
            ("gunicorn", "--config", "python:streamsite.web"),
        ):
            process = subprocess.Popen(
                (sys.executable, "-m", *words),
                cwd=ROOT, env=names, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        until(lambda: place.exists() and is_open(port), 120, "commands and pages are there")
        made = subprocess.run(
            (program, "shell", "--command", PREPARE),
            env=names, capture_output=True, text=True, check=True,
        )  # fmt: skip
        names["KEY"] = made.stdout.split()[-1]
        yield Desk(folder, names, f"http://127.0.0.1:{port}")


def fault(block: Block, done: subprocess.CompletedProcess[str]) -> str:
    """What is wrong with a block's result; empty if nothing is."""
    output = done.stdout + done.stderr
    (expected,) = [words for part, words in PRINTS.items() if part in block.text]
    well = (
        done.returncode in REPORTS.get(block.heading, {0})
        and not re.search("Traceback|urn:streamsite:problem", output)
        and re.search(expected, done.stdout)
    )
    return "" if well else f"{block.place} ended with {done.returncode}:\n{output}"


def test_commands_work_as_they_are_written(desk: Desk) -> None:
    """One test: each worker (pytest-xdist) that ran a part would make the installation anew."""
    assert len(RUN_HERE) > len(PRINTS) / 2
    faults = [fault(block, desk.run(block.text)) for block in RUN_HERE]
    assert not any(faults), "\n".join(filter(None, faults))
