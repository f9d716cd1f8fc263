"""What a channel's parts add up to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams.playout.machine import Status
from streams.playout.plan import Kind
from streams.playout.states import AirState, OutputAir


@dataclass(frozen=True, slots=True)
class Parts:
    """What was measured of one channel."""

    ordered: bool
    #: The hub has moved data lately.
    hub: bool
    #: The window has a first segment: there is something to see.
    window: bool
    #: What the hub is sending now; None: nothing known.
    now: Kind | None
    outputs: Sequence[Status]
    #: It has been on air in this run.
    been_on_air: bool
    #: Why the programme is not playing, if it is not.
    trouble: str = ""


def judge(parts: Parts) -> tuple[AirState, str]:
    """The channel's state and, where it is not simply on air, the cause in a sentence."""
    if not parts.ordered:
        return AirState.STOPPING, ""
    good = [status for status in parts.outputs if status.state is OutputAir.ON_AIR]
    bad = [
        status
        for status in parts.outputs
        if status.state in {OutputAir.RETRYING, OutputAir.FAILING, OutputAir.GIVEN_UP}
    ]
    causes = " ".join(dict.fromkeys(status.cause for status in bad if status.cause))
    picture = parts.hub and parts.window
    if not picture:
        if parts.been_on_air:
            return AirState.FAILING, parts.trouble or "The hub sends nothing."
        return AirState.STARTING, parts.trouble
    if parts.outputs and not good:
        if parts.been_on_air or len(bad) == len(parts.outputs):
            return AirState.FAILING, causes or "No output has taken any data."
        return AirState.STARTING, causes
    if bad:
        return AirState.DEGRADED, causes
    if len(good) < len(parts.outputs):
        return AirState.DEGRADED if parts.been_on_air else AirState.STARTING, "Connecting."
    if parts.now is Kind.SLATE:
        return AirState.DEGRADED, parts.trouble or "The slate is on."
    if parts.now is None and not parts.been_on_air:
        return AirState.STARTING, parts.trouble
    return AirState.ON_AIR, ""
