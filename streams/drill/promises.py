"""The faults of a drill, what is promised for each, and the verdict. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: Seconds for which a pusher is stopped: shorter than the stall after which it is replaced.
STALL_S: Final = 5.0
#: Seconds for which the database takes no writes: shorter than a lease, so that no other node
#: claims the channel meanwhile.
DATABASE_S: Final = 8.0


class Fault(StrEnum):
    PLAYER = "player"
    HUB = "hub"
    PUSHER = "pusher"
    UPLINK = "uplink"
    SUPERVISOR = "supervisor"
    DATABASE = "database"


class Verdict(StrEnum):
    #: The promise was kept.
    MET = "kept"
    MISSED = "missed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Promise:
    """The promise for a fault. Times in seconds; recovery counts from the fault's end."""

    label: str
    #: The effect on viewers while it is drilled.
    viewers: str
    sentence: str
    #: From the fault, or from its end if it lasts, until the part works again.
    within_s: float
    #: Air that may be missing at the hub. The measurement is exact to some tenths.
    air_lost_s: float = 0.5
    keeps_session: bool = True
    #: How long the fault lasts; 0: it happens at once.
    hold_s: float = 0.0


PROMISES: Final[dict[Fault, Promise]] = {
    Fault.PLAYER: Promise(
        "Player killed",
        "The item is cut off and the next one starts.",
        "What is buffered plays out, and the next item follows without a gap, in the same "
        "session.",
        within_s=10,
    ),
    Fault.HUB: Promise(
        "Hub killed",
        "The picture freezes for about two seconds.",
        "The hub is started again; at most the unfinished segment and the start are lost, in "
        "the same session.",
        within_s=5,
        air_lost_s=3,
    ),
    Fault.PUSHER: Promise(
        "Pusher killed",
        "The destination loses the stream for some seconds; a player may have to reload.",
        "A new session is on air at once. Other outputs and the preview lose nothing.",
        within_s=3,
        keeps_session=False,
    ),
    Fault.UPLINK: Promise(
        "Uplink stalled",
        f"The destination gets no data for {STALL_S:g} seconds; players with a short buffer "
        "stop as long.",
        "The session survives a stall of less than ten seconds, and the stream catches up.",
        within_s=5,
        hold_s=STALL_S,
    ),
    Fault.SUPERVISOR: Promise(
        "Supervisor killed",
        "Nothing. Pages show the state as unknown for some seconds.",
        "FFmpeg plays on. Another supervisor takes its processes over.",
        within_s=15,
    ),
    Fault.DATABASE: Promise(
        "Database busy",
        f"Nothing. The whole site can't save for {DATABASE_S:g} seconds.",
        "The channel plays on with its last orders; its state is written again afterwards.",
        within_s=10,
        hold_s=DATABASE_S,
    ),
}

#: Faults that a process without privileges can't bring about honestly, and why.
NOT_POSSIBLE: Final = {
    "Source away": "It would have to move files of the library or hide them from the node. "
    "“Player killed” drills what follows: the next item.",
    "Bucket away": "Only the firewall (root) can cut this machine off from the bucket.",
    "Database away": "Only its administrator can stop the database server. “Database busy” "
    "refuses every write for as long as the drill may.",
    "Uplink cut": "Only the firewall (root) can cut the network. “Uplink stalled” stops the "
    "pusher instead, and the destination gets no data either.",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one fault. Times in seconds; None: not measured."""

    #: Until the part worked again; None: it did not while the drill watched.
    recovered_s: float | None
    #: How long the drill watched.
    watched_s: float
    air_lost_s: float | None
    #: Whether all sessions that the fault should not end are the same; None: no output.
    session_kept: bool | None
    #: What was seen, such as the title of the next item.
    detail: str = ""


def judge(promise: Promise, measured: Measured) -> tuple[Verdict, str]:
    """Return the verdict, and why it is not "kept"."""
    missed = []
    if measured.recovered_s is None:
        if measured.watched_s < promise.within_s:
            return Verdict.UNKNOWN, "The drill ended before the bound."
        missed.append(f"It was not back within {measured.watched_s:.0f} s.")
    elif measured.recovered_s > promise.within_s:
        missed.append(
            f"It took {measured.recovered_s:.1f} s instead of {promise.within_s:g} s."
        )
    if measured.air_lost_s is not None and measured.air_lost_s > promise.air_lost_s:
        missed.append(
            f"{measured.air_lost_s:.1f} s of air were lost instead of {promise.air_lost_s:g} s."
        )
    if measured.session_kept is False:
        missed.append("A session ended that should have continued.")
    if missed:
        return Verdict.MISSED, " ".join(missed)
    if measured.air_lost_s is None:
        return Verdict.UNKNOWN, "The hub's segments could not be read."
    return Verdict.MET, ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides whether a channel may be drilled. `node`: the one that plays it, or ""."""

    name: str
    test_channel: bool
    on_air: bool
    #: Why it is not simply on air; may be empty.
    cause: str
    node: str
    live: bool
    #: The channel that is being drilled on this node; empty: none.
    drilled: str = ""


def refusal(standing: Standing, *, confirmed: bool, here: str = "") -> str:
    """Return why the channel can't be drilled now, as a sentence; empty if it can.

    `confirmed`: the operator has said that it may be this channel although it is no test
    channel. `here`: the node to drill on; empty: whichever plays it.
    """
    name = standing.name
    if not standing.test_channel and not confirmed:
        return (
            f"{name} is not marked as a test channel. Mark it in its settings, or confirm "
            "that its viewers may see the faults."
        )
    if not standing.on_air or not standing.node:
        because = f": {standing.cause}" if standing.cause else "."
        return f"{name} can't be drilled, because it is not on air without a fault{because}"
    if standing.live:
        return f"{name} carries a live feed. Drill it when its programme is on air."
    if here and standing.node != here:
        return f"{name} plays on {standing.node}. Run the drill there, or order it on its page."
    if standing.drilled:
        return f"{standing.drilled} is being drilled on {standing.node}. Wait until it is over."
    return ""
