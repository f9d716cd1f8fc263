"""The status of one output: where its pusher stands."""

from __future__ import annotations

from dataclasses import dataclass

from streams.playout.contract.states import OutputAir


@dataclass(frozen=True, slots=True)
class Status:
    """Times are seconds of the monotonic clock."""

    state: OutputAir = OutputAir.OFF
    since: float = 0.0
    #: Whether a process exists.
    running: bool = False
    #: When its process was started, which is when its session began: a second too early, and
    #: known of an adopted one too.
    launched: float = 0.0
    #: When data last moved.
    moved: float = 0.0
    #: Since when there is something that it has not sent; None: it has sent all there is.
    offered: float | None = None
    #: When it came on air last; None: this process has not.
    on_air: float | None = None
    #: In a row.
    failures: int = 0
    retry_at: float | None = None
    #: When air was lost; None: it is not.
    lost: float | None = None
    #: When the old session ended, while the new one connects.
    rolled: float | None = None
    cause: str = ""
