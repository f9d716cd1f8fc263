"""Forecasts a channel's programme from its rows, with the code that also plays it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from streams.models import Channel, ChannelState
from streams.planning import plans
from streams.programme import lookahead, on_air_hours
from streams.programme.model import NO_LIST, Cursors, Pick, Programme
from streams.programme.on_air_hours import Edge


@dataclass(frozen=True, slots=True)
class Forecast:
    """The coming programme: its spans and the cursors it starts from."""

    programme: Programme
    cursors: Cursors
    spans: tuple[lookahead.Span, ...]
    until: datetime

    def picks(self) -> Iterator[Pick]:
        return lookahead.picks(self.programme, self.spans, self.cursors)


def compute(channel: Channel, now: datetime, until: datetime) -> Forecast:
    """Forecast from the end of the item on air, or from now if nothing is. Reads `state`."""
    programme = plans.programme(channel, now)
    on = channel.desired_state == Channel.DesiredState.ON
    state = _state(channel)
    plays_until = None if state is None or not on else state.now_until
    begins = now if plays_until is None else max(now, plays_until)
    hours = hours_of(channel)
    if hours.blocks:
        # The hours may be about to start or stop the channel.
        edge = due(channel, hours, now)
        on = on if edge is None else edge.on
    return Forecast(
        programme,
        plans.cursors(channel),
        tuple(lookahead.spans(begins, until, on_air_hours.spans(hours, begins, until), on=on)),
        until,
    )


def _state(channel: Channel) -> ChannelState | None:
    return getattr(channel, "state", None)


def due(channel: Channel, hours: Programme, now: datetime) -> Edge | None:
    """Return the start or stop that the hours order now; None: nothing.

    `hours`: from `hours_of`. An operator who changes the hours of a playing channel does not
    want to interrupt it: only an end after the change stops it.
    """
    state, changed = _state(channel), channel.hours_changed_at
    edge = on_air_hours.due(hours, None if state is None else state.hours_done, now)
    if edge is None or edge.on or changed is None or edge.at > changed:
        return edge
    return None


def hours_of(channel: Channel) -> Programme:
    """Return the channel's hours as blocks, for which occurrences can be computed."""
    return Programme(NO_LIST, channel.zone, tuple(row.timed() for row in channel.hours.all()))
