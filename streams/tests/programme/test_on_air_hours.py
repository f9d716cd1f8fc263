"""Hours that start and stop a channel: across clock changes, and after a downtime."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from streams.programme.model import Block, Programme, Rotation
from streams.programme.on_air_hours import Edge, coming, due, edges, spans

BERLIN = ZoneInfo("Europe/Berlin")
EMPTY = Rotation(())


def span(starts: time, ends: time, pk: int = 1, **more: Any) -> Block:
    return Block(pk, "", EMPTY, starts, ends, **more)


def hours(*blocks: Block) -> Programme:
    return Programme(EMPTY, BERLIN, blocks)


def at(text: str) -> datetime:
    """A local time in Berlin, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


DAILY = hours(span(time(8), time(23)))
ALWAYS = hours(span(time(0), time(0)))
NIGHT = hours(span(time(22), time(3), days=frozenset({4})))


def test_only_the_moments_at_which_hours_begin_and_end_count() -> None:
    done = at("2026-05-04 08:00")
    assert due(DAILY, done, at("2026-05-04 22:59")) is None
    stop = due(DAILY, done, at("2026-05-04 23:00"))
    assert stop == Edge(at("2026-05-04 23:00"), on=False)
    assert due(DAILY, stop.at, at("2026-05-05 07:59")) is None
    assert due(DAILY, stop.at, at("2026-05-05 08:01")) == Edge(at("2026-05-05 08:00"), on=True)


def test_after_a_downtime_only_the_last_missed_edge_is_carried_out() -> None:
    long_ago = at("2026-05-01 08:00")
    missed = due(DAILY, long_ago, at("2026-05-20 12:00"))
    assert missed == Edge(at("2026-05-20 08:00"), on=True)
    assert due(DAILY, missed.at, at("2026-05-20 12:01")) is None
    missed = due(DAILY, long_ago, at("2026-05-20 23:30"))
    assert missed == Edge(at("2026-05-20 23:00"), on=False)


def test_new_hours_start_a_channel_but_never_stop_it() -> None:
    now = at("2026-05-04 12:00")
    assert due(DAILY, None, now) == Edge(now, on=True)
    assert due(DAILY, None, at("2026-05-04 07:00")) is None
    assert due(DAILY, None, at("2026-05-04 23:00")) is None


def test_always_on_is_one_start_and_no_stop() -> None:
    now = at("2026-05-04 12:00")
    assert due(ALWAYS, None, now) == Edge(now, on=True)
    assert edges(ALWAYS, now, now + timedelta(days=400)) == []
    assert coming(ALWAYS, now) is None


def test_from_a_day_on_it_is_always_on() -> None:
    later = hours(span(time(0), time(0), first_day=date(2026, 5, 6)))
    assert edges(later, at("2026-05-01 00:00"), at("2027-05-01 00:00")) == [
        Edge(at("2026-05-06 00:00"), on=True)
    ]


def test_hours_that_touch_or_overlap_are_one() -> None:
    both = hours(
        span(time(8), time(12)), span(time(12), time(14), 2), span(time(9), time(13), 3)
    )
    assert edges(both, at("2026-05-04 00:00"), at("2026-05-05 00:00")) == [
        Edge(at("2026-05-04 08:00"), on=True),
        Edge(at("2026-05-04 14:00"), on=False),
    ]


def test_an_end_before_the_start_is_the_next_days() -> None:
    assert edges(NIGHT, at("2026-05-04 00:00"), at("2026-05-11 00:00")) == [
        Edge(at("2026-05-08 22:00"), on=True),
        Edge(at("2026-05-09 03:00"), on=False),
    ]
    assert coming(NIGHT, at("2026-05-09 02:00")) == Edge(at("2026-05-09 03:00"), on=False)


def test_the_clock_goes_forward() -> None:
    """29 March 2026: 02:00 is 03:00. A stop at 02:30 comes at 03:30."""
    early = hours(span(time(1), time(2, 30)))
    (start, stop) = edges(early, at("2026-03-29 00:00"), at("2026-03-29 12:00"))
    assert start.at == datetime(2026, 3, 29, 0, 0, tzinfo=UTC)
    assert stop.at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_the_clock_goes_back() -> None:
    """25 October 2026: 02:30 occurs twice, and the first counts."""
    early = hours(span(time(1), time(2, 30)))
    result = edges(early, at("2026-10-25 00:00"), at("2026-10-25 12:00"))
    assert [edge.at for edge in result] == [
        datetime(2026, 10, 24, 23, 0, tzinfo=UTC),
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
    ]


TIMES = st.times().map(lambda time: time.replace(second=0, microsecond=0))
DAYS = st.frozensets(st.integers(0, 6), min_size=1)
BLOCKS = st.builds(
    lambda starts, ends, days, pk: span(starts, ends, pk, days=days),
    TIMES,
    TIMES,
    DAYS,
    st.integers(1, 9),
)
#: A range that includes both clock changes.
MOMENTS = st.integers(0, 230 * 86_400).map(
    lambda seconds: datetime(2026, 3, 20, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(st.lists(BLOCKS, min_size=1, max_size=4), MOMENTS, st.lists(st.integers(1, 50_000)))
def test_the_result_does_not_depend_on_when_hours_are_checked(
    blocks: list[Block], begins: datetime, waits: list[int]
) -> None:
    """Rare checks lead to the same state as frequent ones."""
    programme, now, done = hours(*blocks), begins, begins
    inside = any(opens <= now < ends for opens, ends in spans(programme, now, now))
    on = inside
    for seconds in waits:
        now += timedelta(seconds=seconds)
        edge = due(programme, done, now)
        if edge is not None:
            on, done = edge.on, edge.at
        assert due(programme, done, now) is None
        assert on == any(opens <= now < ends for opens, ends in spans(programme, now, now))
