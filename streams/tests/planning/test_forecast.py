"""A channel's forecast from its rows: its order, its hours, and its cursors."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from fractions import Fraction

import pytest

from streams.models import Channel, ChannelState
from streams.planning import forecast
from streams.planning.plans import encode_cursors
from streams.programme.model import Cursor
from streams.tests import rows

#: A Monday.
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def channel(db: None) -> Channel:
    return rows.channel()


def spans(channel: Channel) -> list[tuple[float, float]]:
    """Hours from noon."""
    again = Channel.objects.select_related("state").get(pk=channel.pk)
    result = forecast.compute(again, NOON, NOON + DAY).spans
    return [((b - NOON) / DAY * 24, (e - NOON) / DAY * 24) for b, e in result]


def test_a_forecast_starts_where_the_item_on_air_ends(channel: Channel) -> None:
    assert channel.playlist is not None
    first = channel.playlist.entries.all()[0]
    left = {"base": Cursor(first.pk, 0, Fraction(30), NOON)}
    rows.on_air(
        channel, at=NOON, now_until=NOON + timedelta(hours=1), cursors=encode_cursors(left, {})
    )
    assert spans(channel) == [(1, 24)]
    channel.refresh_from_db()
    pick = next(forecast.compute(channel, NOON, NOON + DAY).picks())
    assert (pick.begins, pick.start) == (NOON + timedelta(hours=1), Fraction(30))
    # A state that was written long ago is no forecast.
    ChannelState.objects.update(now_until=NOON - DAY)
    assert spans(channel) == [(0, 24)]
    Channel.objects.update(desired_state="off")
    assert spans(channel) == []


@pytest.mark.parametrize(
    ("starts", "ends", "order", "done", "expected"),
    [
        # New hours start a channel at once if they apply now, and stop nothing.
        (10, 14, "off", None, [(0, 2), (22, 24)]),
        (20, 22, "off", None, [(8, 10)]),
        (20, 22, "on", None, [(0, 10)]),
        # A failed start is retried; a later Stop by a person stands.
        (10, 14, "off", NOON - timedelta(hours=3), [(0, 2), (22, 24)]),
        (10, 14, "off", NOON - timedelta(hours=1), [(22, 24)]),
        # After a downtime only the last missed edge is carried out.
        (8, 10, "on", NOON - timedelta(hours=3), [(20, 22)]),
    ],
)
def test_the_forecast_follows_the_hours(
    channel: Channel,
    starts: int,
    ends: int,
    order: str,
    done: datetime | None,
    expected: list[tuple[float, float]],
) -> None:
    Channel.objects.update(desired_state=order)
    ChannelState.objects.create(channel=channel, hours_done=done)
    channel.hours.create(starts=time(starts), ends=time(ends))
    assert spans(channel) == expected
