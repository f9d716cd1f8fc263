"""Prints the notes of a release from CHANGELOG.md: `release_notes.py v1.2.0`.

Ends with a sentence and status 1 unless the tag, `streamsite.__version__`, pyproject.toml and a
dated section of CHANGELOG.md agree.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


def notes(tag: str, changes: str, versions: dict[str, str]) -> str:
    """Returns the section of the tag's version. `versions`: by file. Raises `ValueError`."""
    version = tag.removeprefix("v")
    for file, named in versions.items():
        if named != version:
            raise ValueError(f"{file} has version {named}, and the tag is {tag}.")
    heading = re.compile(rf"^## {re.escape(version)}, (.+)$", re.MULTILINE)
    result = heading.search(changes)
    if result is None:
        raise ValueError(f"CHANGELOG.md has no section '## {version}, DATE'.")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", result[1]):
        raise ValueError(f"Write the day of the release for '{result[1]}' in CHANGELOG.md.")
    return changes[result.end() :].partition("\n## ")[0].strip() + "\n"


def main(tag: str) -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.search(r'__version__ = "(.+)"', (ROOT / "streamsite/__init__.py").read_text())
    versions = {
        "pyproject.toml": project["version"],
        "streamsite/__init__.py": named[1] if named else "none",
    }
    try:
        sys.stdout.write(notes(tag, (ROOT / "CHANGELOG.md").read_text(), versions))
    except ValueError as wrong:
        sys.stderr.write(f"release_notes.py: {wrong}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
