"""Live feeds of broadcasters, as the ledger passes them to the engine."""

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

    #: Primary keys of the stream and its broadcaster in the ledger.
    stream: int
    broadcaster: int
    name: str
    #: Address to read the feed from. It may contain a token.
    url: Secret
    #: When the takeover was requested (the feed went live or was taken by hand), in seconds
    #: since the epoch.
    requested_at: float
    #: False: the feed is known to have no audio.
    has_audio: bool = True
    #: Codec names as the ingest server reports them; empty if unknown.
    tracks: tuple[str, ...] = ()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Secrets that no line about the feed may show."""
        return (Secret(urlsplit(self.url.reveal()).query),)


@dataclass(frozen=True, slots=True)
class IngestState:
    """The takeover that people and the ingest server request for a channel."""

    #: Feeds that may go on air, best first. A feed taken by hand is the only one.
    feeds: tuple[LiveFeed, ...] = ()
    #: Streams that are live, including those that may not go on air now.
    present: frozenset[int] = frozenset()
    #: Streams that are gone because the publisher ended them, or because the connection broke.
    #: A stream in neither set ended for a reason unknown to the server.
    finished: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()
    #: Somebody returned to the programme by hand.
    returned: bool = False
    #: Seconds that a feed must last before it goes on air.
    debounce: float = 2.0
    #: Seconds to wait for a lost feed.
    hold: float = 20.0
