"""Refuses names that hold words which the project gave up: `make spelling`.

CONTRIBUTING.md says how names are chosen. Each word below stands for several things, so a
reader has to guess; the right column says which words took their place.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

#: Parts of names, in lower case, and the words to use.
GIVEN_UP = {
    "event, message, report": "tell tells told telling say says said saying hear hears heard",
    "request, params, body, filters": "ask asks asked asking",
    "existing, cached, expected, desired": "known wanted",
    "rows, matches, result": "found",
    "the noun in the singular": "each",
    "inspect, poll, tick, check": "look looks looked looking",
    "client, storage, endpoint": "door doors",
    "process group, process supervisor, reap": "household steward bury buried",
    "parent death, background thread": "lifeline attendant",
    "self test, enqueue, deletion guard": "canary bell ring rings rang sing brake",
    "upcoming problem": "forewarning forewarnings forewarn",
    "history, occurrences": "chronicle agenda",
    "video": "film films",
    "house_format": "house houses",
}
#: Two parts in a row.
PAIRS = {
    ("give", "back"): "requeue, release",
    ("given", "back"): "requeued, released",
    ("first", "design"): "compatibility",
    ("first", "designs"): "compatibility",
}
#: Constants carry their unit: *_TIMEOUT_S, MAX_*, *_RETENTION.
CONSTANTS = {"PATIENCE", "PATIENT", "MOST", "KEPT", "LOOK", "AGAIN", "FAR", "REST", "LAST"}
#: HTTP, Django and ninja say "not found"; a house format is a term of ours.
ALLOWED = re.compile(r"not_?found|house_?(format|fields)", re.IGNORECASE)

_WORDS = {word: use for use, words in GIVEN_UP.items() for word in words.split()}
_PARTS = re.compile(r"_|(?<=[a-z0-9])(?=[A-Z])")


def fault(name: str) -> str:
    """The word that the name should not hold, and those to use; empty for a good name."""
    parts = [part for part in _PARTS.split(ALLOWED.sub("", name)) if part]
    lower = [part.lower() for part in parts]
    if name.isupper() and name.strip("_") in CONSTANTS:
        return f"{name}: say what it bounds, and the unit"
    for word in lower:
        if word in _WORDS:
            return f"{word}: {_WORDS[word]}"
    for pair in pairwise(lower):
        if pair in PAIRS:
            return f"{'_'.join(pair)}: {PAIRS[pair]}"
    return ""


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and names of everything that the file defines or sets."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.ExceptHandler(name=str() as name):
                yield node.lineno, name
            case _:
                pass


def main() -> int:
    """Print each fault with its place; 1 if there is one."""
    listed = subprocess.run(
        ("git", "ls-files", "*.py"), capture_output=True, text=True, check=True
    ).stdout.split()
    bad = 0
    for path in (Path(line) for line in listed if "/migrations/" not in line):
        places = [(0, part) for part in (*path.parts[:-1], path.stem)]
        for line, name in (*places, *names(ast.parse(path.read_text()))):
            if words := fault(name):
                bad += 1
                print(f"{path}:{line}: {name}: not {words}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
