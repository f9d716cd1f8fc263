"""Titles of items, made from their keys."""

from __future__ import annotations

from typing import Final

#: Maximum characters of a title.
LONGEST_TITLE: Final = 255
_SPACES: Final = str.maketrans("_.-", "   ")


def title_of(key: str) -> str:
    """Returns a first title from the file's name: shows/a_fine-day.mp4 is "a fine day"."""
    name = key.rsplit("/", 1)[-1]
    stem = name.rsplit(".", 1)[0] or name
    return (" ".join(stem.translate(_SPACES).split()) or name)[:LONGEST_TITLE]
