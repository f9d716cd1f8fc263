"""Streaming platforms and their addresses. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, urlsplit

from streams.outputs import srt
from streamsite.security.secret import Secret, Unreadable, has_control_characters

#: Hours. FLV counts milliseconds in 31 bits, which FFmpeg does not wrap: 24.8 days.
MAX_SESSION_HOURS: Final = 24 * 24


class Platform(StrEnum):
    YOUTUBE = "youtube"
    YOUTUBE_BACKUP = "youtube_backup"
    YOUTUBE_HLS = "youtube_hls"
    YOUTUBE_HLS_BACKUP = "youtube_hls_backup"
    TWITCH = "twitch"
    RTMP = "rtmp"
    SRT = "srt"


@dataclass(frozen=True, slots=True)
class Preset:
    label: str
    #: The address without the key; empty if only the operator knows it.
    url: str
    needs_key: bool
    #: Hours after which a session is rolled over, at an item's end; 0: never ...
    session: int = MAX_SESSION_HOURS
    #: ... or after this many if no item ends; 0: no limit. While another output is off air the
    #: rollover waits for it, at most ten minutes more (`Policy.late`).
    session_limit: float = MAX_SESSION_HOURS + 12


# YouTube archives a stream of up to 12 h, Twitch ends one after 48 h (their help pages, 2026).
# Addresses: YouTube Live "Stream setup help" and Twitch's ingest list (2026). Plain RTMP for
# YouTube is possible by typing the address; the default is the encrypted one.
PLATFORMS: Final[dict[Platform, Preset]] = {
    Platform.YOUTUBE: Preset(
        "YouTube",
        "rtmps://a.rtmps.youtube.com:443/live2",
        needs_key=True,
        session=11,
        session_limit=11.75,
    ),
    Platform.YOUTUBE_BACKUP: Preset(
        "YouTube backup",
        "rtmps://b.rtmps.youtube.com:443/live2?backup=1",
        needs_key=True,
        session=11,
        session_limit=11.75,
    ),
    # Each segment is a request of its own, so there is no session to renew.
    Platform.YOUTUBE_HLS: Preset(
        "YouTube by HLS",
        "https://a.upload.youtube.com/http_upload_hls?copy=0",
        needs_key=True,
        session=0,
        session_limit=0,
    ),
    Platform.YOUTUBE_HLS_BACKUP: Preset(
        "YouTube by HLS, backup",
        "https://b.upload.youtube.com/http_upload_hls?copy=1",
        needs_key=True,
        session=0,
        session_limit=0,
    ),
    Platform.TWITCH: Preset(
        "Twitch",
        "rtmps://live.twitch.tv:443/app",
        needs_key=True,
        session=46,
        session_limit=47.5,
    ),
    Platform.RTMP: Preset("RTMP server", "", needs_key=False),
    # MPEG-TS, which SRT carries, never needs a new session: its clock wraps by design (ISO
    # 13818-1).
    Platform.SRT: Preset("SRT receiver", "", needs_key=False, session=0, session_limit=0),
}


def session(platform: Platform, hours: int | None) -> tuple[timedelta, timedelta]:
    """Return after how long a session is rolled over: at an item's end, and at the latest.

    `hours`: the operator's value; None: the platform's. 0: never.
    """
    preset = PLATFORMS[platform]
    after = preset.session if hours is None else hours
    return timedelta(hours=after), timedelta(hours=preset.session_limit)


def session_fault(platform: Platform, hours: int | None) -> str:
    """Return what is wrong with the operator's hours, as a sentence; empty if valid."""
    preset = PLATFORMS[platform]
    if hours is None or not preset.session_limit or hours <= preset.session_limit:
        return ""
    return (
        f"{preset.label} takes no session of {hours} hours: have a new one every "
        f"{int(preset.session_limit)} hours or more often, or leave it empty."
    )


def secret_fault(key: Secret) -> str:
    """Return what is wrong with a stream key, as a sentence; empty if valid."""
    if isinstance(key, Unreadable):
        return (
            "The stored stream key can't be decrypted: type it again, or put the old key back "
            "into FIELD_KEYS."
        )
    if has_control_characters(key.reveal()):
        return "The stream key holds a line break or a control character: type it again."
    if len(key.reveal().encode()) > MAX_SECRET_BYTES:
        return f"The stream key is longer than {MAX_SECRET_BYTES} characters."
    return ""


SCHEMES: Final = ("rtmp", "rtmps", "srt")
#: Platforms that take segments by https, and nothing else.
UPLOADS: Final = frozenset({Platform.YOUTUBE_HLS, Platform.YOUTUBE_HLS_BACKUP})
#: The one parameter of an upload's address: which of the two copies it is.
_COPY: Final = re.compile(r"copy=[01]")
#: Parameters of an RTMP address that are not secret: YouTube's backup server has one.
RTMP_SETTINGS: Final = frozenset({"backup"})
#: Parameters of a viewers' page that name a video, and let nobody in.
WATCH_PARAMETERS: Final = frozenset({"v", "channel", "list", "t", "id"})
#: The name of an application, such as live, live2 or app, rather than a key.
_APPLICATION: Final = re.compile(r"[a-z]{1,12}\d?")
#: A host name, or an IPv4 or IPv6 address.
_HOST: Final = re.compile(r"[\w.:%-]+")
#: Characters in an address's path that separate parameters, or are typos of such.
_PARAMETERS: Final = frozenset("=&\\")
#: Maximum bytes that FFmpeg accepts of a line of secrets (fftools: a line of 1000 bytes).
MAX_SECRET_BYTES: Final = 900
#: Minimum and maximum length of an SRT passphrase (SRTO_PASSPHRASE).
_PASSPHRASE: Final = (10, 79)


def query_fault(address: str, query: Secret, key: Secret | None = None) -> str:
    """Return what is wrong with the secret parameters, as a sentence; empty if valid.

    `key`: the stream key beside them, which may be sent in the same line.
    """
    if isinstance(query, Unreadable):
        return (
            "The stored secret parameters can't be decrypted: type them again, or put the old "
            "key back into FIELD_KEYS."
        )
    text = query.reveal()
    if not text:
        return ""
    if _scheme(address) == "https":
        return "An upload takes no secret parameters: put the stream key into its own field."
    if has_control_characters(text):
        return "The secret parameters hold a line break or a control character."
    beside = "" if key is None or isinstance(key, Unreadable) else key.reveal()
    if len(f"{address}{beside}{text}".encode()) > MAX_SECRET_BYTES:
        return (
            "Address, stream key and secret parameters are longer than "
            f"{MAX_SECRET_BYTES} characters."
        )
    if _scheme(address) != "srt":
        return (
            "The secret parameters hold a space: write it as %20."
            if any(char.isspace() for char in text)
            else ""
        )
    minimum, maximum = _PASSPHRASE
    passphrase = srt.parameters(text).get("passphrase")
    if passphrase is not None and not minimum <= len(passphrase.encode()) <= maximum:
        return f"A passphrase of SRT has {minimum} to {maximum} characters."
    return ""


def _scheme(address: str) -> str:
    return address.partition(":")[0].lower()


def address_fault(address: str, *, keyed: bool = True, uploads: bool = False) -> str:
    """Return what is wrong with an output's address, as a sentence; empty if valid.

    `keyed`: a stream key or secret parameters are stored beside it. `uploads`: the platform
    takes segments by https.
    """
    if not address:
        return "This platform has no address of its own: type one, such as rtmp://host/app."
    if has_control_characters(address) or " " in address:
        # urlsplit() silently removes some of them.
        return "The address holds a space, a line break or a control character."
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname)
        _ = parts.port
    except ValueError as error:
        return f"The address can't be read: {error}."
    schemes = ("https",) if uploads else SCHEMES
    if parts.scheme not in schemes:
        return f"The address must begin with {', '.join(s + '://' for s in schemes)}."
    if not has_host:
        return "The address has no host."
    if "@" in parts.netloc:
        return (
            "The address must not hold a name or password, because it is shown: put the secret "
            "into the stream key or the secret parameters."
        )
    if "#" in address:
        return "The address must end before the #."
    return _rest_fault(parts, keyed=keyed)


def _rest_fault(parts: SplitResult, *, keyed: bool) -> str:
    if parts.scheme == "https":
        return _upload_fault(parts)
    return _query_in_address(parts) or (
        "" if parts.scheme == "srt" else _rtmp_path_fault(parts, keyed=keyed)
    )


def _upload_fault(parts: SplitResult) -> str:
    if parts.query and not _COPY.fullmatch(parts.query):
        return (
            "The address of an upload ends with ?copy=0, or ?copy=1 for the backup. What "
            "follows cid= is the stream key: put it there, where it is kept secret."
        )
    return ""


def _query_in_address(parts: SplitResult) -> str:
    allowed = srt.SETTINGS if parts.scheme == "srt" else RTMP_SETTINGS
    for pair in filter(None, parts.query.split("&")):
        name, _, value = pair.partition("=")
        if name in {"streamid", "srt_streamid"} and parts.scheme == "srt":
            return (
                "The address must not hold the stream id, because it is shown: put it into the "
                "stream key, where it is kept secret."
            )
        if name not in allowed or not srt.SETTING.fullmatch(value):
            return (
                "The address must not hold secrets, because it is shown: put everything after "
                "the “?”, such as token=… or passphrase=…, into the secret parameters."
            )
    return ""


def typed_address_fault(address: str) -> str:
    """Return whether an otherwise valid address that is being typed may hold a misplaced key.

    Returns a sentence; empty if not.
    """
    parts = urlsplit(address)
    if parts.scheme == "srt" and parts.path.strip("/"):
        return "An SRT address is srt://host:port: put the rest into the stream key."
    if not _HOST.fullmatch(parts.hostname or ""):
        return (
            "The host of the address contains characters that are not allowed in a host name."
        )
    if set(parts.path) & _PARAMETERS:
        return (
            "The address must not hold secrets, because it is shown: put parameters such as "
            "token=… into the secret parameters."
        )
    return ""


def typed_query_fault(address: str, query: Secret) -> str:
    """Return which of the typed secret parameters FFmpeg would ignore, as a sentence."""
    if _scheme(address) != "srt" or not query or isinstance(query, Unreadable):
        return ""
    given = srt.parameters(query.reveal())
    unsupported = [name for name, value in given.items() if not srt.is_supported(name, value)]
    if given and not unsupported:
        return ""
    if setting := next((name for name in unsupported if name in srt.SETTINGS), ""):
        return f"{setting} must be a whole number or a word."
    # The name itself may be a secret that was typed without a name.
    named = [name for name in unsupported if name.isalpha() and given[name].strip("=")]
    allowed = f"no parameter {named[0]}" if named else "only parameters such as passphrase=…"
    return f"SRT knows {allowed}: write the passphrase as passphrase=…."


def watch_url_fault(url: str) -> str:
    """Return what is wrong with the address at which viewers watch, as a sentence."""
    if not url:
        return ""
    if len(url) != len("".join(url.split())) or not url.isprintable():
        return "The address holds a space, a line break or a control character."
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"The address can't be read: {error}."
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(parts.hostname or ""):
        return "The address must begin with https:// or http://, and name a host."
    if "@" in parts.netloc:
        return "The address must not hold a name or password, because it is shown."
    names = {pair.partition("=")[0].lower() for pair in parts.query.split("&") if pair}
    if named := sorted(names - WATCH_PARAMETERS):
        return f"The address must not hold secrets, because it is shown: leave out {named[0]}=…"
    return ""


def _rtmp_path_fault(parts: SplitResult, *, keyed: bool) -> str:
    segments = [part for part in parts.path.split("/") if part]
    if len(segments) > 1:
        return (
            "An RTMP address is rtmp://host/app, with one word after the host. "
            "The rest is the stream key and belongs in its own field, where it is kept secret."
        )
    if segments and not keyed and not _APPLICATION.fullmatch(segments[0]):
        return (
            "Without a stream key, the word after the host counts as one, and it is "
            "shown: put it into the stream key, and leave rtmp://host as the address."
        )
    if not segments and not keyed:
        return "An RTMP address is rtmp://host/app, with one word after the host."
    return ""
