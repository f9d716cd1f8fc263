"""Where broadcasters publish and viewers watch, as addresses to copy. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from streamsite.security.secret import Secret
from streamsite.security.urls import place

#: Where MediaMTX serves HLS and RTSP by itself (bluenviron/mediamtx, mediamtx.yml).
_HLS: Final = 8888
_RTSP: Final = 8554
#: Bytes of one SRT packet: seven packets of MPEG-TS.
_PACKET: Final = 1316


@dataclass(frozen=True, slots=True)
class Ports:
    """MediaMTX's, by protocol; the defaults are its own."""

    srt: int = 8890
    webrtc: int = 8889
    rtsp: int = _RTSP

    @classmethod
    def of(cls, rtsp: str, srt: int, webrtc: int) -> Ports:
        """`rtsp`: the address at which it is read by RTSP."""
        return cls(srt, webrtc, urlsplit(rtsp).port or 554)


@dataclass(frozen=True, slots=True)
class Field:
    """A line of a broadcaster's settings, ready to be copied."""

    program: str
    name: str
    value: str


def publish(kind: str, base: str, path: str, key: Secret, ports: Ports) -> list[Field]:
    """Settings for OBS and others. They hold the key: shown once, kept nowhere."""
    application, _, slug = path.partition("/")
    host = urlsplit(base).hostname or ""
    secret = key.reveal()
    fields = [
        Field("OBS", "Server", f"{base}/{application}"),
        Field("OBS", "Stream key", f"{slug}?token={secret}"),
        Field("RTMP", "Address", f"{base}/{path}?token={secret}"),
    ]
    if kind == "nginx-rtmp":
        return fields
    streamid = f"publish:{path}:u:{secret}"
    return [
        *fields,
        Field(
            "SRT",
            "Address",
            f"srt://{place(host, ports.srt)}?streamid={streamid}&pkt_size={_PACKET}",
        ),
        Field("WHIP", "Server", f"http://{place(host, ports.webrtc)}/{path}/whip"),
        Field("WHIP", "Bearer token", secret),
    ]


def playback(kind: str, ingest: str, base: str, path: str, ports: Ports) -> dict[str, str]:
    """Where the stream of a path is watched, by protocol. No secret is in them."""
    host = urlsplit(ingest).hostname or ""
    found = {"hls": f"{base}/{path}/index.m3u8", "rtmp": f"{ingest}/{path}"}
    if kind == "nginx-rtmp":
        return found
    parts = urlsplit(base)
    # With MediaMTX's own port WHEP is at another; behind a proxy it is at the same address.
    whep = base
    if parts.port == _HLS:
        whep = f"{parts.scheme}://{place(parts.hostname or '', ports.webrtc)}"
    return found | {
        "webrtc": f"{whep}/{path}/whep",
        "rtsp": f"rtsp://{place(host, ports.rtsp)}/{path}",
        "srt": f"srt://{place(host, ports.srt)}?streamid=read:{path}",
    }


def origin(base: str) -> str:
    """Scheme and place of an address, as a policy of the browser names them."""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}"
