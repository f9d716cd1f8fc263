"""Encodes cursors for a database row. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from pydantic import TypeAdapter

from streams.programme.model import Cursor, Cursors

_CURSORS: Final = TypeAdapter(dict[str, Cursor])
_NAMES: Final = [field.name for field in fields(Cursor)]


def encode(cursors: Cursors) -> dict[str, Any]:
    """Encode cursors for JSON."""
    encoded: dict[str, Any] = _CURSORS.dump_python(dict(cursors), mode="json")
    return encoded


def decode(encoded: Mapping[str, Any]) -> dict[str, Cursor]:
    """Decode cursors, also of versions that wrote each as a list of values in order.

    Raises `ValueError` or `TypeError` for anything else.
    """
    by_name = {
        rule: dict(zip(_NAMES, value, strict=False)) if isinstance(value, list) else value
        for rule, value in encoded.items()
    }
    return _CURSORS.validate_python(by_name)
