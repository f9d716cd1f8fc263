"""Deriving a channel's state from its parts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.playout.channel.air_state import Parts, judge
from streams.playout.contract.output_status import Status
from streams.playout.contract.states import AirState, OutputAir
from streams.playout.contract.turn import FAILOVER, Turn
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import BASE, FILLER

GOOD = Status(OutputAir.ON_AIR)
BAD = Status(OutputAir.RETRYING, cause="The server is down.")
NEW = Status(OutputAir.CONNECTING)
ROLLING = Status(OutputAir.ROLLING, running=True)
PLANNED = "A new session begins, as planned."


def turn(kind: Kind, rule: str) -> Turn:
    item = Item("A", "a.mp4", Mode.PREPARED, kind)
    return Turn(item, rule, stands_in=rule == FAILOVER)


WELL = Parts(
    ordered=True,
    hub=True,
    window=True,
    now=turn(Kind.ITEM, BASE),
    outputs=[GOOD],
    been_on_air=True,
)


@pytest.mark.parametrize(
    ("parts", "state", "cause"),
    [
        (WELL, AirState.ON_AIR, ""),
        (replace(WELL, outputs=[]), AirState.ON_AIR, ""),
        (replace(WELL, ordered=False), AirState.STOPPING, ""),
        (replace(WELL, outputs=[GOOD, BAD]), AirState.DEGRADED, "The server is down."),
        # Planned: the channel is not down even if this is its only output.
        (replace(WELL, outputs=[ROLLING]), AirState.DEGRADED, PLANNED),
        (replace(WELL, outputs=[ROLLING, GOOD]), AirState.DEGRADED, PLANNED),
        (replace(WELL, outputs=[ROLLING, BAD]), AirState.FAILING, "The server is down."),
        (replace(WELL, outputs=[GOOD, NEW]), AirState.DEGRADED, "Connecting."),
        (replace(WELL, outputs=[BAD, BAD]), AirState.FAILING, "The server is down."),
        (replace(WELL, outputs=[NEW]), AirState.FAILING, "No output has accepted data yet."),
        (replace(WELL, hub=False), AirState.FAILING, "The hub sends nothing."),
        (replace(WELL, window=False, trouble="No file."), AirState.FAILING, "No file."),
        (
            replace(WELL, now=turn(Kind.SLATE, FAILOVER)),
            AirState.DEGRADED,
            "The slate is on.",
        ),
        (
            replace(WELL, now=turn(Kind.FILLER, FAILOVER)),
            AirState.DEGRADED,
            "The filler is on.",
        ),
        # Filler scheduled by the programme itself, at the end of a block.
        (replace(WELL, now=turn(Kind.FILLER, FILLER)), AirState.ON_AIR, ""),
        (
            replace(WELL, storage="No bucket."),
            AirState.DEGRADED,
            "No bucket. Items on this machine's disk keep playing.",
        ),
        (replace(WELL, hub=False, been_on_air=False), AirState.STARTING, ""),
        (
            replace(WELL, outputs=[NEW], been_on_air=False),
            AirState.STARTING,
            "No output has accepted data yet.",
        ),
        (
            replace(WELL, outputs=[GOOD, NEW], been_on_air=False),
            AirState.STARTING,
            "Connecting.",
        ),
        # A start that can't succeed is reported at once.
        (
            replace(WELL, outputs=[BAD], been_on_air=False),
            AirState.FAILING,
            "The server is down.",
        ),
    ],
)
def test_the_state_and_its_cause(parts: Parts, state: AirState, cause: str) -> None:
    assert judge(parts) == (state, cause)
