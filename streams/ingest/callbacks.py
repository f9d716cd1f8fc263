"""What MediaMTX and nginx-rtmp say when they call, and what they are answered. Pure.

MediaMTX asks before it accepts anybody (HTTP authentication, JSON) and tells afterwards through
its hooks; nginx-rtmp asks by `on_publish` and tells by `on_publish_done`, both as forms. Either
is read into one value. Facts: the servers' documentation, and nginx-rtmp 1.2.2's source.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl

from streamsite.security.secret import Secret

#: Where broadcasters publish; deploy/mediamtx/mediamtx.yml has the same.
_PATH: Final = re.compile(r"live/([A-Za-z0-9_-]{1,64})")
#: No `:`, at which MediaMTX splits a bearer, and nothing that an address would have to escape.
KEY: Final = re.compile(r"[A-Za-z0-9_-]{22,128}")
#: Fields of one form: nginx-rtmp sends ten, and the client's own arguments behind them.
_MOST_FIELDS: Final = 64
#: Digits of a number that the database has room for.
_LONGEST_NUMBER: Final = 19
#: Characters of what is kept of a caller's words.
_LONGEST: Final = 64


class UnreadableError(Exception):
    """A callback that can't be read. `str()` of it quotes nothing of it."""


class Action(StrEnum):
    PUBLISH = "publish"
    READ = "read"
    #: Of MediaMTX's recordings.
    PLAYBACK = "playback"
    #: Its own API, metrics and profiler: deploy/mediamtx/mediamtx.yml leaves them out.
    API = "api"
    METRICS = "metrics"
    PPROF = "pprof"


@dataclass(frozen=True, slots=True)
class Asked:
    """May this client do that?"""

    action: Action
    #: Of the broadcaster; empty: the path is none of a broadcaster's.
    slug: str
    protocol: str
    #: As the server names the connection; empty: it has no name yet.
    source_id: str
    address: str
    #: Token, password or `?token=`; empty: none came.
    credential: Secret


@dataclass(frozen=True, slots=True)
class Told:
    """A source began or ended at a path."""

    path: str
    slug: str
    source_type: str
    source_id: str
    address: str = ""
    #: The number of the call: a later one has a higher. None: the server does not number them.
    call: int | None = None


def slug_of(path: str) -> str:
    """The broadcaster's part of a path; empty: it is none of a broadcaster's."""
    found = _PATH.fullmatch(path)
    return found[1] if found else ""


# ---- MediaMTX --------------------------------------------------------------------------------
def mediamtx_asked(body: bytes) -> Asked:
    """Its question. Raises `UnreadableError`."""
    said = _object(body)
    try:
        action = Action(_text(said, "action"))
    except ValueError:
        raise UnreadableError("The action is unknown.") from None
    query = _first_values(_text(said, "query"))
    credential = _text(said, "token") or _text(said, "password") or query.get("token", "")
    return Asked(
        action=action,
        slug=slug_of(_text(said, "path")),
        protocol=_text(said, "protocol")[:16],
        source_id=_text(said, "id")[:_LONGEST],
        address=_text(said, "ip")[:_LONGEST],
        credential=Secret(credential),
    )


def mediamtx_told(body: bytes, content_type: str) -> Told:
    """What its hooks tell, as form or as JSON. Raises `UnreadableError`."""
    said = (
        _object(body)
        if content_type.partition(";")[0].strip().lower() == "application/json"
        else _first_values(_decoded(body))
    )
    path, source_id = _text(said, "path"), _text(said, "source_id")[:_LONGEST]
    if not slug_of(path) or not source_id:
        raise UnreadableError("It needs path, as live/NAME, and source_id.")
    return Told(path, slug_of(path), _text(said, "source_type")[:24], source_id)


# ---- nginx-rtmp ------------------------------------------------------------------------------
def nginx_asked(body: bytes) -> Asked:
    """Its `on_publish`. Raises `UnreadableError`."""
    said = _first_values(_decoded(body))
    told = _nginx_source(said)
    return Asked(
        action=Action.PUBLISH,
        slug=told.slug,
        protocol="rtmp",
        source_id=told.source_id,
        address=told.address,
        credential=Secret(said.get("token", "")),
    )


def nginx_told(body: bytes, call: str = "") -> Told:
    """Its `on_publish_done` or `on_disconnect`. Raises `UnreadableError`."""
    told = _nginx_source(_first_values(_decoded(body)))
    known = call.isascii() and call.isdecimal() and len(call) < _LONGEST_NUMBER
    return replace(told, call=int(call) if known else None)


def _nginx_source(said: Mapping[str, str]) -> Told:
    path, client = f"{said.get('app', '')}/{said.get('name', '')}", said.get("clientid", "")
    if not client.isascii() or not client.isdecimal() or len(client) > _LONGEST:
        raise UnreadableError("It needs clientid, a number.")
    return Told(path, slug_of(path), "rtmp", client, said.get("addr", "")[:_LONGEST])


# ---- reading ---------------------------------------------------------------------------------
def _object(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableError("The body is no JSON.") from None
    if not isinstance(said, dict):
        raise UnreadableError("The body is no JSON object.")
    return said


def _text(said: Mapping[str, Any], name: str) -> str:
    """A field; empty where it is missing, null, or no text that a row could hold."""
    value = said.get(name)
    return value if isinstance(value, str) and value.isprintable() else ""


def _decoded(body: bytes) -> str:
    # A byte that is no UTF-8 can only be in what a client made up.
    return body.decode(errors="replace")


def _first_values(form: str) -> dict[str, str]:
    """The first value of each field: nginx-rtmp appends the client's own arguments raw."""
    try:
        pairs = parse_qsl(form, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise UnreadableError("It has too many fields.") from None
    first: dict[str, str] = {}
    for name, value in pairs:
        first.setdefault(name, value if value.isprintable() else "")
    return first


# ---- deciding --------------------------------------------------------------------------------
class Verdict(StrEnum):
    ACCEPT = "accept"
    #: Come again with credentials: RTSP, HLS and WHEP ask without them at first.
    ASK = "ask"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    #: For the log alone: whoever is refused is never told why.
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What is known of a key at the time of a question."""

    slug: str
    enabled: bool
    revoked: bool = False
    expires_at: datetime | None = None
    single_use: bool = False
    last_used_at: datetime | None = None
    last_address: str = ""
    source_id: str = ""
    source_address: str = ""
    lease_seen_at: datetime | None = None
    #: Another key of the broadcaster's is held by another source.
    other_in_use: bool = False


def readable(credential: Secret) -> bool:
    """Whether it could be a key at all: nothing else is worth a look into the database."""
    return KEY.fullmatch(credential.reveal()) is not None


def may_publish(
    asked: Asked, key: KeyFacts | None, now: datetime, *, lease: timedelta, grace: timedelta
) -> Decision:
    """The answer to who wants to publish, by the facts of the key that came along."""
    if not asked.credential:
        return Decision(Verdict.ASK, "no credentials")
    return _refuse(_fault(asked, key, now, lease=lease, grace=grace))


def _fault(
    asked: Asked, key: KeyFacts | None, now: datetime, *, lease: timedelta, grace: timedelta
) -> str:
    if key is None:
        return "unknown key"
    faults = {
        "another's path": asked.slug != key.slug,
        "broadcaster disabled": not key.enabled,
        "revoked": key.revoked,
        "expired": key.expires_at is not None and key.expires_at <= now,
        "in use": in_use(asked, key, now, lease),
        "the broadcaster is live with another key": key.other_in_use,
        "used up": key.single_use and not _again(asked, key, now, grace),
    }
    return next((reason for reason, holds in faults.items() if holds), "")


def in_use(asked: Asked, key: KeyFacts, now: datetime, lease: timedelta) -> bool:
    """Whether another source holds it. The same source may ask twice, as RTSP does."""
    if key.lease_seen_at is None or key.lease_seen_at <= now - lease:
        return False
    if key.source_id and asked.source_id:
        return key.source_id != asked.source_id
    # One of them has no name: the address is all there is to know the client by.
    return key.source_address != asked.address


def _again(asked: Asked, key: KeyFacts, now: datetime, grace: timedelta) -> bool:
    if key.last_used_at is None:
        return True
    return key.last_address == asked.address and key.last_used_at > now - grace


def may_read(asked: Asked, token: Secret) -> Decision:
    """Who may watch: this machine, and whoever has the read token. Without one, nobody else."""
    if is_loopback(asked.address):
        return Decision(Verdict.ACCEPT)
    if not asked.credential:
        return Decision(Verdict.ASK, "no credentials")
    given, wanted = asked.credential.reveal().encode(), token.reveal().encode()
    fits = bool(wanted) and hmac.compare_digest(given, wanted)
    return _refuse("" if fits else "not the read token")


def may_operate(asked: Asked) -> Decision:
    """Its API and figures are this machine's, should it ask for them after all."""
    return _refuse("" if is_loopback(asked.address) else "not this machine")


def _refuse(reason: str) -> Decision:
    return Decision(Verdict.REFUSE, reason) if reason else Decision(Verdict.ACCEPT)


def is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
