"""A real RTSP server (GStreamer's) that stalls as MediaMTX does; run by Debian's python3.

rtsp_server.py RTSP_PORT FEED_PORT VIDEO AUDIO

A publisher connects to FEED_PORT and sends MPEG-TS. While it is connected, the stream is read
at rtsp://127.0.0.1:RTSP_PORT/live/ada; before and after there is none (404). As in MediaMTX
(internal/core/path.go, readTimeout), readers stay while the publisher pauses; after 10 s
without data the publisher is disconnected together with its readers. Each change is a line on
stdout: `began N`, `ended N` (the publisher closed the connection) or `silent N` (it was
disconnected).

VIDEO: h264, h265 or odd; AUDIO: aac, opus or none.
"""

from __future__ import annotations

import socket
import sys
import time

import gi  # type: ignore[import-not-found]  # Debian's package, of the system's Python

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # type: ignore[import-not-found]  # noqa: E402 - as gi has it
    GLib,
    Gst,
    GstRtsp,
    GstRtspServer,
)

READ_TIMEOUT = 10.0
PATH = "/live/ada"
#: H.264 parameter sets precede each keyframe, as MediaMTX sends them.
PAY = {
    "h264": "h264parse config-interval=-1 ! rtph264pay config-interval=-1 name=pay0 pt=96",
    # A payload that only GStreamer knows: represents a codec unknown to FFmpeg.
    "odd": "h264parse ! rtpgstpay name=pay0 pt=96",
    "h265": "h265parse config-interval=-1 ! rtph265pay config-interval=-1 name=pay0 pt=96",
    "aac": "aacparse ! rtpmp4gpay name=pay1 pt=97",
    "opus": "opusparse ! rtpopuspay name=pay1 pt=97",
}


def report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def launch(video: str, audio: str) -> str:
    sound = f"d. ! queue ! {PAY[audio]}" if audio != "none" else ""
    caps = "video/mpegts,systemstream=(boolean)true,packetsize=188"
    source = f'appsrc name=feed is-live=true do-timestamp=true format=time caps="{caps}"'
    return f"( {source} ! tsdemux latency=0 name=d d. ! queue ! {PAY[video]} {sound} )"


class Server:
    """One path, one publisher at a time."""

    def __init__(self, rtsp: int, feed: int, video: str, audio: str) -> None:
        self.number = 0
        self.publisher: socket.socket | None = None
        #: Source of the media's bytes; None while nobody has read it yet.
        self.source: Gst.Element | None = None
        self.last_data_at = 0.0
        self.outer = socket.create_server(("127.0.0.1", feed))
        self.outer.setblocking(False)  # noqa: FBT003 - as GStreamer has it
        self.factory = GstRtspServer.RTSPMediaFactory()
        self.factory.set_launch(launch(video, audio))
        self.factory.set_shared(True)
        self.factory.set_latency(0)
        self.factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP)
        self.factory.connect("media-configure", self.configure)
        self.server = GstRtspServer.RTSPServer()
        self.server.set_address("127.0.0.1")
        self.server.set_service(str(rtsp))
        self.server.attach(None)
        GLib.io_add_watch(self.outer.fileno(), GLib.IO_IN, self.accept)
        GLib.timeout_add(100, self.watch)

    def configure(self, _factory: object, media: GstRtspServer.RTSPMedia) -> None:
        self.source = media.get_element().get_by_name("feed")

    def accept(self, *_: object) -> bool:
        connection, _address = self.outer.accept()
        if self.publisher is not None:
            connection.close()
            return True
        self.publisher, self.last_data_at = connection, time.monotonic()
        self.number += 1
        self.server.get_mount_points().add_factory(PATH, self.factory)
        GLib.io_add_watch(
            connection.fileno(), GLib.IO_IN | GLib.IO_HUP | GLib.IO_ERR, self.receive
        )
        report(f"began {self.number}")
        return True

    def receive(self, fd: int, *_: object) -> bool:
        if self.publisher is None or self.publisher.fileno() != fd:
            return False
        try:
            data = self.publisher.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.end("ended")
            return False
        self.last_data_at = time.monotonic()
        if self.source is not None:
            self.source.emit("push-buffer", Gst.Buffer.new_wrapped(data))
        return True

    def watch(self) -> bool:
        if self.publisher is not None and time.monotonic() - self.last_data_at > READ_TIMEOUT:
            self.end("silent")
        return True

    def end(self, how: str) -> None:
        """Disconnect the readers at once."""
        assert self.publisher is not None
        self.publisher.close()
        self.publisher = self.source = None
        self.server.get_mount_points().remove_factory(PATH)
        self.server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)
        report(f"{how} {self.number}")


def main() -> None:
    Gst.init(None)
    rtsp, feed, video, audio = sys.argv[1:]
    # Kept: without a reference it would be garbage-collected.
    server = Server(int(rtsp), int(feed), video, audio)
    report("listens")
    GLib.MainLoop().run()
    del server


if __name__ == "__main__":
    main()
