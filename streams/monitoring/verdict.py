"""Judges an output from three measurements that know nothing of each other. Pure.

*Sent*: what its destination has taken. *Ours*: what the channel's segments show and sound like.
*Theirs*: what the platform says. A verdict is as bad as the worst of them; it is good only if
what is sent and how it looks are known to be good. What was not measured is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from streams.monitoring import formatting
from streams.playout.contract.air_flaws import PATIENCE_S, SENTENCES
from streams.playout.contract.picture import Flaw
from streams.playout.contract.states import OutputAir

#: A platform is asked each minute, and its own figures are up to a minute old.
THEIRS_VALID: Final = timedelta(minutes=5)
#: The node reports a look for 45 s, and its row is believed for 15.
OURS_VALID: Final = timedelta(seconds=60)


class Level(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"


#: The later, the worse. What is unknown hides nothing that is known to be bad.
_ORDER: Final = (Level.HEALTHY, Level.UNKNOWN, Level.DEGRADED, Level.DOWN)


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement, judged. `sentence` has the figures that led to it."""

    level: Level
    sentence: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`sentence`: that of the worst part. The parts are named sent, ours and theirs."""

    level: Level
    sentence: str
    sent: Measured
    ours: Measured
    theirs: Measured

    @property
    def label(self) -> str:
        return formatting.label(self.level.value)


@dataclass(frozen=True, slots=True)
class Sent:
    """What is known of the sending. Rates in bit/s, `late`: why it is late, as a sentence."""

    state: str
    cause: str = ""
    bitrate: int | None = None
    acknowledged: int | None = None
    resent_percent: float | None = None
    queued_bytes: int | None = None
    lag_seconds: float | None = None
    speed: float | None = None
    late: str = ""


@dataclass(frozen=True, slots=True)
class Ours:
    """When the air was last looked at, and since when it has which flaws.

    `ignored`: flaws that are none on this channel.
    """

    inspected_at: datetime | None
    flaws: Mapping[Flaw, datetime] = field(default_factory=dict)
    ignored: frozenset[Flaw] = frozenset()


@dataclass(frozen=True, slots=True)
class Theirs:
    """What the platform said. `level`: one of the verdict's words.

    `valid_until`: later it is unknown; None: `THEIRS_VALID` after the check.
    """

    level: str
    sentence: str
    checked_at: datetime | None
    valid_until: datetime | None = None


NO_ACCOUNT: Final = Measured(
    Level.UNKNOWN, "The platform is not asked: no account is connected."
)


def judge(sent: Sent, ours: Ours, theirs: Theirs | None, now: datetime) -> Verdict:
    """Return the verdict on one output of a channel that is ordered on."""
    parts = (judge_sent(sent), judge_ours(ours, now), judge_theirs(theirs, now))
    # A platform that is not asked leaves the verdict to the two others.
    counted = parts if theirs is not None else parts[:2]
    worst = max(counted, key=lambda part: _ORDER.index(part.level))
    return Verdict(worst.level, worst.sentence, *parts)


def judge_sent(sent: Sent) -> Measured:
    match sent.state:
        case OutputAir.ON_AIR:
            return _judge_sending(sent)
        case OutputAir.RETRYING | OutputAir.FAILING | OutputAir.GIVEN_UP:
            return Measured(Level.DOWN, sent.cause or "It is not sent.")
        case OutputAir.ROLLING:
            return Measured(Level.UNKNOWN, "A new session begins.")
        case OutputAir.CONNECTING:
            return Measured(Level.UNKNOWN, "It connects.")
        case OutputAir.OFF:
            return Measured(Level.UNKNOWN, "It is off.")
        case _:
            return Measured(Level.UNKNOWN, "It was not measured.")


def _judge_sending(sent: Sent) -> Measured:
    figures = [f"{formatting.bitrate(sent.bitrate)} sent"]
    if sent.acknowledged is not None:
        figures.append(f"{formatting.bitrate(sent.acknowledged)} acknowledged")
    if sent.resent_percent is not None:
        figures.append(f"{sent.resent_percent:.1f} % sent again")
    if sent.queued_bytes is not None:
        figures.append(f"{formatting.size(sent.queued_bytes)} waiting")
    if sent.lag_seconds is not None:
        figures.append(f"{sent.lag_seconds:.1f} s behind")
    if sent.speed is not None:
        figures.append(f"speed {sent.speed:.2f}")
    listed = f"{', '.join(figures)}."
    if sent.late:
        return Measured(Level.DEGRADED, f"{sent.late} {listed}")
    return Measured(Level.HEALTHY, listed)


def judge_ours(ours: Ours, now: datetime) -> Measured:
    if ours.inspected_at is None or now - ours.inspected_at > OURS_VALID:
        return Measured(Level.UNKNOWN, "Picture and sound were not looked at.")
    lasting = [
        f"{SENTENCES[flaw][:-1]} since {since:%H:%M:%S} UTC."
        for flaw, since in ours.flaws.items()
        if flaw not in ours.ignored
        and (ours.inspected_at - since).total_seconds() >= PATIENCE_S[flaw]
    ]
    if lasting:
        return Measured(Level.DEGRADED, " ".join(lasting))
    return Measured(Level.HEALTHY, "Picture and sound are there.")


def judge_theirs(theirs: Theirs | None, now: datetime) -> Measured:
    if theirs is None:
        return NO_ACCOUNT
    if theirs.checked_at is None:
        return Measured(Level.UNKNOWN, "The platform was not asked yet.")
    if now > (theirs.valid_until or theirs.checked_at + THEIRS_VALID):
        text = f"The platform has not answered since {theirs.checked_at:%H:%M:%S} UTC."
        return Measured(Level.UNKNOWN, text)
    return Measured(Level(theirs.level), theirs.sentence)
