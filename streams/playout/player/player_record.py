"""Encodes a player's turn in its record, for the next supervisor."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from streams.playout.contract.turn import Turn
from streams.programme import cursor_codec
from streams.programme.item import Item, Kind, Mode


def notes_of(turn: Turn, offset: Fraction) -> dict[str, Any]:
    """Encode what the next supervisor must know about a player."""
    item = turn.item
    return {
        "offset": str(offset),
        "turn": {
            "rule": turn.rule,
            "why": turn.why,
            "into": str(turn.into),
            "limit": None if turn.limit is None else str(turn.limit),
            "seconds": None if turn.seconds is None else str(turn.seconds),
            "stands_in": turn.stands_in,
            "fade": turn.fade,
        },
        "cursors": cursor_codec.encode(turn.cursors),
        "item": {
            "title": item.title,
            "key": item.key,
            "mode": item.mode.value,
            "kind": item.kind.value,
            "entry": item.entry,
            "media": item.media,
            "frames": item.frames,
            "has_audio": item.has_audio,
            "reorder": str(item.reorder),
            "edition": item.edition,
        },
    }


def turn_of(notes: dict[str, Any]) -> Turn:
    """Decode a record's turn. Raises `KeyError`, `TypeError` or `ValueError` if it can't."""
    values = notes["turn"]
    into, limit, seconds = (
        None if values[name] is None else Fraction(values[name])
        for name in ("into", "limit", "seconds")
    )
    return Turn(
        _item_of(notes["item"]),
        values["rule"],
        values["why"],
        into or Fraction(0),
        limit,
        seconds,
        cursor_codec.decode(notes["cursors"]),
        values["stands_in"],
        values.get("fade", False),
    )


def _item_of(fields_read: dict[str, Any]) -> Item:
    fields = dict(fields_read)
    typed = {
        "mode": Mode(fields["mode"]),
        "kind": Kind(fields["kind"]),
        "reorder": Fraction(fields["reorder"]),
    }
    return Item(**fields | typed)
