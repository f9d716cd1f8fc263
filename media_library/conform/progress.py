"""Progress of a copy over all its stages. Pure."""

from __future__ import annotations

from typing import Final

from media_library.conform.conform import Stage

#: Approximate share of each stage in percent of the time: encoding takes nearly all of it.
SHARES: Final = {
    Stage.FETCHING: 10,
    Stage.MEASURING: 5,
    Stage.ENCODING: 75,
    Stage.VERIFYING: 5,
    Stage.STORING: 5,
}


def overall(stage: Stage, percent: int, *, fetched: bool) -> int:
    """Returns the percentage of all the work from that of one stage; at most 99, 100 is ready.

    `fetched`: the original had to be downloaded to this machine first.
    """
    shares = {one: share for one, share in SHARES.items() if fetched or one != Stage.FETCHING}
    if stage not in shares:
        return 0
    stages = list(shares)
    before = sum(shares[one] for one in stages[: stages.index(stage)])
    done = before + shares[stage] * percent / 100
    return min(99, int(100 * done / sum(shares.values())))
