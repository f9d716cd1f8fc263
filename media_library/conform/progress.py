"""How far the making of a copy is, over all its stages. Pure."""

from __future__ import annotations

from typing import Final

from media_library.conform.conform import Stage

#: Percent of the time each stage takes, roughly: encoding takes nearly all of it.
SHARES: Final = {
    Stage.FETCHING: 10,
    Stage.MEASURING: 5,
    Stage.ENCODING: 75,
    Stage.VERIFYING: 5,
    Stage.STORING: 5,
}


def overall(stage: Stage, percent: int, *, fetched: bool) -> int:
    """Percent of all the work, from that of one stage; 99 at most, for 100 is ready.

    `fetched`: the original had to be brought to this machine first.
    """
    shares = {one: share for one, share in SHARES.items() if fetched or one != Stage.FETCHING}
    if stage not in shares:
        return 0
    stages = list(shares)
    before = sum(shares[one] for one in stages[: stages.index(stage)])
    done = before + shares[stage] * percent / 100
    return min(99, int(100 * done / sum(shares.values())))
