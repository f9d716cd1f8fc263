"""The example of the documentation, run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from streams.models import Run
from streams.tests.bench.clips import Clip
from streams.tests.bench.node import Bench
from streams.tests.conftest import bench, node, shelf
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission

__all__ = ["bench", "node", "shelf"]

PAGE = Path(__file__).parents[3] / "deploy" / "api.md"
#: Lines that the issue promises.
SHORT = 40


def example(tmp_path: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= SHORT
    script = tmp_path / "watch.py"
    script.write_text(code)
    return script


def run(script: Path, site: str, level: KeyPermission) -> subprocess.CompletedProcess[str]:
    _, key = keys.mint("Example", level, by="ada", now=timezone.now())
    return subprocess.run(
        (sys.executable, script, "demo"),
        env=os.environ | {"STREAMSITE": site, "STREAMSITE_KEY": key.reveal()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_it_starts_watches_and_stops_a_channel(
    node: Bench, live_server: LiveServer, shelf: dict[int, Clip], tmp_path: Path
) -> None:
    channel = node.channel(*(node.item(shelf[number]) for number in (2, 4)), slug="demo")
    done = run(example(tmp_path), live_server.url, KeyPermission.ADMIN)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].endswith("is ordered.")
    assert any(line.startswith("on_air - ") for line in lines)
    assert lines[-1].startswith("off - nothing")
    of = Run.objects.get(channel=channel)
    assert of.on_air_at is not None
    assert of.ended_at is not None
    assert of.started_by == "API key Example"


def test_it_reports_a_refusal(
    transactional_db: None, live_server: LiveServer, tmp_path: Path
) -> None:
    done = run(example(tmp_path), live_server.url, KeyPermission.READ_ONLY)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "urn:streamsite:problem:key-permissions: The key has READ_ONLY"
    )
