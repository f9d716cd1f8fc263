"""Where a channel can go: the platforms' addresses. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from streamsite.secret import Secret, Unreadable, has_control_characters

#: Hours. FLV counts milliseconds in 31 bits, which FFmpeg does not wrap: 24.8 days.
LONGEST_SESSION: Final = 24 * 24


class Platform(StrEnum):
    YOUTUBE = "youtube"
    YOUTUBE_BACKUP = "youtube_backup"
    TWITCH = "twitch"
    RTMP = "rtmp"
    SRT = "srt"


@dataclass(frozen=True, slots=True)
class Preset:
    label: str
    #: Without the key; empty where only the operator knows it.
    url: str
    needs_key: bool
    #: Hours after which a session is rolled over, at an item's end; 0: never ...
    session: int = LONGEST_SESSION
    #: ... or, where no item ends, after so many; 0: no limit. While another output is not on
    #: air it waits for that, for ten minutes more at the most (`Policy.late`).
    session_limit: float = LONGEST_SESSION + 12


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
    Platform.TWITCH: Preset(
        "Twitch",
        "rtmps://live.twitch.tv:443/app",
        needs_key=True,
        session=46,
        session_limit=47.5,
    ),
    Platform.RTMP: Preset("RTMP server", "", needs_key=False),
    # MPEG-TS, which SRT carries, counts on for ever: it wraps by design (ISO 13818-1).
    Platform.SRT: Preset("SRT receiver", "", needs_key=False, session=0, session_limit=0),
}


def session(platform: Platform, hours: int | None) -> tuple[timedelta, timedelta]:
    """After how long a session is rolled over: at an item's end, and at the latest; 0: never.

    `hours`: what the operator wants; None: what suits the platform.
    """
    preset = PLATFORMS[platform]
    after = preset.session if hours is None else hours
    return timedelta(hours=after), timedelta(hours=preset.session_limit)


def session_fault(platform: Platform, hours: int | None) -> str:
    """What is wrong with the operator's hours, in a sentence; empty when they can be had."""
    preset = PLATFORMS[platform]
    if hours is None or not preset.session_limit or hours <= preset.session_limit:
        return ""
    return (
        f"{preset.label} takes no session of {hours} hours: have a new one every "
        f"{int(preset.session_limit)} hours or oftener, or leave it empty."
    )


def secret_fault(key: Secret) -> str:
    """What is wrong with a stream key, in a sentence; empty when it can be used."""
    if isinstance(key, Unreadable):
        return (
            "The stored stream key can't be decrypted: type it again, or put the old key back "
            "into FIELD_KEYS."
        )
    if has_control_characters(key.reveal()):
        return "The stream key holds a line break or a control character: type it again."
    return ""


SCHEMES: Final = ("rtmp", "rtmps", "srt")


def address_fault(address: str) -> str:
    """What is wrong with an output's address, in a sentence; empty when it can be used."""
    if not address:
        return "This platform has no address of its own: type one, such as rtmp://host/app."
    if has_control_characters(address):
        # urlsplit() leaves some of them out.
        return "The address holds a line break or a control character."
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname)
        _ = parts.port
    except ValueError as error:
        return f"The address can't be read: {error}."
    if parts.scheme not in SCHEMES:
        return f"The address must begin with {', '.join(s + '://' for s in SCHEMES)}."
    if not has_host:
        return "The address has no host."
    if parts.username or parts.password:
        return "The address must not hold a name or password: put the secret in the stream key."
    if parts.scheme != "srt" and len([part for part in parts.path.split("/") if part]) != 1:
        return (
            "An RTMP address is rtmp://host/app: one word after the host. "
            "The rest is the stream key and belongs in its own field, where it is kept secret."
        )
    return ""
