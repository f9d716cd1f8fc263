"""The command lines, compared whole: hidden values appear nowhere in them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from media_library.ffmpeg.runner import CONTAINERS
from media_library.house_format import HouseFormat
from media_library.location import LocalFile, SignedUrl
from streams.playout.contract.live_feed import LiveFeed
from streams.playout.contract.plan import OutputPlan, Policy
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import commands
from streams.playout.ffmpeg.commands import Hidden
from streams.programme.item import Item, Mode
from streamsite import __version__
from streamsite.security import tls
from streamsite.security.secret import MASK, Secret, masked

COMMON = (
    *("ffmpeg", "-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+warning"),
    *("-stats_period", "1", "-progress", "udp://127.0.0.1:4000?pkt_size=1400"),
)
HLS = Path("/run/x/hls")


def shown(command: commands.Command) -> str:
    return " ".join("<hidden>" if isinstance(word, Hidden) else word for word in command)


def test_a_prepared_item_is_copied() -> None:
    item = Turn(Item("A", "a.mp4", Mode.PREPARED, frames=64))
    where = LocalFile(Path("/m/a b.mp4"))
    made = commands.player("ffmpeg", 4000, item, where, HouseFormat(), Fraction(154, 15))
    assert made == (
        *COMMON,
        *("-seek_timestamp", "1"),
        *("-protocol_whitelist", "file", "-format_whitelist", CONTAINERS),
        *("-i", "file:/m/a b.mp4", "-map", "0:v:0", "-map", "0:a:0", "-c", "copy"),
        *("-bsf:a", "noise=amount=0:drop=not(n)", "-output_ts_offset", "10.266667"),
        *("-muxdelay", "0", "-muxpreload", "0", "-pes_payload_size", "0"),
        *("-mpegts_flags", "+initial_discontinuity+resend_headers", "-f", "mpegts", "pipe:1"),
    )


def test_a_signed_address_goes_through_a_pipe_with_its_reconnect_flags() -> None:
    url = "https://h/a'b.mp4?sig=SECRET"
    item = Turn(Item("A", "a.mp4", Mode.COPY))
    made = commands.player(
        "ffmpeg", 4000, item, SignedUrl(Secret(url)), HouseFormat(), Fraction(10)
    )
    assert "SECRET" not in shown(made)
    (hidden,) = [word for word in made if isinstance(word, Hidden)]
    assert hidden.text.reveal().splitlines() == [
        "ffconcat version 1.0",
        "file 'https://h/a%27b.mp4?sig=SECRET'",
        f"option format_whitelist {CONTAINERS}",
        "option reconnect 1",
        "option reconnect_streamed 1",
        "option reconnect_delay_max 5",
        "option rw_timeout 10000000",
        "option tls_verify 1",
        f"option ca_file '{tls.certificates()}'",
    ]


def test_an_item_that_can_not_be_copied_is_encoded_to_the_house_format() -> None:
    item = Turn(Item("A", "a.avi", Mode.TRANSCODE, has_audio=False))
    where = LocalFile(Path("/m/a.avi"))
    line = shown(commands.player("ffmpeg", 4000, item, where, HouseFormat(), Fraction(10)))
    assert "-f lavfi -i anullsrc=r=48000:cl=stereo -shortest -map 0:v:0 -map 1:a:0" in line
    assert "-c:v libx264 -preset veryfast -profile:v high -b:v 3000k" in line
    assert "scale=1280:720:force_original_aspect_ratio=decrease" in line


def test_the_hub() -> None:
    fresh = commands.hub("ffmpeg", 4000, HLS, "7", Policy(), at=Fraction(10), resume=False)
    assert fresh == (
        *COMMON,
        *("-re", "-f", "mpegts", "-i", "pipe:0", "-map", "0:v", "-map", "0:a", "-c", "copy"),
        *(
            "-output_ts_offset",
            "10.000000",
            "-f",
            "hls",
            "-hls_time",
            "2",
            "-hls_list_size",
            "10",
        ),
        *("-hls_flags", "delete_segments+temp_file+omit_endlist"),
        *("-hls_segment_filename", "/run/x/hls/7-%08d.ts", "/run/x/hls/live.m3u8"),
    )
    again = commands.hub("ffmpeg", 4000, HLS, "7", Policy(), at=Fraction(10), resume=True)
    assert "delete_segments+temp_file+omit_endlist+append_list" in again


def test_a_pusher_hides_its_key() -> None:
    output = OutputPlan(1, "YouTube", "rtmp://h/live2", Secret("abcd-KEY"))
    made = commands.pusher("ffmpeg", 4000, HLS, output, Policy())
    assert made == (
        *COMMON,
        *("-re", "-live_start_index", "-2", "-i", "/run/x/hls/live.m3u8"),
        *("-map", "0:v", "-map", "0:a", "-c", "copy", "-bsf:v", "extract_extradata"),
        *("-f", "flv", "-flvflags", "no_duration_filesize"),
        *("-fpre", Hidden(Secret("rtmp_playpath=abcd-KEY\n"))),
        *("-rw_timeout", "15000000", "rtmp://h/live2"),
    )
    assert "KEY" not in shown(made)
    assert "KEY" not in repr(made)


def test_an_upload_hides_its_key() -> None:
    address = "https://a.example/http_upload_hls?copy=0"
    output = OutputPlan(3, "YouTube", address, Secret("abcd-KEY"), edition="e")
    made = commands.pusher("ffmpeg", 4000, HLS, output, Policy())
    assert made[3:] == (
        *("-P", "-m", "streams.playout.outputs.upload"),
        *("--progress", "4000", "--version", __version__, "--window", "/run/x/hls/live.m3u8"),
        *("--folder", "/run/x/upload-3", "--edition", "e", "--begin", "2"),
        *("--timeout", "8.0", Hidden(Secret("abcd-KEY")), address),
    )
    assert "KEY" not in shown(made)
    unverified = replace(output, verify=False)
    assert "--unverified" in commands.pusher("ffmpeg", 4000, HLS, unverified, Policy())


def test_srt_receives_its_key_as_stream_id() -> None:
    output = OutputPlan(1, "Partner", "srt://h:9000", Secret("publish:x"))
    made = commands.destination(output)
    assert Hidden(Secret("streamid=publish:x\n")) in made
    assert made[:2] == ("-f", "mpegts")


@pytest.mark.parametrize(
    ("address", "key", "query", "preset", "shown_address"),
    [
        # Address, parameters and key, combined as a client would have done.
        ("rtmp://h/app", "", "token=T", "rtmp_app=app?token=T\n", "rtmp://h"),
        (
            *("rtmps://h:443/live2?backup=1", "KEY", "token=T&b=/"),
            *("rtmp_app=live2?backup=1&token=T&b=/\nrtmp_playpath=KEY\n", "rtmps://h:443"),
        ),
        ("rtmp://h", "KEY", "", "rtmp_app=KEY\n", "rtmp://h"),
        ("rtmp://[::1]:1935/", "KEY", "t=1", "rtmp_app=KEY?t=1\n", "rtmp://[::1]:1935"),
        (
            *("srt://h:9000?latency=200", "publish:x", "passphrase=long+enough&pbkeylen=32"),
            "streamid=publish:x\npassphrase=long enough\npbkeylen=32\n",
            "srt://h:9000?latency=200",
        ),
        ("srt://h:9000", "a", "streamid=b", "streamid=b\n", "srt://h:9000"),
    ],
)
def test_secrets_of_an_address_go_through_the_pipe(
    address: str, key: str, query: str, preset: str, shown_address: str
) -> None:
    output = OutputPlan(1, "Main", address, Secret(key), query=Secret(query))
    made = commands.destination(output)
    assert made[made.index("-fpre") + 1] == Hidden(Secret(preset))
    assert made[-1] == shown_address


def test_a_certificate_is_verified_unless_the_output_disables_it() -> None:
    output = OutputPlan(1, "Main", "rtmps://h/app", Secret("KEY"))
    made = shown(commands.destination(output))
    assert f"-tls_verify 1 -ca_file {tls.certificates()}" in made
    made = shown(commands.destination(replace(output, verify=False)))
    assert "-tls_verify 0" in made
    assert "ca_file" not in made
    assert "tls" not in shown(commands.destination(replace(output, address="rtmp://h/app")))


# ---- live feeds ------------------------------------------------------------------------------
def listing(url: str, **fields: Any) -> tuple[list[str], str]:
    """The hidden argument of a conformer's command, and the command."""
    feed = LiveFeed(1, 2, "Ada", Secret(url), requested_at=0, **fields)
    made = commands.conformer("ffmpeg", 4000, feed, HouseFormat())
    (hidden,) = [word for word in made if isinstance(word, Hidden)]
    assert "SECRET" not in shown(made)
    return hidden.text.reveal().splitlines(), shown(made)


def test_mediamtx_is_read_by_rtsp_over_tcp() -> None:
    """The timeout is longer than the server waits for a paused publisher."""
    hidden, line = listing("rtsp://h:8554/live/ada?token=SECRET")
    assert hidden == [
        "ffconcat version 1.0",
        "file 'rtsp://h:8554/live/ada?token=SECRET'",
        "option rtsp_transport tcp",
        "option timeout 15000000",
        "option analyzeduration 5000000",
        "option fpsprobesize 0",
    ]
    assert "-protocol_whitelist file,pipe,rtmp,rtmps,rtsp,rtsps,rtp,tcp,tls,udp" in line


def test_a_feeds_token_is_masked_in_its_servers_messages() -> None:
    feed = LiveFeed(
        1, 2, "Ada", Secret("rtsp://h:8554/live/ada?token=abcdef-1"), requested_at=0
    )
    line = masked("401 for abcdef-1 at live/ada", feed.secrets)
    assert line == f"401 for {MASK} at live/ada"


def test_an_encrypted_feed_is_verified() -> None:
    hidden, _ = listing("rtmps://h/live/ada")
    assert "option tls_verify 1" in hidden
    assert f"option ca_file '{tls.certificates()}'" in hidden


def test_nginx_is_read_by_rtmp() -> None:
    hidden, _ = listing("rtmp://h/live/ada")
    assert "option rw_timeout 15000000" in hidden
    assert not any("rtsp" in line for line in hidden)


def test_a_feed_without_audio_is_not_searched_for_it() -> None:
    hidden, line = listing("rtmp://h/live/ada", has_audio=False)
    assert "option analyzeduration 1000000" in hidden
    assert "-map 0:v:0 -map 1:a:0" in line
