"""Derives a channel's state from its parts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streams.playout.contract.output_status import Status
from streams.playout.contract.states import AirState, OutputAir
from streams.playout.contract.turn import Turn
from streams.programme.item import Kind

TROUBLED: Final = {OutputAir.RETRYING, OutputAir.FAILING, OutputAir.GIVEN_UP}


@dataclass(frozen=True, slots=True)
class Parts:
    """Measurements of one channel."""

    ordered: bool
    #: The hub has moved data lately.
    hub: bool
    #: The window has a first segment to show.
    window: bool
    #: The turn that the hub is sending; None: unknown.
    now: Turn | None
    outputs: Sequence[Status]
    #: It has been on air in this run.
    been_on_air: bool
    #: Why the programme is not playing, if it is not.
    trouble: str = ""
    #: Why the storage is unreachable, if it is.
    storage: str = ""
    #: Why it is not sent in real time, if it is not.
    slow: str = ""
    #: What is wrong with picture and sound, if anything is.
    flawed: str = ""


def judge(parts: Parts) -> tuple[AirState, str]:
    """Return the channel's state and, if it is not simply on air, the cause as a sentence."""
    if not parts.ordered:
        return AirState.STOPPING, ""
    waiting = AirState.FAILING if parts.been_on_air else AirState.STARTING
    if not (parts.hub and parts.window):
        return waiting, parts.trouble or ("The hub sends nothing." if parts.been_on_air else "")
    if fault := _outputs(parts, waiting):
        return fault
    kind = parts.now.item.kind if parts.now is not None and parts.now.stands_in else None
    if kind is Kind.SLATE:
        return AirState.DEGRADED, parts.trouble or "The slate is on."
    if kind is Kind.FILLER:
        return AirState.DEGRADED, parts.trouble or "The filler is on."
    if parts.now is None and not parts.been_on_air:
        return AirState.STARTING, parts.trouble
    storage = (
        f"{parts.storage} Items on this machine's disk keep playing." if parts.storage else ""
    )
    worse = parts.flawed or parts.slow or storage
    return (AirState.DEGRADED, worse) if worse else (AirState.ON_AIR, "")


def _outputs(parts: Parts, waiting: AirState) -> tuple[AirState, str] | None:
    """Return the state that the outputs cause while there is video; None: they are all well."""
    good = [status for status in parts.outputs if status.state is OutputAir.ON_AIR]
    bad = [status for status in parts.outputs if status.state in TROUBLED]
    causes = " ".join(dict.fromkeys(status.cause for status in bad if status.cause))
    if len(good) == len(parts.outputs):
        return None
    if any(status.state is OutputAir.ROLLING for status in parts.outputs) and not bad:
        # Planned, and over after a second or two: nothing has failed.
        return AirState.DEGRADED, "A new session begins, as planned."
    if not good:
        if len(bad) == len(parts.outputs):
            return AirState.FAILING, causes
        return waiting, causes or "No output has accepted data yet."
    if bad or parts.been_on_air:
        return AirState.DEGRADED, causes or "Connecting."
    return AirState.STARTING, "Connecting."
