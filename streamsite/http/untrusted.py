"""Reads values that strangers send. Every error is a `ValueError`, to become 400 or 422. Pure.

`int()` refuses more than 4300 digits, `json` recurses and takes NaN, and no database stores a
lone surrogate, a NUL or a number beyond 64 bits.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from typing import Any, Final

#: The largest number of a row.
MAX_INTEGER: Final = 2**63 - 1
#: A NUL as JSON has it: an even number of backslashes before it are characters of their own.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def number(text: str) -> int:
    """A row's number, written in ASCII digits."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_INTEGER))):
        raise ValueError("It is no number.")
    number = int(text)
    if number > MAX_INTEGER:
        raise ValueError("The number is too large.")
    return number


def number_or_none(text: str) -> int | None:
    """As `number`; None for anything else."""
    try:
        return number(text)
    except ValueError:
        return None


def json_of(text: str | bytes) -> Any:
    """JSON that can be stored, and written again."""
    try:
        value = json.loads(text)
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise ValueError("It is nested too deeply.") from None
    # Raises for a lone surrogate.
    if _NUL.search(written.encode()):
        raise ValueError("A NUL character is in it.")
    return value


def place_of(cursor: str) -> tuple[Any, int]:
    """The place at which a list goes on: the value of its order's column, and the row's id."""
    place = json_of(urlsafe_b64decode(cursor.encode()))
    match place:
        case [str() | int() | float() as value, int(pk)] if not isinstance(pk, bool):
            if not 0 < pk <= MAX_INTEGER or (
                isinstance(value, int) and abs(value) > MAX_INTEGER
            ):
                raise ValueError("A number is out of range.")
            return value, pk
    raise ValueError("It is no place in a list.")
