"""The owner's live feeds as the ledger hands them to the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from streamsite.security.secret import Secret

#: Seconds without data after which a feed is lost.
LOST_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class LiveFeed:
    """A broadcaster's stream at the ingest server."""

    #: The ledger's names of the stream and of who sends it.
    stream: int
    broadcaster: int
    name: str
    #: Where it is read. It may hold a token.
    url: Secret
    #: When it was asked for, in seconds since the epoch: it went live, or was taken by hand.
    requested_at: float
    #: False: it is known to have none.
    has_audio: bool = True
    #: Names of its codecs, as the ingest server has them; empty: they are not known.
    tracks: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """What no line about it may show."""
        return (Secret(urlsplit(self.url.reveal()).query),)


@dataclass(frozen=True, slots=True)
class Wish:
    """What people and the ingest server want of a channel."""

    #: Feeds that may be on, best first. Of a feed that was taken by hand: that one alone.
    feeds: tuple[LiveFeed, ...] = ()
    #: Streams that are there, also those which may not be on now.
    present: frozenset[int] = frozenset()
    #: Of those which are gone: the publisher ended it, or its connection broke. In neither: the
    #: server does not know.
    finished: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()
    #: The programme was taken back by hand.
    returned: bool = False
    #: Seconds that a feed has to last before it is on.
    debounce: float = 2.0
    #: Seconds for which a lost feed is waited for.
    hold: float = 20.0
