"""Encodes what a node plays for the channel's row, and decodes it on the second node.

The clocks of two nodes are never compared: the row holds the seconds since the turn began, and
when they were true by the database server's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

import structlog
from django.db.models import DurationField, ExpressionWrapper, F
from django.db.models.functions import Now
from pydantic import TypeAdapter

from streams.models import ChannelState
from streams.planning import plans
from streams.playout.contract.place import Place
from streams.playout.contract.turn import Turn

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A place that is older counts as unknown: five exchanges were missed.
MAX_AGE: Final = timedelta(seconds=10)
_TURN: Final = TypeAdapter(Turn)


def encode(place: Place | None, mono: float) -> dict[str, Any]:
    """Return the fields of the row. `mono`: now, on this machine's monotonic clock.

    The cursors are left out, because the row has them.
    """
    if place is None:
        return {"place": {}, "place_at": None}
    turn = _TURN.dump_python(place.turn, mode="json", exclude={"cursors"})
    facts = {"turn": turn, "played": round(mono - place.began, 3), "lag": place.lag}
    return {"place": facts, "place_at": Now()}


def turn_of(row: ChannelState) -> Turn | None:
    """Return the turn of a row, with its cursors; None: unknown, or another version's."""
    try:
        return _turn(row)
    except (KeyError, TypeError, ValueError):
        return None


def _turn(row: ChannelState) -> Turn:
    return _TURN.validate_python(row.place["turn"] | {"cursors": plans.next_cursors(row)})


def read(channels: Iterable[int], clock: Any) -> dict[int, Place]:
    """Return what their owners play, where that is known.

    `clock`: this machine's monotonic clock.
    """
    age = ExpressionWrapper(Now() - F("place_at"), DurationField())
    rows = list(
        ChannelState.objects.filter(pk__in=channels)
        .exclude(place_at=None)
        .annotate(age=age)
        .only("place", "cursors")
    )
    mono = clock()
    places = {}
    for row in rows:
        try:
            place = _decode(row, mono)
        except (KeyError, TypeError, ValueError):
            # Another version's: this node plays on by itself.
            log.warning("place.unknown", channel=row.pk)
            continue
        if row.age <= MAX_AGE:
            places[row.pk] = place
    return places


def _decode(row: Any, mono: float) -> Place:
    turn = _turn(row)
    began = mono - float(row.place["played"]) - row.age.total_seconds()
    lag = row.place["lag"]
    return Place(turn, began, None if lag is None else float(lag))
