"""Channels go on the air and off it by their hours: the orders that are due are given.

Every node looks. An order given twice is refused the second time, and a Start or Stop that was
given since the hour struck, by a person or another node, stands. A storage that is away holds
up no start: the node's preflight tells of it, and there is filler.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from streams.control import actions
from streams.models import Channel, ChannelState, LogLine
from streams.planning import forecast
from streams.programme import on_air_hours
from streams.programme.model import Programme
from streams.programme.on_air_hours import Edge

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Who gives the orders, in the history.
BY: Final = "schedule"
#: Seconds for which the hours are taken as they were read.
READ_AGE: Final = 10.0
#: Seconds after which a start that was refused is tried again.
AGAIN: Final = 60.0
#: Hours are looked through from where they were carried out last. That place is moved on so
#: often, for no walk to be long.
MOVED_ON: Final = timedelta(days=1)


class Timetable:
    """The hours of all channels. `look` is called every tick, and mostly has nothing to do."""

    def __init__(self) -> None:
        #: When the hours were read (monotonic), and when the next of them strikes.
        self._read: float | None = None
        self._next: datetime | None = None
        #: When a start was refused last, by channel.
        self._refused: dict[int, float] = {}
        self._told: dict[int, str] = {}

    def look(self, now: datetime, mono: float) -> None:
        """Give the orders that are due by `now`. `mono`: seconds of the monotonic clock."""
        fresh = self._read is not None and mono - self._read < READ_AGE
        if fresh and (self._next is None or now < self._next):
            return
        self._read, self._next = mono, None
        # Hours that come after these were removed are new ones.
        ChannelState.objects.filter(channel__hours=None).exclude(hours_done=None).update(
            hours_done=None
        )
        channels = Channel.objects.exclude(hours=None).select_related("state").distinct()
        for channel in channels.prefetch_related("hours"):
            try:
                self._look_at(channel, now, mono)
            except Exception as error:
                # One channel's trouble must not keep the others from their hours.
                text = f"Its hours can't be followed: {error!r}"
                if self._told.get(channel.pk) != text:
                    self._told[channel.pk] = text
                    log.exception("channel.hours", channel=channel.slug)

    def _look_at(self, channel: Channel, now: datetime, mono: float) -> None:
        hours = forecast.hours_of(channel)
        state = getattr(channel, "state", None)
        if state is None:
            state, _ = ChannelState.objects.get_or_create(channel=channel)
        edge = forecast.due(channel, hours, now)
        if edge is not None:
            refused = self._refused.get(channel.pk)
            tried = refused is not None and mono - refused < AGAIN
            if not tried and self._carried_out(channel, edge, now, mono):
                _remember(state, edge.at)
        elif state.hours_done is None or now - state.hours_done > MOVED_ON:
            _remember(state, now)
        coming = on_air_hours.coming(hours, now)
        if coming is not None and (self._next is None or coming.at < self._next):
            self._next = coming.at

    def _carried_out(self, channel: Channel, edge: Edge, now: datetime, mono: float) -> bool:
        """Give the order. False: it is to be tried again."""
        # A restart since then says nothing of whether it shall be on the air.
        given = Channel.objects.values_list("switched_at", flat=True).get(pk=channel.pk)
        if given is not None and given >= edge.at:
            return True
        try:
            if edge.on:
                actions.start(channel, by=BY, now=now, attended=False)
            else:
                actions.stop(channel, by=BY, now=now)
        except actions.NotRunningError:
            return True
        except actions.AlreadyOnAirError:
            # Or it is still stopping.
            return Channel.objects.filter(pk=channel.pk, order=Channel.Order.ON).exists()
        except actions.CantStartError as refusal:
            self._refused[channel.pk] = mono
            self._tell(channel, now, "warning", f"It should go on the air now. {refusal}")
            return False
        self._refused.pop(channel.pk, None)
        self._told.pop(channel.pk, None)
        verb = "started" if edge.on else "stopped"
        at = edge.at.astimezone(channel.zone)
        self._tell(channel, now, "info", f"It was {verb} by its hours ({at:%H:%M %Z}).")
        return True

    def _tell(self, channel: Channel, now: datetime, level: str, text: str) -> None:
        """On the channel's page, once for as long as it stays the same."""
        if self._told.get(channel.pk) == text:
            return
        self._told[channel.pk] = text
        LogLine.objects.create(channel=channel, at=now, role=BY, level=level, text=text[:2000])
        said = log.warning if level == "warning" else log.info
        said("channel.hours", channel=channel.slug, told=text)


def _remember(state: ChannelState, done: datetime) -> None:
    """Several nodes may have carried it out: the first writes it down."""
    ChannelState.objects.filter(pk=state.pk, hours_done=state.hours_done).update(
        hours_done=done
    )


def overrun(channel: Channel, now: datetime) -> str:
    """A sentence on a channel that plays although its hours are over; empty where it does not.

    For whoever has just changed them.
    """
    hours = forecast.hours_of(channel)
    inside = any(begins <= now < ends for begins, ends in on_air_hours.spans(hours, now, now))
    if channel.order != Channel.Order.ON or not hours.blocks or inside:
        return ""
    return (
        f"By its new hours {channel.name} would be off the air now. It plays on until they end "
        "the next time: stop it, if it should not."
    )


def outlook(channel: Channel, now: datetime) -> str:
    """What the hours do next with a channel, in a sentence; empty: nothing within a week."""
    hours = forecast.hours_of(channel)
    edge = forecast.due(channel, hours, now)
    if edge is not None and edge.on and channel.order == Channel.Order.OFF:
        return "By its hours it should be on the air: the start is tried every minute."
    # What the other edges order is so already: a channel that was stopped by hand is off.
    goes_on = channel.order != Channel.Order.ON
    coming = _next(hours, now, on=goes_on)
    if coming is None:
        return ""
    verb = "goes on the air" if coming.on else "goes off the air"
    return f"By its hours it {verb} at {_moment(channel, coming.at, now)}."


def _next(hours: Programme, now: datetime, *, on: bool) -> Edge | None:
    found = on_air_hours.edges(hours, now, now + on_air_hours.LOOKAHEAD)
    return next((edge for edge in found if edge.on is on), None)


def _moment(channel: Channel, moment: datetime, now: datetime) -> str:
    """In the channel's zone, which is named; another day than today with its date."""
    zone = channel.zone
    at = moment.astimezone(zone)
    day = "" if at.date() == now.astimezone(zone).date() else f"{at:%a %d %b}, "
    return f"{day}{at:%H:%M %Z}"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a channel's hours do next, for pages."""

    #: As `outlook` says it.
    sentence: str = ""
    #: When they start it the next time: a moment in words; empty: not within a week.
    start: str = ""


def outlooks(now: datetime, *, slug: str | None = None) -> dict[str, Outlook]:
    """Of the channels that have hours, by slug; or of that one. Two queries."""
    channels = Channel.objects.exclude(hours=None).select_related("state").distinct()
    if slug is not None:
        channels = channels.filter(slug=slug)
    told = {}
    for channel in channels.prefetch_related("hours"):
        start = _next(forecast.hours_of(channel), now, on=True)
        told[channel.slug] = Outlook(
            outlook(channel, now), "" if start is None else _moment(channel, start.at, now)
        )
    return told
