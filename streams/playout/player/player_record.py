"""Encodes a player's slot in its record, for the next supervisor."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from pydantic import TypeAdapter

from streams.playout.contract.turn import Turn
from streams.playout.player.timeline import Slot
from streams.programme import cursor_codec

_TURN: Final = TypeAdapter(Turn)


def encode(slot: Slot) -> dict[str, Any]:
    """Encode what the next supervisor must know about a player."""
    return {"offset": str(slot.start), "turn": _TURN.dump_python(slot.turn, mode="json")}


def decode(notes: dict[str, Any]) -> Slot:
    """Decode a record's notes, also of the version that kept item and cursors apart.

    Raises `KeyError`, `TypeError` or `ValueError` if it can't.
    """
    turn = dict(notes["turn"])
    if "item" in notes:
        turn |= {"item": notes["item"], "cursors": cursor_codec.decode(notes["cursors"])}
    return Slot(_TURN.validate_python(turn), Fraction(notes["offset"]))
