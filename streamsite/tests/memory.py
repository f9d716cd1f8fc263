"""The memory of an installation, process by process."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from streams.playout.ffmpeg.process import marked_pids

#: The parts of an installation, by a word of their command lines; the first that fits.
PARTS: Final = (
    *("management.foreground", "gunicorn", "run_cluster background"),
    *("run_cluster playout", "-progress udp:", "streamsite-waiting", ""),
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


def table(processes: Sequence[Used]) -> str:
    """A line for each process, by parts, and the sums, in MB."""
    ordered = sorted(processes, key=lambda one: PARTS.index(one.part))
    playout = [one for one in ordered if one.part in PLAYOUT]
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
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0
