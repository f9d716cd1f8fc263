"""Which node claims a free channel, and which channels a draining node gives away."""

from __future__ import annotations

import pytest

from streams.planning.placement import TURN_S, Candidate, claimed, leaving, room_elsewhere

BIG, SMALL = Candidate("big", 10), Candidate("small", 4)
FULL, CROWDED = Candidate("full", 2, 2), Candidate("crowded", 2, 5)
DRAINS = Candidate("drains", 20, drains=True)


@pytest.mark.parametrize(
    ("me", "nodes", "ages", "expected"),
    [
        # The one with the most room claims at once, the next one after its turn.
        ("big", [BIG, SMALL], {1: 0.0}, {1}),
        ("small", [BIG, SMALL], {1: 0.0}, set()),
        ("small", [BIG, SMALL], {1: TURN_S - 0.1}, set()),
        ("small", [BIG, SMALL], {1: TURN_S}, {1}),
        ("full", [BIG, SMALL, FULL], {1: TURN_S}, set()),
        ("full", [BIG, SMALL, FULL], {1: 2 * TURN_S}, {1}),
        # Alone it waits for nobody, full or draining.
        ("big", [BIG], {1: 0.0, 2: 0.0}, {1, 2}),
        ("full", [FULL], {1: 0.0}, {1}),
        ("drains", [DRAINS], {1: 0.0}, {1}),
        # Equal room: by name, then in turn.
        ("a", [Candidate("a", 4), Candidate("b", 4)], {1: 0.0, 2: 0.0, 3: 0.0}, {1, 3}),
        ("b", [Candidate("a", 4), Candidate("b", 4)], {1: 0.0, 2: 0.0, 3: 0.0}, {2}),
        # Of many channels each takes what it has more room for.
        ("small", [BIG, SMALL], dict.fromkeys(range(1, 9), 0.0), {8}),
        ("big", [BIG, SMALL], dict.fromkeys(range(1, 9), 0.0), {1, 2, 3, 4, 5, 6, 7}),
        # Nobody has room: the least loaded one.
        ("full", [FULL, CROWDED], {1: 0.0}, {1}),
        ("crowded", [FULL, CROWDED], {1: 0.0}, set()),
        # A node that drains claims nothing while another one is there, however full.
        ("drains", [DRAINS, CROWDED], {1: 60.0}, set()),
        ("crowded", [DRAINS, CROWDED], {1: 0.0}, {1}),
        ("big", [BIG, SMALL], {}, set()),
    ],
)
def test_who_claims(
    me: str, nodes: list[Candidate], ages: dict[int, float], expected: set[int]
) -> None:
    assert claimed(me, ages, nodes) == expected
    assert claimed(me, ages, reversed(nodes)) == expected


@pytest.mark.parametrize(
    ("nodes", "waiting", "expected"),
    [
        ([DRAINS], 0, set()),
        ([DRAINS, FULL], 0, set()),
        ([DRAINS, CROWDED, FULL], 0, set()),
        # As many as there is room for, the soonest end first.
        ([DRAINS, Candidate("b", 3, 2)], 0, {8}),
        ([DRAINS, Candidate("b", 3, 1)], 0, {8, 7}),
        ([DRAINS, Candidate("b", 3, 1), FULL], 1, {8}),
        ([DRAINS, Candidate("b", 3, 1)], 2, set()),
        ([DRAINS, BIG], 0, {7, 8, 9}),
        ([DRAINS, Candidate("b", 9, drains=True)], 0, set()),
    ],
)
def test_what_leaves(nodes: list[Candidate], waiting: int, expected: set[int]) -> None:
    assert leaving("drains", {7: 20.0, 8: 10.0, 9: 30.0}, waiting, nodes) == expected


def test_a_crowded_node_takes_no_room_from_others() -> None:
    assert room_elsewhere("drains", [DRAINS, BIG, CROWDED]) == 10
