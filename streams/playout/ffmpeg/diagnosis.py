"""Translates FFmpeg's last lines into causes for operators. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from streamsite.security import tls

#: Output of FFmpeg 5 to 9, and the cause shown to the operator; the first match counts.
_PUSHER: Final = (
    (
        "Connection refused",
        "No server accepts connections at that address: check server and port.",
    ),
    ("Connection timed out", "The server did not answer in time."),
    ("Failed to resolve hostname", "The server's name can't be resolved: check the address."),
    ("Network is unreachable", "This machine has no route to the server's network."),
    ("No route to host", "This machine has no route to the server."),
    ("Already publishing", "Another publisher is already using this key."),
    ("Server error", "The server refused the stream: check the stream key."),
    ("Connection reset by peer", "The server closed the connection."),
    ("Broken pipe", "The server closed the connection."),
    ("End of file", "The server closed the connection."),
    ("Input/output error", "The connection to the server broke."),
    ("Operation not permitted", "The server refused the stream: check the stream key."),
    ("HTTP status 401", "The server refused the stream: check the stream key."),
    ("HTTP status 403", "The server refused the stream: check the stream key."),
    ("HTTP status 3", "The server redirects, which is not followed: check the address."),
    ("HTTP status 404", "The server knows no such upload: check the address."),
    ("HTTP status 410", "The server knows no such upload any more: check the stream key."),
    ("HTTP status 429", "The server refuses so many requests: it wants a pause."),
    ("HTTP status 4", "The server refused the upload: check address and stream key."),
    ("HTTP status 5", "The server reported an internal error."),
    ("No space left", "The run directory, which is in memory, is full."),
)
#: Marks the last line of an upload, which alone says why it ended.
_UPLOAD_ENDED: Final = "upload ended"
_PLAYER: Final = (
    ("No such file", "the file is missing"),
    ("Permission denied", "the file can't be read: check its permissions"),
    ("403 Forbidden", "the storage refused access"),
    ("404 Not Found", "the object is missing in the storage"),
    ("Server returned 5", "the storage reported an internal error"),
    ("Connection refused", "the storage refused the connection"),
    ("Connection timed out", "the storage did not answer in time"),
    ("Failed to resolve hostname", "the storage's name can't be resolved"),
    ("moov atom not found", "the file is incomplete"),
    ("not in whitelist", "this kind of file is not allowed"),
    ("Input/output error", "it could not be read to its end"),
    ("ends prematurely", "it could not be read to its end"),
    ("Invalid data found", "the file is damaged or not a video"),
    ("matches no streams", "it has no video or no audio"),
    ("Unknown encoder", "this FFmpeg lacks the H.264 encoder"),
)
#: Output that points to a damaged file, not to the storage or this machine.
_DAMAGED: Final = ("moov atom not found", "Invalid data found", "matches no streams")
#: Output after a failed read, which FFmpeg may treat as the end of the file and exit with 0.
_BROKEN_OFF: Final = (
    "Input/output error",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "ends prematurely",
)
#: Causes for which the other side ended an established connection.
_HUNG_UP: Final = (
    "The server closed the connection.",
    "The connection to the server broke.",
)
#: For a destination that ended each of the last sessions within seconds.
SESSION_ENDS_AT_ONCE: Final = (
    "The address answers, but ends each session: check the stream key."
)
#: Exit statuses of a program that could not be run, for example while it is being replaced
#: (POSIX; ld.so exits with 127 if a library is missing).
NOT_RUN: Final = frozenset({126, 127})
#: Output that FFmpeg prints at every start, for streams in good order.
_HARMLESS: Final = (
    "non-existing SPS 0 referenced in buffering period",
    # libgcrypt, where it may lock no memory (RLIMIT_MEMLOCK). FFmpeg loads it for protocols
    # that we do not use.
    "Warning: using insecure memory!",
)
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"]+", re.IGNORECASE)
_LINE: Final = re.compile(
    r"^(?:\[[^\]]* @ 0x[0-9a-f]+\] )*\[(?P<level>panic|fatal|error|warning|info)\] "
)


def pusher(code: int | None, lines: Sequence[str]) -> str:
    """Return why a pusher ended."""
    lines = [line for line in lines if _UPLOAD_ENDED in line][-1:] or lines
    if why := _certificate(lines):
        return (
            f"{why[0].upper()}{why[1:]}. Nothing was sent. If it is the right server, add "
            "its authority to this machine's certificates, or switch off “Verify the "
            "certificate” in the output."
        )
    return _first(_PUSHER, lines) or f"The connection ended: {_how(code)}."


def hung_up(cause: str) -> bool:
    """Whether the cause of a pusher's end is that the other side closed the connection."""
    return cause in _HUNG_UP


def player(title: str, code: int | None, lines: Sequence[str], *, begun: bool) -> str:
    """Return why an item was not played, or not to its end."""
    reason = _certificate(lines) or _first(_PLAYER, lines) or f"the player {_how(code)}"
    return f"{title} was {'cut short' if begun else 'skipped'}: {reason}."


def damaged(lines: Sequence[str]) -> bool:
    """Whether an item was not played because its file is damaged."""
    return any(mark in line for line in lines for mark in _DAMAGED)


def broke_off(lines: Sequence[str]) -> bool:
    """Whether an item may have ended early because reading failed."""
    return any(mark in line for line in lines for mark in _BROKEN_OFF)


def hub(code: int | None) -> str:
    return f"The hub {_how(code)} and was restarted."


#: Output of FFmpeg 5 to 8 for video that it can't decode.
_NO_DECODER: Final = re.compile(
    r"(?:Video|Unknown): none\b|Decoder \(codec (?P<a>\w+)\) not found"
    r"|no decoder found for: (?P<b>\w+)|[Vv]ideo codec \((?P<c>\w+)\)"
)


def without_audio(lines: Sequence[str]) -> bool:
    """Whether a feed was not read because it has no audio, or none that can be decoded."""
    # FFmpeg 7 does not print the map.
    missing = any("matches no streams" in line and "0:v" not in line for line in lines)
    return missing or any("Audio: none" in line for line in lines)


def unreadable(lines: Sequence[str]) -> str:
    """Why a feed can never be shown (this FFmpeg lacks the codec); empty if it may be shown."""
    match = next(filter(None, map(_NO_DECODER.search, lines)), None)
    if match is None:
        return ""
    codec = next(filter(None, match.groups()), "")
    return (
        f"This server's FFmpeg can't read its video codec{f' ({codec})' if codec else ''}: "
        "send H.264 or H.265."
    )


def harmless(line: str) -> bool:
    """Whether the line would only alarm the reader of the log."""
    return any(mark in line for mark in _HARMLESS)


def log_line(line: str) -> tuple[str, str]:
    """Return level and text of a line for the log, without the queries of URLs.

    The query of a signed URL is a credential. Instead of searching for it, every URL in the
    output is rebuilt from its harmless parts.
    """
    match = _LINE.match(line)
    text = _URL.sub(_without_query, line)
    return (match["level"] if match else "info"), text


def _without_query(match: re.Match[str]) -> str:
    try:
        parts = urlsplit(match[0])
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "(address)"
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


#: Address of a TLS connection, as FFmpeg prefixes the messages of its TLS library.
_TLS_ADDRESS: Final = re.compile(r"\b(?:tls|https|rtmps)://([^\s'\"/?]+)", re.IGNORECASE)


def _certificate(lines: Sequence[str]) -> str:
    """Why a server's certificate was refused, as the rest of a sentence; empty if not."""
    text = "\n".join(lines[-20:])
    refusal = next((mark for mark in tls.REFUSALS if mark in text), "")
    if not refusal:
        return ""
    address = _TLS_ADDRESS.search(text)
    server = address[1].rpartition("@")[2] if address else "the server"
    if refusal == tls.WRONG_NAME:
        return f"the certificate of {server} can't be verified: it is for another name"
    return (
        f"the certificate of {server} can't be verified: it has expired, or no authority that "
        "this machine trusts has signed it"
    )


def _first(meanings: Sequence[tuple[str, str]], lines: Sequence[str]) -> str:
    text = "\n".join(lines[-20:])
    return next((meaning for mark, meaning in meanings if mark in text), "")


def _how(code: int | None) -> str:
    if code is None:
        return "ended for an unknown reason"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        return f"was killed ({name})"
    return "ended by itself" if code == 0 else f"failed (FFmpeg status {code})"
