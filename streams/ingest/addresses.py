"""The publish and playback addresses of broadcasters. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from streamsite.security.secret import Secret
from streamsite.security.urls import place

#: MediaMTX's default ports for HLS and RTSP (bluenviron/mediamtx, mediamtx.yml).
_HLS: Final = 8888
_RTSP: Final = 8554
#: Bytes of one SRT packet: seven MPEG-TS packets.
_PACKET: Final = 1316


@dataclass(frozen=True, slots=True)
class Ports:
    """MediaMTX's ports by protocol; the defaults are MediaMTX's own."""

    srt: int = 8890
    webrtc: int = 8889
    rtsp: int = _RTSP

    @classmethod
    def of(cls, rtsp: str, srt: int, webrtc: int) -> Ports:
        """Returns the ports. `rtsp`: the address at which streams are read by RTSP."""
        return cls(srt, webrtc, urlsplit(rtsp).port or 554)


@dataclass(frozen=True, slots=True)
class Field:
    """A setting of a broadcaster's program, to be copied."""

    program: str
    name: str
    value: str


def publish(kind: str, base: str, path: str, key: Secret, ports: Ports) -> list[Field]:
    """Returns settings for OBS and other programs. They hold the key: never store them."""
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
    """Returns the playback addresses of a path by protocol. They hold no secret."""
    host = urlsplit(ingest).hostname or ""
    urls = {"hls": f"{base}/{path}/index.m3u8", "rtmp": f"{ingest}/{path}"}
    if kind == "nginx-rtmp":
        return urls
    parts = urlsplit(base)
    # With MediaMTX's own HLS port, WHEP has a port of its own; behind a proxy both share one.
    whep = base
    if parts.port == _HLS:
        whep = f"{parts.scheme}://{place(parts.hostname or '', ports.webrtc)}"
    return urls | {
        "webrtc": f"{whep}/{path}/whep",
        "rtsp": f"rtsp://{place(host, ports.rtsp)}/{path}",
        "srt": f"srt://{place(host, ports.srt)}?streamid=read:{path}",
    }


def origin(base: str) -> str:
    """Returns scheme, host and port of an address, as in a Content-Security-Policy."""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}"
