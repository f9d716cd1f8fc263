"""The memory of an installation, process by process."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from streams.playout.ffmpeg.process import marked_pids

#: The parts of an installation, by a word of their command lines; the first that fits.
PARTS: Final = (
    *("management.foreground", "gunicorn", "run_cluster background"),
    *("run_cluster playout", "-progress udp:", "streamsite-waiting"),
    # FFmpeg at a job.
    "",
)
#: The supervisor, and FFmpeg on air.
PLAYOUT: Final = frozenset(PARTS[3:6])


@dataclass(frozen=True, slots=True)
class Used:
    """What one process uses, in kB. A page that n processes share counts 1/n in `pss`."""

    pid: int
    command: str
    pss: int
    rss: int

    @property
    def on_air(self) -> bool:
        """Whether it belongs to the playout part: the supervisor, and FFmpeg on air."""
        return self.part in PLAYOUT

    @property
    def part(self) -> str:
        return next(part for part in PARTS if part in self.command)


def used(pids: Iterable[int]) -> list[Used]:
    """Those of the processes that live, in their order."""
    result = []
    for pid in pids:
        with suppress(OSError, psutil.Error):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            command = " ".join(psutil.Process(pid).cmdline())
            result.append(Used(pid, command, _kb("Pss", text), _kb("Rss", text)))
    return result


def installation(parent: int, run_dir: Path) -> list[Used]:
    """All processes of what `parent` serves, with its FFmpeg."""
    children = [child.pid for child in psutil.Process(parent).children(recursive=True)]
    return used(dict.fromkeys([parent, *children, *marked_pids(run_dir)]))


#: Loads all that the pages load, and reports on itself.
BARE: Final = """
import django
django.setup()
import streamsite.urls
print(open("/proc/self/smaps_rollup").read())
"""


def bare(environment: Mapping[str, str]) -> int:
    """KB of PSS of one process that has loaded Django and the whole program."""
    text = subprocess.run(
        (sys.executable, "-c", BARE),
        env=dict(environment) | {"DJANGO_SETTINGS_MODULE": "streamsite.settings"},
        cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return _kb("Pss", text)


def table(processes: Sequence[Used]) -> str:
    """A line for each process, by parts, and the sums, in MB."""
    ordered = sorted(processes, key=lambda one: PARTS.index(one.part))
    playout = [one for one in ordered if one.on_air]
    lines = [f"{'PSS':>7} {'RSS':>7}  process"]
    lines += [
        f"{mb(o.pss):7.1f} {mb(o.rss):7.1f}  {' '.join(o.command.split())[:100]}"
        for o in ordered
    ]
    lines += [
        f"{mb(sum(one.pss for one in group)):7.1f} {'':>7}  {what}: {len(group)} processes"
        for what, group in (("playout", playout), ("all", ordered))
    ]
    return "\n".join(lines)


def mb(kilobytes: int) -> float:
    return kilobytes / 1024


def _kb(name: str, text: str) -> int:
    match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) if match else 0
