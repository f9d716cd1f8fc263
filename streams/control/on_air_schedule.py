"""Starts and stops channels by their on-air hours.

Every node checks the hours. A second identical order is refused, and a Start or Stop that a
person or another node gave after the scheduled time has precedence. An unreachable storage does
not delay a start: the node's preflight reports it, and the filler plays.
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

#: The name under which the orders are logged.
BY: Final = "schedule"
#: Seconds after which the hours are read from the database again.
HOURS_MAX_AGE_S: Final = 10.0
#: The search for due times begins at `hours_done`. It is advanced at this interval to keep the
#: search short.
ADVANCE_AFTER: Final = timedelta(days=1)


class Timetable:
    """The on-air hours of all channels. Most calls of `tick` have nothing to do."""

    def __init__(self) -> None:
        #: When the hours were read (monotonic), and when the next start or stop is due.
        self._read: float | None = None
        self._next: datetime | None = None
        self._logged: dict[int, str] = {}

    def tick(self, now: datetime, mono: float) -> None:
        """Give the orders that are due at `now`. `mono`: the monotonic clock in seconds."""
        fresh = self._read is not None and mono - self._read < HOURS_MAX_AGE_S
        if fresh and (self._next is None or now < self._next):
            return
        self._read, self._next = mono, None
        # A channel without hours starts over when hours are added later.
        ChannelState.objects.filter(channel__hours=None).exclude(hours_done=None).update(
            hours_done=None
        )
        channels = Channel.objects.exclude(hours=None).select_related("state").distinct()
        for channel in channels.prefetch_related("hours"):
            try:
                self._check(channel, now)
            except Exception as error:
                # An error in one channel must not affect the other channels.
                text = f"The on-air hours can't be applied: {error!r}"
                if self._logged.get(channel.pk) != text:
                    self._logged[channel.pk] = text
                    log.exception("channel.hours", channel=channel.slug)

    def _check(self, channel: Channel, now: datetime) -> None:
        hours = forecast.hours_of(channel)
        state = getattr(channel, "state", None)
        if state is None:
            state, _ = ChannelState.objects.get_or_create(channel=channel)
        edge = forecast.due(channel, hours, now)
        if edge is not None:
            if self._carried_out(channel, edge, now):
                _remember(state, edge.at)
        elif state.hours_done is None or now - state.hours_done > ADVANCE_AFTER:
            _remember(state, now)
        coming = on_air_hours.coming(hours, now)
        if coming is not None and (self._next is None or coming.at < self._next):
            self._next = coming.at

    def _carried_out(self, channel: Channel, edge: Edge, now: datetime) -> bool:
        """Give the order. Returns False if it must be retried."""
        # `switched_at` ignores restarts: they do not decide whether the channel is on or off.
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
            # If the desired state is off, the channel is still stopping: retry.
            return Channel.objects.filter(
                pk=channel.pk, desired_state=Channel.DesiredState.ON
            ).exists()
        verb = "started" if edge.on else "stopped"
        at = edge.at.astimezone(channel.zone)
        text = f"The channel was {verb} by its on-air hours ({at:%H:%M %Z})."
        LogLine.objects.create(channel=channel, at=now, role=BY, level="info", text=text)
        log.info("channel.hours", channel=channel.slug, text=text)
        return True


def _remember(state: ChannelState, done: datetime) -> None:
    """Store the time carried out last. If several nodes did so, the first one writes it."""
    ChannelState.objects.filter(pk=state.pk, hours_done=state.hours_done).update(
        hours_done=done
    )


def overrun(channel: Channel, now: datetime) -> str:
    """Returns a warning if the channel plays outside its changed hours, else an empty text.

    It is shown to the person who has just changed the hours.
    """
    hours = forecast.hours_of(channel)
    inside = any(begins <= now < ends for begins, ends in on_air_hours.spans(hours, now, now))
    if channel.desired_state != Channel.DesiredState.ON or not hours.blocks or inside:
        return ""
    return (
        f"{channel.name} is outside its new on-air hours, but keeps playing until they end the "
        "next time. Stop it now if it should be off the air."
    )


def outlook(channel: Channel, now: datetime) -> str:
    """Returns a sentence on the next start or stop; empty: none within a week."""
    hours = forecast.hours_of(channel)
    # Edges towards the present state change nothing: skip them.
    goes_on = channel.desired_state != Channel.DesiredState.ON
    coming = _next(hours, now, on=goes_on)
    if coming is None:
        return ""
    verb = "start" if coming.on else "stop"
    return f"The on-air hours {verb} the channel at {_moment(channel, coming.at, now)}."


def _next(hours: Programme, now: datetime, *, on: bool) -> Edge | None:
    edges = on_air_hours.edges(hours, now, now + on_air_hours.LOOKAHEAD)
    return next((edge for edge in edges if edge.on is on), None)


def _moment(channel: Channel, moment: datetime, now: datetime) -> str:
    """Formats a moment in the channel's zone, with the date unless it is today."""
    zone = channel.zone
    at = moment.astimezone(zone)
    day = "" if at.date() == now.astimezone(zone).date() else f"{at:%a %d %b}, "
    return f"{day}{at:%H:%M %Z}"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The next start and stop by a channel's hours, for pages."""

    #: The sentence of `outlook`.
    sentence: str = ""
    #: The next start in words; empty: none within a week.
    start: str = ""


def outlooks(now: datetime, *, slug: str | None = None) -> dict[str, Outlook]:
    """Returns the outlook of all channels with hours, or of one, by slug. Two queries."""
    channels = Channel.objects.exclude(hours=None).select_related("state").distinct()
    if slug is not None:
        channels = channels.filter(slug=slug)
    by_slug = {}
    for channel in channels.prefetch_related("hours"):
        start = _next(forecast.hours_of(channel), now, on=True)
        by_slug[channel.slug] = Outlook(
            outlook(channel, now), "" if start is None else _moment(channel, start.at, now)
        )
    return by_slug
