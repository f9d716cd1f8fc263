"""Status of one output: the state of its pusher."""

from __future__ import annotations

from dataclasses import dataclass

from streams.playout.contract.states import OutputAir


@dataclass(frozen=True, slots=True)
class Taken:
    """What the destination's machine has acknowledged, as the kernel knows it."""

    #: bit/s over the last ten seconds.
    bitrate: int | None
    #: Percent of the bytes of the last 30 s that had to be sent again; None: unknown.
    resent_percent: float | None
    #: Bytes that wait in this machine.
    queued: int


@dataclass(frozen=True, slots=True)
class Status:
    """Times are seconds of the monotonic clock."""

    state: OutputAir = OutputAir.OFF
    since: float = 0.0
    #: Whether a process exists.
    running: bool = False
    #: When its process was started, which counts as the start of its session: about a second
    #: too early, but also known for an adopted process.
    launched: float = 0.0
    #: When data last moved.
    moved: float = 0.0
    #: Since when it has had unsent data; None: everything has been sent.
    offered: float | None = None
    #: When this process came on air; None: it has not.
    on_air: float | None = None
    #: Consecutive failures.
    failures: int = 0
    retry_at: float | None = None
    #: When the output was lost; None: it is on air.
    lost: float | None = None
    #: When the old session ended, while the new one connects.
    rolled: float | None = None
    cause: str = ""
