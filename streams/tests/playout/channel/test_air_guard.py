"""The watch of a channel's air: nothing is reported or done without a look that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import pytest

from media_library.house_format import HouseFormat
from streams.playout.channel.channel import Channel
from streams.playout.contract.air_flaws import Watched
from streams.playout.contract.ledger import IncidentClosed, IncidentOpened
from streams.playout.contract.moment import Now
from streams.playout.contract.picture import Flaw, Inspection, Remedy
from streams.playout.contract.plan import Assignment, ChannelPlan, Policy, Tools
from streams.playout.contract.turn import Turn
from streams.playout.player.machine import Moment, State
from streams.playout.player.timeline import START, HubClock, Slot, Timeline
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import BASE
from streams.tests.bench.engine import FileSources, programme

ITEM: Final = Item("Film", "film", Mode.PREPARED, entry=1, frames=9000)
SLATE: Final = Item("Slate", "slate", Mode.PREPARED, Kind.SLATE, frames=900)
PLAN: Final = ChannelPlan(
    *(1, "test", HouseFormat(), programme(ITEM), (), SLATE),
    remedies={Flaw.BLACK: Remedy.SKIP, Flaw.SILENT: Remedy.SKIP},
)
#: Of both clocks, when the feed begins.
MONO, WALL = 10_000.0, 1.8e9


class Bench:
    """A channel without processes: what is on air, and what the looks have shown."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def on_air(self, item: Item, since: float) -> None:
        turn = Turn(item, BASE, stands_in=item is SLATE)
        slot = Slot(turn, START + Fraction(since))
        self.channel.playback.state = State(timeline=Timeline((slot,), on_air=slot))

    def judge(
        self,
        at: float,
        inspected_at: float,
        since: dict[Flaw, float] | None = None,
        over: dict[Flaw, tuple[float, float]] | None = None,
        *,
        acts: bool = True,
        drift: float = 0.0,
    ) -> list[str]:
        """Return what the channel reports and does. Times in seconds of the feed."""
        channel, now = self.channel, Now(MONO + at, WALL + at + drift)
        channel.now = now
        channel.guard.watched = Watched(
            Inspection(MONO + inspected_at, b"", ()),
            MONO + inspected_at - 10,
            {flaw: MONO + begun for flaw, begun in (since or {}).items()},
            {flaw: (MONO + one, MONO + two) for flaw, (one, two) in (over or {}).items()},
        )
        clock = HubClock(START, MONO)
        moment = Moment(now, PLAN, channel.policy, channel.sources, clock)
        channel.guard.judge(PLAN, moment, (), acts=acts)
        notes = channel.drain()
        shown = [f"open {note.subject}" for note in notes if isinstance(note, IncidentOpened)]
        shown += [f"close {note.subject}" for note in notes if isinstance(note, IncidentClosed)]
        skipped = [note for note in notes if "is skipped" in getattr(note, "text", "")]
        return shown + ["skip"] * len(skipped)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    tools, now = Tools("ffmpeg", run_dir), Now(MONO, WALL)
    channel = Channel(tools, Policy(), Assignment(PLAN, 1), FileSources(), now)
    with closing(channel):
        yield Bench(channel)


def test_what_a_slate_shows_is_no_flaw_of_the_item_after_it(bench: Bench) -> None:
    bench.on_air(ITEM, 0)
    assert bench.judge(20, 15) == []
    bench.on_air(SLATE, 30)
    flaws = {Flaw.FROZEN: 30.0, Flaw.SILENT: 30.0}
    assert bench.judge(400, 395, flaws) == []
    bench.on_air(ITEM, 403)
    # The last look was at the slate.
    assert bench.judge(410, 401, flaws) == []
    # The next one shows that it is over.
    over = dict.fromkeys(flaws, (30.0, 403.0))
    assert bench.judge(420, 415, over=over) == []
    # What the item itself shows is its own.
    assert bench.judge(500, 495, {Flaw.SILENT: 470.0}, over) == ["open sound", "skip"]


def test_nothing_is_done_about_an_item_that_was_not_inspected(bench: Bench) -> None:
    bench.on_air(ITEM, 0)
    assert bench.judge(40, 38, {Flaw.BLACK: 20.0}) == ["open picture", "skip"]
    # Another item; the decoder hangs. Unknown: neither good nor bad.
    bench.on_air(ITEM, 45)
    for at in (62, 72, 82, 92, 300):
        assert bench.judge(at, 46, {Flaw.BLACK: 20.0}) == []
    assert bench.channel.guard.flawed == ""
    assert "picture" in bench.channel.journal.open


@pytest.mark.parametrize("acts", [True, False])
def test_a_node_that_does_not_decide_skips_nothing(bench: Bench, *, acts: bool) -> None:
    bench.on_air(ITEM, 0)
    done = bench.judge(40, 38, {Flaw.BLACK: 20.0}, acts=acts)
    assert done == ["open picture", *(["skip"] if acts else [])]


def test_a_flaw_is_reported_once_although_the_clocks_drift(bench: Bench) -> None:
    bench.on_air(ITEM, 0)
    assert bench.judge(20, 15) == []
    assert bench.judge(140, 135, {Flaw.SILENT: 100.0}) == ["open sound", "skip"]
    over = {Flaw.SILENT: (100.0, 142.0)}
    assert bench.judge(150, 145, over=over) == ["close sound"]
    for number in range(1, 20):
        # The wall clock gains a millisecond in ten seconds; pictures date the begin anew.
        again = {Flaw.SILENT: (100.0 + number / 100, 142.0)}
        assert (
            bench.judge(150 + 10 * number, 145 + 10 * number, over=again, drift=number / 1000)
            == []
        )
    assert bench.judge(400, 395, over={Flaw.SILENT: (360.0, 385.0)}) == [
        *("open sound", "close sound")
    ]


def test_a_second_node_does_not_act(bench: Bench) -> None:
    channel = bench.channel
    channel.assignment = replace(channel.assignment, second=True)
    seen: list[bool] = []
    judge = channel.guard.judge

    def noted(*args: object, acts: bool = True) -> None:
        seen.append(acts)

    channel.guard.judge = noted  # type: ignore[method-assign, assignment]
    channel._measure()
    channel.assignment = replace(channel.assignment, second=False)
    channel._measure()
    channel.fenced = True
    channel._measure()
    channel.guard.judge = judge  # type: ignore[method-assign]
    assert seen == [False, True, False]
