"""Parses callbacks of MediaMTX and nginx-rtmp, and decides on access. Pure functions.

MediaMTX sends an HTTP authentication request (JSON) before it accepts a client, and reports
sources through its hooks. nginx-rtmp requests access by `on_publish` and reports the end by
`on_publish_done`, both as forms. Both are parsed into the same types. Sources: the servers'
documentation, and the source code of nginx-rtmp 1.2.2.
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

#: The paths of broadcasters, the same as in deploy/mediamtx/mediamtx.yml.
_PATH: Final = re.compile(r"live/([A-Za-z0-9_-]{1,64})")
#: Excludes `:`, at which MediaMTX splits a bearer token, and characters to escape in a URL.
KEY: Final = re.compile(r"[A-Za-z0-9_-]{22,128}")
#: Fields of one form: nginx-rtmp sends ten, followed by the client's own arguments.
_MAX_FIELDS: Final = 64
#: Digits of a number that fits into the database column.
_MAX_DIGITS: Final = 19
#: Characters stored of a text that the caller sent.
_MAX_TEXT: Final = 64


class UnreadableError(Exception):
    """A callback that can't be parsed. `str()` of it quotes nothing from the callback."""


class Action(StrEnum):
    PUBLISH = "publish"
    READ = "read"
    #: Playback of MediaMTX's recordings.
    PLAYBACK = "playback"
    #: MediaMTX's API, metrics and profiler: deploy/mediamtx/mediamtx.yml excludes them.
    API = "api"
    METRICS = "metrics"
    PPROF = "pprof"


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A client's request to publish or read, to be accepted or refused."""

    action: Action
    #: The broadcaster's slug; empty: the path does not belong to a broadcaster.
    slug: str
    protocol: str
    #: The server's id of the connection; empty: it has none yet.
    source_id: str
    address: str
    #: Token, password or `?token=`; empty: no credential was sent.
    credential: Secret


@dataclass(frozen=True, slots=True)
class SourceEvent:
    """A source has started or ended at a path."""

    path: str
    slug: str
    source_type: str
    source_id: str
    address: str = ""
    #: The sequence number of the call; None: the server does not number its calls.
    call: int | None = None


def slug_of(path: str) -> str:
    """Returns the broadcaster's slug in a path; empty: not a broadcaster's path."""
    match = _PATH.fullmatch(path)
    return match[1] if match else ""


# ---- MediaMTX --------------------------------------------------------------------------------
def parse_mediamtx_auth(body: bytes) -> AccessRequest:
    """Parse MediaMTX's authentication request. Raises `UnreadableError`."""
    fields = _object(body)
    try:
        action = Action(_text(fields, "action"))
    except ValueError:
        raise UnreadableError("The action is unknown.") from None
    query = _first_values(_text(fields, "query"))
    credential = _text(fields, "token") or _text(fields, "password") or query.get("token", "")
    return AccessRequest(
        action=action,
        slug=slug_of(_text(fields, "path")),
        protocol=_text(fields, "protocol")[:16],
        source_id=_text(fields, "id")[:_MAX_TEXT],
        address=_text(fields, "ip")[:_MAX_TEXT],
        credential=Secret(credential),
    )


def parse_mediamtx_hook(body: bytes, content_type: str) -> SourceEvent:
    """Parse a call of MediaMTX's hooks, a form or JSON. Raises `UnreadableError`."""
    fields = (
        _object(body)
        if content_type.partition(";")[0].strip().lower() == "application/json"
        else _first_values(_decoded(body))
    )
    path, source_id = _text(fields, "path"), _text(fields, "source_id")[:_MAX_TEXT]
    if not slug_of(path) or not source_id:
        raise UnreadableError("The fields path (live/NAME) and source_id are required.")
    return SourceEvent(path, slug_of(path), _text(fields, "source_type")[:24], source_id)


# ---- nginx-rtmp ------------------------------------------------------------------------------
def parse_nginx_publish(body: bytes) -> AccessRequest:
    """Parse nginx-rtmp's `on_publish`. Raises `UnreadableError`."""
    fields = _first_values(_decoded(body))
    event = _nginx_source(fields)
    return AccessRequest(
        action=Action.PUBLISH,
        slug=event.slug,
        protocol="rtmp",
        source_id=event.source_id,
        address=event.address,
        credential=Secret(fields.get("token", "")),
    )


def parse_nginx_event(body: bytes, call: str = "") -> SourceEvent:
    """Parse nginx-rtmp's `on_publish_done` or `on_disconnect`. Raises `UnreadableError`."""
    event = _nginx_source(_first_values(_decoded(body)))
    numbered = call.isascii() and call.isdecimal() and len(call) < _MAX_DIGITS
    return replace(event, call=int(call) if numbered else None)


def _nginx_source(fields: Mapping[str, str]) -> SourceEvent:
    path, client = (
        f"{fields.get('app', '')}/{fields.get('name', '')}",
        fields.get("clientid", ""),
    )
    if not client.isascii() or not client.isdecimal() or len(client) > _MAX_TEXT:
        raise UnreadableError("The field clientid, a number, is required.")
    return SourceEvent(path, slug_of(path), "rtmp", client, fields.get("addr", "")[:_MAX_TEXT])


# ---- reading ---------------------------------------------------------------------------------
def _object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        raise UnreadableError("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise UnreadableError("The body is not a JSON object.")
    return fields


def _text(fields: Mapping[str, Any], name: str) -> str:
    """Returns a text field; empty if it is missing, null, not a text or not printable."""
    value = fields.get(name)
    return value if isinstance(value, str) and value.isprintable() else ""


def _decoded(body: bytes) -> str:
    # Invalid UTF-8 can only come from the client's own arguments.
    return body.decode(errors="replace")


def _first_values(form: str) -> dict[str, str]:
    """Returns the first value of each field: nginx-rtmp appends the client's arguments."""
    try:
        pairs = parse_qsl(form, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise UnreadableError("The form has too many fields.") from None
    first: dict[str, str] = {}
    for name, value in pairs:
        first.setdefault(name, value if value.isprintable() else "")
    return first


# ---- deciding --------------------------------------------------------------------------------
class Verdict(StrEnum):
    ACCEPT = "accept"
    #: The client must repeat the request with credentials: RTSP, HLS and WHEP omit them first.
    CHALLENGE = "ask"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    verdict: Verdict
    #: For the log only: the client never learns why it was refused.
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """The stored facts of a key at the time of a request."""

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
    #: Another source holds another key of the same broadcaster.
    other_in_use: bool = False


def readable(credential: Secret) -> bool:
    """Returns whether it has the form of a key, so that a database lookup is worthwhile."""
    return KEY.fullmatch(credential.reveal()) is not None


def may_publish(
    request: AccessRequest,
    key: KeyFacts | None,
    now: datetime,
    *,
    lease: timedelta,
    grace: timedelta,
) -> Decision:
    """Decide whether a client may publish with the key it sent."""
    if not request.credential:
        return Decision(Verdict.CHALLENGE, "no credentials")
    return _refuse(_fault(request, key, now, lease=lease, grace=grace))


def _fault(
    request: AccessRequest,
    key: KeyFacts | None,
    now: datetime,
    *,
    lease: timedelta,
    grace: timedelta,
) -> str:
    if key is None:
        return "unknown key"
    faults = {
        "another's path": request.slug != key.slug,
        "broadcaster disabled": not key.enabled,
        "revoked": key.revoked,
        "expired": key.expires_at is not None and key.expires_at <= now,
        "in use": in_use(request, key, now, lease),
        "the broadcaster is live with another key": key.other_in_use,
        "used up": key.single_use and not _may_reconnect(request, key, now, grace),
    }
    return next((reason for reason, holds in faults.items() if holds), "")


def in_use(request: AccessRequest, key: KeyFacts, now: datetime, lease: timedelta) -> bool:
    """Returns whether another source holds the key. RTSP sends its request twice."""
    if key.lease_seen_at is None or key.lease_seen_at <= now - lease:
        return False
    if key.source_id and request.source_id:
        return key.source_id != request.source_id
    # One of them has no id: only the address identifies the client.
    return key.source_address != request.address


def _may_reconnect(
    request: AccessRequest, key: KeyFacts, now: datetime, grace: timedelta
) -> bool:
    if key.last_used_at is None:
        return True
    return key.last_address == request.address and key.last_used_at > now - grace


def may_read(request: AccessRequest, token: Secret) -> Decision:
    """Decide who may watch: this machine, and clients with the read token if one is set."""
    if is_loopback(request.address):
        return Decision(Verdict.ACCEPT)
    if not request.credential:
        return Decision(Verdict.CHALLENGE, "no credentials")
    given, expected = request.credential.reveal().encode(), token.reveal().encode()
    fits = bool(expected) and hmac.compare_digest(given, expected)
    return _refuse("" if fits else "not the read token")


def may_operate(request: AccessRequest) -> Decision:
    """Decide on MediaMTX's API and metrics: only this machine may use them."""
    return _refuse("" if is_loopback(request.address) else "not this machine")


def _refuse(reason: str) -> Decision:
    return Decision(Verdict.REFUSE, reason) if reason else Decision(Verdict.ACCEPT)


def is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback
