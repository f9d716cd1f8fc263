"""Plays four weeks across each clock change in seconds: the log equals the preview.

The code that decides, keeps time and writes history is the real one; only the players, which
would take four weeks, are omitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from media_library.house_format import HouseFormat
from media_library.models import MediaItem, Playlist, PreparedCopy
from streams.models import AsRun, Block, Channel, Run
from streams.node import history_writer
from streams.planning import plans
from streams.playout.contract.ledger import Aired
from streams.playout.contract.moment import Now
from streams.playout.contract.plan import ChannelPlan, Policy
from streams.playout.player import machine
from streams.playout.player.events import BufferLow, Exited, OnAir, Sent
from streams.playout.player.machine import Moment
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import Pick
from streams.programme.schedule import between, preview
from streams.tests.bench.engine import FileSources

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

FORMAT = HouseFormat()
ZONE = "Europe/Berlin"
WEEKS = timedelta(weeks=4)
#: Two weeks before each change of 2026 in Berlin: on 29 March and on 25 October.
SPRING, AUTUMN = datetime(2026, 3, 15, tzinfo=UTC), datetime(2026, 10, 11, tzinfo=UTC)
SLATE = Item("Slate", "/slate.mp4", Mode.PREPARED, Kind.SLATE, frames=120)


def playlist(name: str, *minutes: float, rating: int | None = 0) -> Playlist:
    """Prepared items of about so many minutes."""
    made = Playlist.objects.create(name=name)
    for place, length in enumerate(minutes):
        key = f"{name} {place}"
        item = MediaItem.objects.create(
            key=key, title=key, status="ready", etag=key, age_rating=rating
        )
        made.entries.create(item=item, position=place)
        PreparedCopy.objects.create(
            item=item,
            house_format=FORMAT.signature,
            source_etag=key,
            key=f"prepared/{key}",
            frames=FORMAT.frames_on_grid(Fraction(length) * 60),
            status=PreparedCopy.Status.READY,
        )
    return made


def block(
    channel: Channel, name: str, starts: time, ends: time, *minutes: float, **fields: Any
) -> Block:
    return Block.objects.create(
        channel=channel,
        name=name,
        playlist=playlist(name, *minutes),
        starts=starts,
        ends=ends,
        **fields,
    )


@pytest.fixture
def channel() -> Channel:
    made = Channel.objects.create(
        name="Berlin",
        slug="berlin",
        time_zone=ZONE,
        playlist=playlist("Base", 3.5, 42, 7.25, 88, 11, 25, 4.1, 61, 17, 9),
        playlist_order="shuffle",
        filler=playlist("Filler", 0.5, 1, 2),
    )
    block(made, "News", time(20), time(20, 15), 6, 6, 6, start="hard", fit=True)
    block(made, "Morning", time(6), time(9), 10, 12, 14, 16, 18, order="shuffle")
    # Across the repeated or skipped hour, and across midnight.
    block(made, "Night", time(1, 30), time(4, 30), 33, 47, 59, start="hard")
    block(made, "Films", time(21), time(0, 30), 50, days=0b110_0000)
    children = block(made, "Children", time(14), time(17), 30, 20, 45, max_rating=6, fit=True)
    playlist("Adult", 40, rating=18)
    children.playlist.entries.create(item=MediaItem.objects.get(title="Adult 0"), position=9)
    weekend = {"first_day": date(2026, 3, 28), "last_day": date(2026, 3, 30)}
    block(made, "Festival", time(12), time(22), 95, 110, priority=5, start="hard", **weekend)
    return made


def play(channel: Channel, begins: datetime, until: datetime) -> Run:
    """Play it instantly: each player ends when its turn is over."""
    run = Run.objects.create(channel=channel, started_at=begins)
    plan = ChannelPlan(
        channel.pk, channel.slug, FORMAT, plans.programme(channel, begins), (), SLATE
    )
    policy = Policy(paced=False, began=begins.timestamp())
    moment = Moment(Now(0, 0), plan, policy, FileSources())
    state = machine.State()
    while moment.when(state.timeline.head) < until:
        state, _ = machine.step(state, BufferLow(), moment)
        slot = state.timeline.slots[-1]
        state, aired = machine.step(state, Sent(slot.start), moment)
        for action in aired:
            assert isinstance(action, OnAir)
            ending, at = action.ending, moment.wall(slot.start)
            history_writer.write(
                [Aired(channel.pk, run.pk, slot.turn, at, ending.ending, ending.cause)]
            )
        length = slot.turn.length(FORMAT)
        assert length is not None
        state, none = machine.step(state, Exited(slot.start + length, 0), moment)
        assert not none
    return run


def shown(pick: Pick) -> tuple[object, ...]:
    entry = pick.entry
    assert entry is not None, f"The slate at {pick.begins}: {pick.why}"
    ending = "cut" if pick.end < entry.seconds else "whole"
    return entry.item.title, pick.rule, round(float(pick.start), 3), ending, pick.why


def steps(rows: list[AsRun]) -> Iterator[timedelta]:
    """Time between the end of each row and the start of the next."""
    for before, after in pairwise(rows):
        assert before.ended_at is not None
        yield after.started_at - before.ended_at


@pytest.mark.parametrize(
    ("begins", "way"),
    [
        *((SPRING, way) for way in ("continue", "wall_clock", "restart")),
        *((AUTUMN, way) for way in ("continue", "wall_clock", "next")),
    ],
)
def test_the_as_run_log_of_four_weeks_equals_the_preview(
    channel: Channel, begins: datetime, way: str
) -> None:
    channel.on_return = way
    channel.save(update_fields=["on_return"])
    run = play(channel, begins, begins + WEEKS)
    rows = list(AsRun.objects.filter(run=run).order_by("started_at"))
    picks = list(preview(plans.programme(channel, begins), begins, begins + WEEKS, {}))

    # The last item has no end yet.
    *ended, _ = rows
    logged = [
        (row.title, row.rule, round(row.in_point, 3), row.ending, row.why) for row in ended
    ]
    assert logged == [shown(pick) for pick in picks[: len(logged)]]
    assert len(picks) == len(rows) > 1000
    # They may differ by rounded microseconds, some thousand times.
    for row, pick in zip(rows, picks, strict=True):
        assert abs(row.started_at - pick.begins) < timedelta(milliseconds=5)
    # No dead air and no overlap.
    assert not any(steps(rows))
    assert {row.kind for row in rows} == {"item", "filler"}

    names = {f"block-{block.pk}": block.name for block in channel.blocks.all()}
    festival = {"Festival"} if begins.month == 3 else set()
    assert {names.get(row.rule, row.rule) for row in rows} == {
        *("base", "filler", "News", "Morning", "Night", "Films", "Children", *festival)
    }
    # Local times hold before and after the change.
    berlin = ZoneInfo(ZONE)
    step = plans.programme(channel).cut
    news = {
        row.started_at.astimezone(berlin).date(): row.started_at.astimezone(berlin)
        for row in reversed(rows)
        if row.title.startswith("News")
    }
    assert len(news) >= 24
    assert {moment.utcoffset() for moment in news.values()} == {
        timedelta(hours=1),
        timedelta(hours=2),
    }
    for moment in news.values():
        due = moment.replace(hour=20, minute=0, second=0, microsecond=0)
        assert abs(between(due, moment)) <= step
    # Nothing above the rating in the children's hours.
    children = channel.blocks.get(name="Children")
    shown_there = {row.title for row in rows if row.rule == f"block-{children.pk}"}
    assert shown_there == {"Children 0", "Children 1", "Children 2"}
