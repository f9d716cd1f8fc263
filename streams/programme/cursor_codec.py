"""Encodes cursors for a database row or a process's record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from streams.programme.model import Cursor, Cursors


def encode(cursors: Cursors) -> dict[str, list[Any]]:
    """Encode cursors for JSON."""
    return {
        rule: [
            cursor.last,
            cursor.round,
            None if cursor.into is None else str(cursor.into),
            None if cursor.cut_at is None else cursor.cut_at.isoformat(),
            cursor.place,
            list(cursor.waiting),
            cursor.mark,
            list(cursor.recent),
        ]
        for rule, cursor in cursors.items()
    }


def decode(encoded: Mapping[str, Any]) -> dict[str, Cursor]:
    """Decode what `encode` wrote in this version, or in the first, which had four values.

    Raises `ValueError` or `TypeError` for anything else.
    """
    return {rule: _cursor(*values) for rule, values in encoded.items()}


def _cursor(
    last: int | None,
    number: int,
    into: str | None,
    left: str | None,
    place: int = 0,
    waiting: Iterable[int] = (),
    *more: Any,
) -> Cursor:
    mark, recent = more or (None, ())
    return Cursor(
        last,
        number,
        None if into is None else Fraction(into),
        None if left is None else datetime.fromisoformat(left),
        place,
        tuple(waiting),
        mark,
        tuple(recent),
    )
