"""What to play next: the programme, and what stands in where it can't be played.

The chain is item, filler, slate. While the storage is out of reach, what lies on this machine's
disk is played on, and the programme waits where it was for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streams.playout.item import Item, Kind
from streams.playout.plan import ChannelPlan, Sources
from streams.programme.rota import following, from_next

#: Items tried in a row before something stands in. Each costs a process's start.
TRIES: Final = 4

#: Tells the channel that the programme is in trouble (a sentence) or well again ("").
Trouble = Callable[[str], None]


class Choice:
    """Chooses items one after the other, and remembers how the last ones fared."""

    def __init__(self, sources: Sources, trouble: Trouble) -> None:
        self.sources = sources
        self.trouble = trouble
        self.last_entry: int | None = None
        self.last_filler: int | None = None
        self.troubled = False
        #: Items that failed in a row since one played, or since something stood in.
        self.failures = 0
        #: The last failure took time: its source gave nothing.
        self._stalled = False
        #: The last choice was not what the programme wanted.
        self._stood_in = False
        self._chosen = Kind.ITEM
        self._filler_failed = False

    # ---- how it went

    def failed(self, cause: str, *, stalled: bool = False) -> None:
        """What was chosen did not play, or not to its end."""
        self.failures += 1
        self._stalled = stalled
        self._filler_failed = self._chosen is Kind.FILLER
        self._tell(cause)

    def _tell(self, cause: str) -> None:
        self.troubled = True
        self.trouble(cause)

    def played(self, item: Item) -> None:
        """It gives data, or has played to its end."""
        if item.kind is Kind.ITEM:
            self.failures, self._stalled = 0, False
        elif item.kind is Kind.FILLER:
            self._filler_failed = False

    def aired(self, item: Item) -> None:
        """An item came on air: with that, the programme's trouble is over for the viewer."""
        if self.troubled and not self.failures and item.kind is Kind.ITEM:
            self.troubled = False
            self.trouble("")

    # ---- what next

    def next(self, plan: ChannelPlan, *, hurried: bool) -> Item:
        """`hurried`: there is no time to find out that another item does not play."""
        item = following(plan.items, self.last_entry)
        away = "" if item is None else self._away(item)
        if item is not None and not away and not self._stand_in_due(plan, item, hurried):
            self._stood_in = False
        else:
            item = self._stand_in(plan, item, away)
            self._stood_in = True
            self.failures, self._stalled = 0, False
        self._chosen = item.kind
        if item.kind is Kind.ITEM:
            self.last_entry = item.entry
        elif item.kind is Kind.FILLER:
            self.last_filler = item.entry
        return item

    def _away(self, item: Item) -> str:
        """Why its bytes are known to be out of reach; empty where they may be had."""
        return "" if self.sources.at_hand(item) else self.sources.fault() or ""

    def _filler(self, plan: ChannelPlan) -> Item | None:
        """The next that is at hand; otherwise the next, if all is well with the storage."""
        fillers = from_next(plan.fillers, self.last_filler)
        for filler in fillers:
            if self.sources.at_hand(filler):
                return filler
        well = not self._stalled and self.sources.fault() == ""
        return fillers[0] if fillers and well else None

    def _stand_in_due(self, plan: ChannelPlan, item: Item, hurried: bool) -> bool:  # noqa: FBT001
        if self._stood_in:
            # Never twice in a row: where the slate is at fault, an item may play.
            return self._filler_failed
        if not self.failures:
            return False
        if self.failures == 1 and self.sources.at_hand(item):
            return False
        return hurried or self._stalled or self.failures >= min(TRIES, len(plan.items))

    def _stand_in(self, plan: ChannelPlan, item: Item | None, away: str) -> Item:
        if item is None and not self.troubled:
            self._tell("Nothing in the playlist can be played.")
        if not self._filler_failed and (filler := self._filler(plan)) is not None:
            self._wait_for(item, away)
            return filler
        self._filler_failed = False
        if away:
            for other in from_next(plan.items, self.last_entry):
                if self.sources.at_hand(other):
                    return other
        self._wait_for(item, away)
        return plan.slate

    def _wait_for(self, item: Item | None, away: str) -> None:
        if item is not None and away:
            self._tell(f"{item.title} has to wait: {away}")
