"""One HTTPS request to a platform, with a bound for the whole of it.

Certificates are always verified, redirects are not followed, and no error holds a header, a
body or a parameter: tokens are in them.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Timer
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django.conf import settings

from streamsite.security import tls

#: Seconds of a whole request. The platforms answer within one or two.
CALL_TIMEOUT_S: Final = 10.0
#: Bytes of an answer: a page of 50 broadcasts takes 150 kB.
MAX_ANSWER_BYTES: Final = 4_000_000
#: The form of the words by which platforms name an error, such as quotaExceeded.
_REASON: Final = re.compile(r"[A-Za-z_ ]{1,60}")
_OK: Final = range(200, 300)
TOO_MANY: Final = 429
_SERVER_FAULT: Final = 500


class PlatformError(Exception):
    """A request that failed. `str()` is a sentence.

    `status`: HTTP; None: no answer came. `reason`: the platform's word for it; may be empty.
    `transient`: the same request may succeed later.
    """

    def __init__(
        self,
        sentence: str,
        status: int | None = None,
        reason: str = "",
        *,
        transient: bool = False,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason
        self.transient = transient


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of a pass, on the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        return self.at - time.monotonic()


def call(
    method: str,
    url: str,
    deadline: Deadline,
    *,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    body: str | bytes | None = None,
) -> bytes:
    """Return the body of a good answer. Raises `PlatformError`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        raise PlatformError(f"{host} is not asked without encryption.")
    patience = min(CALL_TIMEOUT_S, deadline.left())
    if patience <= 0:
        raise PlatformError(f"There was no time left to ask {host}.")
    sent = dict(headers or {})
    if form is not None:
        body = urlencode(form)
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    status, answer = _exchange(method, host, path, body, sent, patience)
    if status in _OK:
        return answer
    reason = _reason(answer)
    raise PlatformError(
        f"{host} answered {status}{f' ({reason})' if reason else ''}.",
        status,
        reason,
        transient=status == TOO_MANY or status >= _SERVER_FAULT,
    )


def _exchange(
    method: str,
    host: str,
    path: str,
    body: str | bytes | None,
    headers: dict[str, str],
    patience: float,
) -> tuple[int, bytes]:
    connection, path = _connection(host, path, patience)
    cut = _Cut(connection)
    late = Timer(patience, cut)
    late.daemon = True
    late.start()
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES + 1)
    except ssl.SSLError as error:
        raise PlatformError(
            f"{host} can't be trusted: {error.reason or 'TLS failed'}."
        ) from None
    except (OSError, HTTPException, ValueError) as error:
        if cut.done or isinstance(error, TimeoutError):
            raise _late(host, patience) from None
        # Its words may hold the address.
        sentence = f"{host} can't be reached ({type(error).__name__})."
        raise PlatformError(sentence, transient=True) from None
    finally:
        late.cancel()
        connection.close()
    if cut.done:
        raise _late(host, patience)
    if len(answer) > MAX_ANSWER_BYTES:
        raise PlatformError(f"{host} answered with more than {MAX_ANSWER_BYTES} bytes.")
    return response.status, answer


def _late(host: str, patience: float) -> PlatformError:
    return PlatformError(f"{host} did not answer within {patience:.0f} s.", transient=True)


def _connection(host: str, path: str, patience: float) -> tuple[HTTPConnection, str]:
    # Set by tests alone: a stand-in on this machine, which answers for all hosts.
    if stand_in := getattr(settings, "PLATFORM_STAND_IN", ""):
        return HTTPConnection(stand_in, timeout=patience), f"/{host}{path}"
    context = ssl.create_default_context(cafile=tls.certificates() or None)
    return HTTPSConnection(host, timeout=patience, context=context), path


class _Cut:
    """Ends the connection when its time is up, however little of the answer has come."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self.done = False

    def __call__(self) -> None:
        self.done = True
        if self._connection.sock is not None:
            try:
                self._connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It has ended meanwhile.
                return


def _reason(answer: bytes) -> str:
    """Return the platform's word for the error, if it is one; never other text of its."""
    try:
        error = json.loads(answer)
        if isinstance(error, dict) and isinstance(error.get("error"), dict):
            # Google's APIs.
            error = error["error"].get("errors", [{}])[0].get("reason")
        elif isinstance(error, dict):
            # OAuth (RFC 6749, section 5.2) has `error`; Twitch has `message`.
            word = error.get("message") if "status" in error else error.get("error")
            error = word or error.get("error")
    except (ValueError, LookupError, AttributeError):
        return ""
    return error if isinstance(error, str) and _REASON.fullmatch(error) else ""


def decoded(answer: bytes, host: str) -> dict[str, Any]:
    """Return the JSON object of an answer. Raises `PlatformError`."""
    try:
        value = json.loads(answer)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise PlatformError(f"{host} answered with something that is no JSON object.")
    return value
