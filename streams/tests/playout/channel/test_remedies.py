"""What is done about a flaw: by the rule, and never in a loop."""

from __future__ import annotations

import pytest

from streams.playout.channel import remedies
from streams.playout.channel.remedies import Past, Playing, Skip
from streams.playout.contract.air_flaws import PATIENCE_S, Watched
from streams.playout.contract.picture import Flaw, Inspection, Remedy
from streams.playout.contract.turn import FAILOVER, TAKEOVER, Turn
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import BASE

NOW = 1_000_000.0
BLACK_S = PATIENCE_S[Flaw.BLACK]
SKIP = {Flaw.BLACK: Remedy.SKIP}


def watched(flaw: Flaw = Flaw.BLACK, lasted: float = 60.0) -> Watched:
    return Watched(Inspection(NOW, b"", ()), NOW - 2, {flaw: NOW - lasted})


def playing(
    since: float = 100.0, rule: str = BASE, kind: Kind = Kind.ITEM, *, stands_in: bool = False
) -> Playing:
    turn = Turn(Item("Film", "film", Mode.PREPARED, kind), rule, stands_in=stands_in)
    return Playing(turn, NOW - since)


@pytest.mark.parametrize(
    ("seen", "orders", "what", "expected"),
    [
        (watched(), SKIP, playing(), "skip"),
        (watched(), {Flaw.BLACK: Remedy.FILLER}, playing(), "filler"),
        (watched(), {Flaw.BLACK: Remedy.REPORT}, playing(), ""),
        (watched(), {Flaw.BLACK: Remedy.IGNORE}, playing(), ""),
        (watched(), {}, playing(), ""),
        # Another flaw than the one with a rule.
        (watched(Flaw.SILENT), SKIP, playing(), ""),
        (Watched(), SKIP, playing(), ""),
        (watched(lasted=BLACK_S - 1), SKIP, playing(), ""),
        # The item before it was black as well.
        (watched(), SKIP, playing(BLACK_S - 1), ""),
        (watched(), SKIP, playing(rule=TAKEOVER, kind=Kind.LIVE), ""),
        (watched(), SKIP, playing(rule=FAILOVER, kind=Kind.FILLER, stands_in=True), ""),
    ],
)
def test_an_item_is_skipped_by_the_rule(
    seen: Watched, orders: dict[Flaw, Remedy], what: Playing, expected: str
) -> None:
    _, done = remedies.skip(Past(), seen, orders, what, NOW)
    if not expected:
        assert done == ""
        return
    assert isinstance(done, Skip)
    assert done.filler is (expected == "filler")
    assert done.cause == "Skipped by the channel's rule: The picture is black."


def test_a_programme_that_is_black_as_a_whole_is_not_skipped_for_ever() -> None:
    past, texts, skips = Past(), [], 0
    for minute in range(60):
        now = NOW + 60 * minute
        seen = Watched(Inspection(now, b"", ()), now - 2, {Flaw.BLACK: NOW - 60})
        item = Playing(playing().turn, now - 30)
        for _ in range(3):
            past, done = remedies.skip(past, seen, SKIP, item, now)
            skips += isinstance(done, Skip)
            texts += [done] if isinstance(done, str) and done else []
    assert skips == remedies.MAX_SKIPS
    # Once for each item: people see why it stays.
    assert len(texts) == 60 - skips
    assert texts[0] == "Film is not skipped: 3 items were within an hour."
    later = NOW + 2 * remedies.HOUR_S
    seen = Watched(Inspection(later, b"", ()), later - 2, {Flaw.BLACK: NOW})
    _, done = remedies.skip(past, seen, SKIP, Playing(playing().turn, later - 30), later)
    assert isinstance(done, Skip)


def test_sessions_are_renewed_twice_an_hour_at_most() -> None:
    past, renewed = Past(), []
    for minute in range(90):
        past, due = remedies.renews(past, 7, NOW + 60 * minute)
        renewed += [minute] if due else []
    assert renewed == [0, 1, 60, 61]
    assert remedies.renews(past, 8, NOW + 5400)[1]
