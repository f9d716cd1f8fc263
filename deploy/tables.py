"""Writes the generated tables of the documents: `make docs`.

A comment in a document names the module that prints the table below it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The comment, and the table of Markdown that follows it.
TABLE = re.compile(r"(<!-- What `python -m ([\w.]+)` prints\. -->\n\n)(?:\|.*\n)+")


def printed(module: str) -> str:
    """The table that the module prints."""
    done = subprocess.run(
        (sys.executable, "-m", module), cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip() + "\n"


def main() -> None:
    for page in sorted((ROOT / "deploy").glob("*.md")):
        text = page.read_text()
        fresh = TABLE.sub(lambda table: table[1] + printed(table[2]), text)
        if fresh != text:
            page.write_text(fresh)
            print(f"{page.relative_to(ROOT)} is new.")


if __name__ == "__main__":
    main()
