"""What a channel will have on air, from its rows: the same code as plays, some way ahead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from streams import plans
from streams.models import Channel, ChannelState
from streams.programme import ahead, airtime
from streams.programme.values import Block, Cursors, Pick, Programme, Rotation


@dataclass(frozen=True, slots=True)
class Forecast:
    """From when to when, by which programme, from where its lists stand."""

    programme: Programme
    cursors: Cursors
    spans: tuple[ahead.Span, ...]
    until: datetime

    def picks(self) -> Iterator[Pick]:
        return ahead.picks(self.programme, self.spans, self.cursors)


def of(channel: Channel, now: datetime, until: datetime) -> Forecast:
    """From the end of what is on air, or from now where nothing is. Its `state` is read too."""
    programme = plans.programme(channel)
    on = channel.order == Channel.Order.ON
    state: ChannelState | None = getattr(channel, "state", None)
    plays_until = None if state is None or not on else state.now_until
    begins = now if plays_until is None else max(now, plays_until)
    hours = hours_of(channel)
    if hours.blocks:
        # They may be about to give an order.
        edge = airtime.due(hours, None if state is None else state.hours_done, now)
        on = on if edge is None else edge.on
    return Forecast(
        programme,
        plans.cursors(channel),
        tuple(ahead.spans(begins, until, airtime.spans(hours, begins, until), on=on)),
        until,
    )


def hours_of(channel: Channel) -> Programme:
    """The channel's hours as blocks, whose occurrences are computed already."""
    empty = Rotation(())
    return Programme(
        empty,
        ZoneInfo(channel.time_zone),
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
