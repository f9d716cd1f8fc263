"""What a channel will have on air, from its rows: the same code as plays, some way ahead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from streams.models import Channel, ChannelState
from streams.planning import plans
from streams.programme import lookahead, on_air_hours
from streams.programme.model import Block, Cursors, Pick, Programme, Rotation
from streams.programme.on_air_hours import Edge


@dataclass(frozen=True, slots=True)
class Forecast:
    """From when to when, by which programme, from where its lists stand."""

    programme: Programme
    cursors: Cursors
    spans: tuple[lookahead.Span, ...]
    until: datetime

    def picks(self) -> Iterator[Pick]:
        return lookahead.picks(self.programme, self.spans, self.cursors)


def of(channel: Channel, now: datetime, until: datetime) -> Forecast:
    """From the end of what is on air, or from now where nothing is. Its `state` is read too."""
    programme = plans.programme(channel, now)
    on = channel.order == Channel.Order.ON
    state = _state(channel)
    plays_until = None if state is None or not on else state.now_until
    begins = now if plays_until is None else max(now, plays_until)
    hours = hours_of(channel)
    if hours.blocks:
        # They may be about to give an order.
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
    """What its hours order now; None: nothing. `hours`: as `hours_of` has them.

    Whoever changes the hours of a channel that plays does not want to lose it at that moment:
    only an end that comes after the change stops it.
    """
    state, changed = _state(channel), channel.hours_changed_at
    edge = on_air_hours.due(hours, None if state is None else state.hours_done, now)
    if edge is None or edge.on or changed is None or edge.at > changed:
        return edge
    return None


def hours_of(channel: Channel) -> Programme:
    """The channel's hours as blocks, whose occurrences are computed already."""
    empty = Rotation(())
    return Programme(
        empty,
        channel.zone,
        tuple(
            Block(
                pk=row.pk,
                name="",
                rotation=empty,
                starts=row.starts,
                ends=row.ends,
                days=row.weekdays,
                first_day=row.first_day,
                last_day=row.last_day,
            )
            for row in channel.hours.all()
        ),
    )
