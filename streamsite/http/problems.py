"""Errors as programs get them: RFC 9457, `application/problem+json`.

Each has a `type` that stays, a sentence, and the id under which the log tells of the request.
`python -m streamsite.http.problems` prints the kinds as deploy/api.md has them.
"""

from __future__ import annotations

from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from django.http import JsonResponse

MEDIA_TYPE: Final = "application/problem+json"
#: A name, not a place: it outlives any address of the documentation.
PREFIX: Final = "urn:streamsite:problem:"


class Kind(StrEnum):
    """The kinds of problems: `type` is `PREFIX` and this value."""

    MALFORMED = "malformed"
    NO_LENGTH = "no-length"
    NO_KEY = "no-key"
    KEY_UNKNOWN = "key-unknown"
    KEY_EXPIRED = "key-expired"
    KEY_REVOKED = "key-revoked"
    KEY_ADDRESS = "key-address"
    KEY_PERMISSIONS = "key-permissions"
    PERMISSION = "permission"
    CSRF = "csrf"
    NOT_FOUND = "not-found"
    NOT_RUNNING = "not-running"
    METHOD = "method"
    CONFLICT = "conflict"
    ALREADY_ON_AIR = "already-on-air"
    ON_AIR = "on-air"
    NOBODY_LIVE = "nobody-live"
    CHANGED_MEANWHILE = "changed-meanwhile"
    UNCONFIRMED = "unconfirmed"
    IN_USE = "in-use"
    TOO_LARGE = "too-large"
    MEDIA_TYPE = "media-type"
    INVALID = "invalid"
    CANT_START = "cant-start"
    REFUSED = "refused"
    TOO_MANY_REQUESTS = "too-many-requests"
    TOO_MANY_FAILURES = "too-many-failures"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"


#: The HTTP status of each, and when it comes. The first of a status stands for the others where
#: nothing more is known.
KINDS: Final[dict[Kind, tuple[int, str]]] = {
    Kind.MALFORMED: (400, "The request can't be read."),
    Kind.NO_KEY: (401, "No key was sent, and nobody is logged in."),
    Kind.KEY_UNKNOWN: (401, "There is no such key."),
    Kind.KEY_EXPIRED: (401, "The key has expired."),
    Kind.KEY_REVOKED: (401, "The key has been revoked."),
    Kind.PERMISSION: (403, "The user who is logged in lacks the permission."),
    Kind.KEY_PERMISSIONS: (403, "The key's permissions do not allow it."),
    Kind.KEY_ADDRESS: (403, "The key is not taken from that address."),
    Kind.CSRF: (403, "A browser's session was sent without the CSRF token."),
    Kind.NOT_FOUND: (404, "There is nothing by that name."),
    Kind.NOT_RUNNING: (404, "The channel is not on air."),
    Kind.METHOD: (405, "The address exists, but not for that method."),
    Kind.CONFLICT: (409, "It clashes with what is there."),
    Kind.ALREADY_ON_AIR: (409, "The channel is on air already."),
    Kind.ON_AIR: (409, "That can't be changed while the channel is on air."),
    Kind.NOBODY_LIVE: (409, "Nobody who may take the channel over is live."),
    Kind.CHANGED_MEANWHILE: (409, "Somebody else has changed it since it was read."),
    Kind.UNCONFIRMED: (409, "It changes more than it seems: send `confirmed`."),
    Kind.IN_USE: (409, "It is in use, so it can't be deleted."),
    Kind.NO_LENGTH: (411, "A body came without Content-Length: it was not read."),
    Kind.TOO_LARGE: (413, "The body is too large."),
    Kind.MEDIA_TYPE: (415, "The body was not sent as application/json."),
    Kind.REFUSED: (422, "It can't be done; the sentence says why."),
    Kind.INVALID: (422, "A field is wrong: `errors` says which and why."),
    Kind.CANT_START: (422, "The channel lacks something: `findings` says what."),
    Kind.TOO_MANY_REQUESTS: (429, "The minute's requests are used up: see Retry-After."),
    Kind.TOO_MANY_FAILURES: (429, "Too many wrong keys came from there: see Retry-After."),
    Kind.INTERNAL: (500, "It is streamsite's fault: its log has it under `request_id`."),
    Kind.UNAVAILABLE: (503, "Something it needs is away, such as the storage."),
}
_BY_STATUS: Final = {status: kind for kind, (status, _) in reversed(KINDS.items())}


class ProblemError(Exception):
    """Raised by a route, answered as that problem. `str()` of it is its sentence."""

    def __init__(self, kind: Kind, sentence: str, **more: Any) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.more = more


def document(kind: Kind, detail: str, request_id: str, **more: Any) -> dict[str, Any]:
    status = KINDS[kind][0]
    return {
        "type": PREFIX + kind.value,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id,
        **more,
    }


def of_status(status: int, detail: str, request_id: str) -> dict[str, Any]:
    """For an error that only its status is known of."""
    kind = _BY_STATUS.get(status)
    if kind is not None:
        return document(kind, detail or KINDS[kind][1], request_id)
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    # RFC 9457: it says no more than the status does.
    about = {"type": "about:blank", "title": title, "status": status}
    return {**about, "detail": detail or f"{title}.", "request_id": request_id}


def answer(document: dict[str, Any]) -> JsonResponse:
    response = JsonResponse(document, status=document["status"], content_type=MEDIA_TYPE)
    if "retry_after" in document:
        response["Retry-After"] = str(document["retry_after"])
    if document["status"] == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="streamsite"'
    return response


def as_markdown() -> str:
    """The kinds for people, as deploy/api.md has them."""
    lines = [("Status", f"`{PREFIX}` and …", "When"), ("---", "---", "---")]
    lines += [(str(status), f"`{kind}`", when) for kind, (status, when) in KINDS.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(as_markdown())  # noqa: T201 - it is what was asked for
