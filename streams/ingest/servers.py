"""Clients of the ingest servers: list live sources, and end them.

Every call is bounded in time and size. A failure is a `ServerError` whose `str()` tells the
operator what to do. It means that the state is unknown, not that nothing is live.
"""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from typing import Any, Final, Protocol
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)
from xml.etree import ElementTree as ET

from django.conf import settings

from streams.ingest.callbacks import slug_of
from streams.models import LiveStream

#: Seconds for each answer of the server, which runs on this machine.
REQUEST_TIMEOUT_S: Final = 3.0
#: Bytes of one answer: about 10,000 streams.
_MAX_ANSWER_BYTES: Final = 16 * 2**20
_PAGE: Final = 100
#: Pages of one list: more would take longer than the interval between two lists.
_MAX_PAGES: Final = 100
#: Seconds between two checks whether a stream has ended.
_POLL_INTERVAL_S: Final = 0.2


class ServerError(Exception):
    """The server can't be reached, or its answer can't be parsed."""


@dataclass(frozen=True, slots=True)
class Source:
    """The publisher of a path, by the server's id of the connection."""

    path: str
    type: str
    id: str


def source_of(row: LiveStream) -> Source:
    return Source(row.path, row.source_type, row.source_id)


@dataclass(frozen=True, slots=True)
class Listed:
    """A source that is live at the server."""

    path: str
    source_type: str
    source_id: str
    bytes_in: int
    address: str = ""
    since: datetime | None = None
    tracks: tuple[str, ...] = ()


class IngestClient(Protocol):
    kind: str

    def streams(self) -> list[Listed]:
        """Returns the sources at paths of broadcasters. Raises `ServerError`."""

    def kick(self, source: Source) -> None:
        """End the source, if it is still live. Raises `ServerError`."""

    def end(self, source: Source, *, within: float) -> bool:
        """End the source and wait up to `within` seconds until it is gone.

        Returns whether it is gone. Raises `ServerError`.
        """


class _Http(ABC):
    """The HTTP access that both clients share."""

    kind = ""

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self._opener = OpenerDirector()
        # No proxies from the environment and no redirects: the operator configured the address.
        for handler in (
            *(ProxyHandler({}), HTTPHandler(), HTTPSHandler()),
            *(HTTPDefaultErrorHandler(), HTTPErrorProcessor()),
        ):
            self._opener.add_handler(handler)

    def _request(
        self, path: str, query: dict[str, str] | None = None, *, post: bool = False
    ) -> bytes:
        address = f"{self.base}{path}" + (f"?{urlencode(query)}" if query else "")
        request = Request(address, data=b"" if post else None)  # noqa: S310 - the settings check it
        try:
            with self._opener.open(request, timeout=REQUEST_TIMEOUT_S) as answer:
                body: bytes = answer.read(_MAX_ANSWER_BYTES + 1)
        except HTTPError as error:
            with error:
                if error.code == 404:  # noqa: PLR2004 - as HTTP has it
                    raise _GoneError from None
            raise ServerError(
                f"The ingest server answers {error.code}. Check the settings of its API."
            ) from None
        except (OSError, HTTPException, ValueError) as error:
            raise ServerError(
                f"The ingest server does not answer at INGEST_API_URL "
                f"({getattr(error, 'reason', None) or type(error).__name__}). Check that it "
                "runs."
            ) from None
        if len(body) > _MAX_ANSWER_BYTES:
            raise ServerError("The ingest server's answer is too long.")
        return body

    @abstractmethod
    def streams(self) -> list[Listed]: ...

    @abstractmethod
    def kick(self, source: Source) -> None: ...

    def end(self, source: Source, *, within: float) -> bool:
        deadline = time.monotonic() + within
        self.kick(source)
        while any((s.path, s.source_id) == (source.path, source.id) for s in self.streams()):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_INTERVAL_S)
        return True


class _GoneError(ServerError):
    """404: the requested object does not exist, or no longer exists."""

    def __init__(self) -> None:
        super().__init__("The ingest server has no such address. Check INGEST_API_URL.")


# ---- MediaMTX --------------------------------------------------------------------------------
#: The API path that kicks each type of source. No client publishes other types.
_KICKED: Final = {
    "rtmpConn": "rtmpconns",
    "rtmpsConn": "rtmpsconns",
    "rtspSession": "rtspsessions",
    "rtspsSession": "rtspssessions",
    "srtConn": "srtconns",
    "webRTCSession": "webrtcsessions",
    "moqSession": "moqsessions",
}


class MediaMtx(_Http):
    """Client of MediaMTX's API v3. It reads the field names before and since 1.16."""

    kind = "mediamtx"

    def streams(self) -> list[Listed]:
        try:
            return self._pages()
        except (LookupError, AttributeError, TypeError, ValueError):
            raise ServerError(
                "The ingest server's list of paths can't be parsed. Check that it is MediaMTX "
                "v1."
            ) from None

    def _pages(self) -> list[Listed]:
        sources: list[Listed] = []
        for page in range(_MAX_PAGES):
            query = {"page": str(page), "itemsPerPage": str(_PAGE)}
            answer = json.loads(self._request("/v3/paths/list", query))
            items = answer["items"]
            sources += filter(None, map(_mediamtx_listed, items))
            if page + 1 >= int(answer.get("pageCount") or 0):
                break
        return sources

    def kick(self, source: Source) -> None:
        kind = _KICKED.get(source.type)
        if kind is None:
            raise ServerError(f"Sources of type {source.type!r} can't be ended from here.")
        try:
            self._request(f"/v3/{kind}/kick/{quote(source.id, safe='')}", post=True)
        except _GoneError:
            return


def _mediamtx_listed(item: Any) -> Listed | None:
    """Parse one path of the list; None if nobody publishes there."""
    source = item.get("source") if isinstance(item, dict) else None
    if not isinstance(source, dict) or not slug_of(str(item.get("name", ""))):
        return None
    # `available` can be true for a path without a publisher, `online` can't.
    if not next(
        (item[name] for name in ("online", "available", "ready") if name in item), False
    ):
        return None
    tracks = item.get("tracks2") or item.get("tracks") or []
    since = next((item[n] for n in ("onlineTime", "readyTime") if item.get(n)), None)
    return Listed(
        path=str(item["name"]),
        source_type=str(source.get("type", "")),
        source_id=str(source.get("id", "")),
        bytes_in=int(item.get("inboundBytes", item.get("bytesReceived")) or 0),
        since=_moment(since),
        tracks=tuple(_track(track) for track in tracks),
    )


def _track(track: Any) -> str:
    return str(track.get("codec", "")) if isinstance(track, dict) else str(track)


def _moment(text: object) -> datetime | None:
    try:
        # Go writes nanoseconds; Python parses six digits.
        moment = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(text)))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


# ---- nginx-rtmp ------------------------------------------------------------------------------
#: Characters that XML 1.0 forbids. The module escapes markup in clients' text, but not these.
_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class NginxRtmp(_Http):
    """Client of nginx-rtmp's `/stat` and `/control`."""

    kind = "nginx-rtmp"

    def streams(self) -> list[Listed]:
        body = _CONTROLS.sub(b"", self._request("/stat"))
        try:
            # Clients can't insert a DTD, and without one there are no XML entity bombs.
            root = ET.fromstring(body.decode(errors="replace"))  # noqa: S314 - our own server, and its answer is bounded
        except (ET.ParseError, ValueError):
            raise ServerError("The ingest server's /stat is not XML.") from None
        return list(_nginx_listed(root))

    def kick(self, source: Source) -> None:
        app, _, name = source.path.partition("/")
        # The answer is the number of dropped connections; zero means it is gone.
        self._request(
            "/control/drop/publisher", {"app": app, "name": name, "clientid": source.id}
        )


def _nginx_listed(root: ET.Element) -> Iterator[Listed]:
    for application in root.iter("application"):
        for stream in application.iter("stream"):
            path = f"{application.findtext('name', '')}/{stream.findtext('name', '')}"
            publisher = next(
                (c for c in stream.iter("client") if c.find("publishing") is not None), None
            )
            if publisher is None or not slug_of(path):
                continue
            codecs = (stream.findtext(f"meta/{kind}/codec", "") for kind in ("video", "audio"))
            yield Listed(
                path=path,
                source_type="rtmp",
                source_id=publisher.findtext("id", ""),
                bytes_in=_whole(stream.findtext("bytes_in")),
                address=publisher.findtext("address", ""),
                tracks=tuple(filter(None, codecs)),
            )


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


# ---- the configured one ----------------------------------------------------------------------
_CLIENTS: Final[dict[str, tuple[type[MediaMtx] | type[NginxRtmp], str]]] = {
    "mediamtx": (MediaMtx, "http://127.0.0.1:9997"),
    "nginx-rtmp": (NginxRtmp, "http://127.0.0.1:8090"),
}


def configured_client() -> IngestClient | None:
    """Returns the client of the configured server; None if there is none."""
    entry = _CLIENTS.get(settings.INGEST_SERVER)
    if entry is None:
        return None
    make, usual = entry
    return make(settings.INGEST_API_URL or usual)
