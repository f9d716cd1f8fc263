"""The fenced blocks of the documents, and what each says about its test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
_RUN_BY: Final = re.compile(r"<!-- Run by (\S+\.py)\. -->")
_NOT_RUN: Final = re.compile(r"\*Not run by a test( as it stands)?: (needs|does not end).*\*")


@dataclass(frozen=True, slots=True)
class Block:
    """`heading`: the line of the document's part. `mark`: what stands before the block."""

    document: str
    line: int
    heading: str
    language: str
    text: str
    mark: str

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def runner(self) -> str:
        """The file of the test that runs it; empty if none does."""
        match = _RUN_BY.fullmatch(self.mark)
        return match[1] if match else ""

    @property
    def is_excused(self) -> bool:
        return bool(_NOT_RUN.fullmatch(self.mark))


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted(ROOT.glob("deploy/**/*.md"))]


@cache
def blocks() -> tuple[Block, ...]:
    return tuple(block for path in documents() for block in _blocks(path))


def _blocks(path: Path) -> Iterator[Block]:
    heading, mark = "", ""
    lines = iter(enumerate(path.read_text().splitlines(), 1))
    for number, line in lines:
        if line.startswith("```"):
            inner = []
            for _, following in lines:
                if following.startswith("```"):
                    break
                inner.append(following)
            name = str(path.relative_to(ROOT))
            yield Block(name, number, heading, line[3:], "\n".join(inner), mark)
            mark = ""
        elif line.startswith("#"):
            heading, mark = line.lstrip("# "), ""
        elif bold := re.match(r"\*\*(.+?)\*\*", line):
            # As deploy/server_test.py names parts.
            heading, mark = bold[1], line
        elif line:
            mark = line
