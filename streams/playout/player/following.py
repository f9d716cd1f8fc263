"""Keeps a second node in step with the node that plays the channel. Pure.

Both nodes select from the same programme with the same cursors, so they play the same items.
The second node compares where the pictures are at the destinations, because one pusher may be
two seconds closer to its hub than another. If they differ for some seconds, it cuts to the
owner's place: `decide` says so, and `turn_at` finds the turn to play. An item starts only at a
keyframe, so a part of it fills the time until the owner reaches the next one.

The second node plays on by itself while the owner shows a live feed, a slate or a filler, while
it shows one itself, and when nothing is heard of the owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf
from typing import Final

from media_library.house_format import HouseFormat
from streams.playout.contract.place import Place
from streams.playout.contract.turn import TAKEOVER, Turn
from streams.programme.item import Mode
from streams.programme.model import Programme

#: Seconds by which the two pictures may differ. The lags of the pushers are known to 0.3 s.
IN_STEP_S: Final = 0.7
#: Seconds for which they must differ: at an item's end, one node is ahead of the other, and the
#: owner's next item is known only after both have exchanged with the ledger.
DIFFERENT_S: Final = 2.0
#: Seconds from which it is worth waiting for a keyframe.
CLOSE_S: Final = Fraction(1, 5)
#: Seconds until a correction has taken effect.
SETTLED_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Following:
    """Since when the pictures differ, and until when a correction takes effect (monotonic)."""

    differs_since: float | None = None
    settled_at: float = 0.0
    #: The item of the last correction.
    joined: Turn | None = None


def decide(
    following: Following,
    owner: Place | None,
    own: Sequence[Place],
    now: float,
    house_format: HouseFormat,
) -> tuple[Following, bool]:
    """Return whether to cut to the owner's place.

    `own`: the turn on air here and those already fed after it. `owner`: None if nothing was
    heard of it lately.
    """
    if owner is None or not own or now < following.settled_at:
        return replace(following, differs_since=None), False
    if any(_by_itself(place.turn) for place in (owner, own[0])) or _is_over(
        owner, now, house_format
    ):
        return following, False
    difference = min((_difference(owner, place) for place in own), key=abs)
    joined = following.joined
    failed = difference == inf and joined is not None and _same(owner.turn, joined)
    if abs(difference) <= IN_STEP_S or failed:
        # An item that this node could not play is not tried again.
        return replace(following, differs_since=None), False
    since = now if following.differs_since is None else following.differs_since
    if now - since < DIFFERENT_S:
        return replace(following, differs_since=since), False
    return Following(settled_at=now + SETTLED_S, joined=owner.turn), True


def _by_itself(turn: Turn) -> bool:
    return turn.rule == TAKEOVER or turn.stands_in


def _is_over(place: Place, now: float, house_format: HouseFormat) -> bool:
    """Whether the owner plays its next turn by now, of which nothing is known yet."""
    length = _length(place.turn, house_format)
    return length is not None and now >= place.began + float(length)


def _length(turn: Turn, house_format: HouseFormat) -> Fraction | None:
    return turn.length(house_format) or turn.seconds


def _difference(owner: Place, own: Place) -> float:
    """Seconds by which the owner's picture is ahead at the destinations."""
    if not _same(owner.turn, own.turn):
        return inf
    return (
        (own.began - float(own.turn.into)) - (owner.began - float(owner.turn.into))
    ) + extra_lag(owner, own.lag)


def _same(one: Turn, other: Turn) -> bool:
    """Whether two turns show the same item."""
    first, second = one.item, other.item
    return (first.key, first.entry) == (second.key, second.entry)


def extra_lag(owner: Place, lag: float | None) -> float:
    """Seconds by which destinations with this lag are further behind than the owner's."""
    return 0.0 if lag is None or owner.lag is None else lag - owner.lag


# ---- the turn to play


def turn_at(
    place: Place, at: float, programme: Programme, house_format: HouseFormat
) -> tuple[Turn | None, bool]:
    """Return the turn that joins the place's turn at that moment; None: it is over by then.

    True: it joins for good. Otherwise it only fills the time to the next keyframe.
    """
    turn, frame = place.turn, house_format.frame
    played = Fraction(round((at - place.began) * 1000), 1000)
    length = _length(turn, house_format)
    left = None if length is None else length - played
    if left is not None and left <= CLOSE_S:
        return None, True
    second = max(turn.into + played, Fraction(0))
    if turn.item.mode is not Mode.PREPARED:
        # Its keyframes are unknown, or it is encoded and has one anywhere.
        return _joined(turn, second), True
    keyframe = second // programme.resume * programme.resume
    if second - keyframe <= CLOSE_S:
        return _joined(turn, keyframe), True
    fill = keyframe + programme.resume - second
    fill = fill if left is None else min(fill, left)
    fill = round(fill / frame) * frame
    if fill <= CLOSE_S:
        return _joined(turn, keyframe + programme.resume), True
    return replace(_joined(turn, keyframe), limit=fill, seconds=fill), False


def _joined(turn: Turn, second: Fraction) -> Turn:
    """The turn from that second of its item on, up to the same end."""
    skipped = second - turn.into
    return replace(
        turn,
        into=second,
        limit=None if turn.limit is None else turn.limit - skipped,
        seconds=None if turn.seconds is None else turn.seconds - skipped,
        fade=False,
    )
