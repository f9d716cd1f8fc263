"""Where a channel can go: the platforms' addresses. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit


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


# Addresses: YouTube Live "Stream setup help" and Twitch's ingest list (2026). Plain RTMP for
# YouTube is possible by typing the address; the default is the encrypted one.
PLATFORMS: Final[dict[Platform, Preset]] = {
    Platform.YOUTUBE: Preset(
        "YouTube", "rtmps://a.rtmps.youtube.com:443/live2", needs_key=True
    ),
    Platform.YOUTUBE_BACKUP: Preset(
        "YouTube backup", "rtmps://b.rtmps.youtube.com:443/live2?backup=1", needs_key=True
    ),
    Platform.TWITCH: Preset("Twitch", "rtmps://live.twitch.tv:443/app", needs_key=True),
    Platform.RTMP: Preset("RTMP server", "", needs_key=False),
    Platform.SRT: Preset("SRT receiver", "", needs_key=False),
}

SCHEMES: Final = ("rtmp", "rtmps", "srt")


def address_fault(address: str) -> str:
    """What is wrong with an output's address, in a sentence; empty when it can be used."""
    if not address:
        return "This platform has no address of its own: type one, such as rtmp://host/app."
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
