"""Builds FFmpeg command lines from a plan. Pure: the tests compare them whole.

The options were tested and measured; the reason for each stands beside it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from media_library.ffmpeg.runner import CONTAINERS
from media_library.house_format import SAMPLE_RATE, HouseFormat
from media_library.location import LocalFile, Location
from streams.outputs import srt
from streams.playout.contract.live_feed import LiveFeed
from streams.playout.contract.plan import OutputPlan, Policy, SourceError
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg.hls_window import SEGMENTS_BEHIND
from streams.programme.item import Mode
from streamsite import __version__
from streamsite.security import tls
from streamsite.security.secret import Secret, has_control_characters, quoted_url


@dataclass(frozen=True, slots=True)
class Hidden:
    """An argument passed on a pipe: it becomes /dev/fd/N when the process is started."""

    text: Secret


Argument = str | Hidden
Command = tuple[Argument, ...]

#: Once a second is enough for the page: exits are detected by pidfd, cuts are measured in the
#: pipe.
STATS_PERIOD: Final = "1"
#: For a relay: its pipe runs empty while it waits for a feed that is over, so only its reports
#: show where it ended. FFmpeg up to 6 reports between two packets: it never reports a trailing
#: packet or the last of a burst, as when a feed ends.
PER_PACKET_STATS_PERIOD: Final = "0.000001"
#: FFmpeg 7 reports by the clock: the interval above would keep a core busy. Less than a frame.
PER_FRAME_STATS_PERIOD: Final = "0.02"


def _common(ffmpeg: str, port: int, period: str = STATS_PERIOD) -> tuple[str, ...]:
    return (
        *(ffmpeg, "-hide_banner", "-nostdin", "-nostats"),
        *("-loglevel", "level+warning"),
        *("-stats_period", period),
        # UDP works without a reader, and a new supervisor binds the same port.
        *("-progress", f"udp://127.0.0.1:{port}?pkt_size=1400"),
    )


def _source(location: Location, into: Fraction) -> Command:
    if isinstance(location, LocalFile):
        return (
            *(("-ss", seconds(into)) if into else ()),
            *("-protocol_whitelist", "file"),
            *("-format_whitelist", CONTAINERS),
            *("-i", f"file:{location.path}"),
        )
    # A signed URL is a credential: it goes into a list on a pipe, with its reconnect flags.
    url = location.url.reveal().replace("'", "%27")
    if has_control_characters(url):
        raise SourceError("its address holds control characters")
    # Not -ss, which seeks to another keyframe here: a list has no index of its contents.
    begin = f"inpoint {seconds(into)}\n" if into else ""
    listing = (
        "ffconcat version 1.0\n"
        f"file '{url}'\n"
        f"{begin}"
        # The list itself may be an ffconcat file; its entries may not.
        f"option format_whitelist {CONTAINERS}\n"
        "option reconnect 1\n"
        "option reconnect_streamed 1\n"
        "option reconnect_delay_max 5\n"
        "option rw_timeout 10000000\n"
        f"{tls.directives() if urlsplit(url).scheme == 'https' else ''}"
    )
    return (
        *("-f", "concat", "-safe", "0"),
        *("-protocol_whitelist", "file,pipe,http,https,tcp,tls"),
        *("-format_whitelist", f"concat,{CONTAINERS}"),
        *("-i", Hidden(Secret(listing))),
    )


def seconds(value: Fraction) -> str:
    """Format a duration. FFmpeg counts offsets in microseconds."""
    return f"{round(value * 1_000_000) / 1_000_000:.6f}"


#: A new player sends its tables first and signals that its counters restart. It adds no delay
#: of its own and does not collect audio packets, so a cut loses at most one.
_MPEGTS: Final = (
    *("-muxdelay", "0", "-muxpreload", "0", "-pes_payload_size", "0"),
    *("-mpegts_flags", "+initial_discontinuity+resend_headers", "-f", "mpegts", "pipe:1"),
)


#: Seconds after which AAC frames and whole seconds end together: 375 frames.
AUDIO_SPAN_S: Final = 8


def player(
    ffmpeg: str,
    port: int,
    turn: Turn,
    location: Location,
    house_format: HouseFormat,
    offset: Fraction,
) -> Command:
    """Play one turn into the feed, as fast as the pipe accepts it."""
    item = turn.item
    # By default, FFmpeg treats the priming as the start of a file that it reads through a list,
    # but not of a plain file: the same item would start 21 ms later from the storage than from
    # disk. (Not -copyts: progress would then count from the first report.)
    exact = ("-seek_timestamp", "1") if item.mode is Mode.PREPARED else ()
    head = (*_common(ffmpeg, port), *exact, *_source(location, turn.into))
    # The first AAC packet is the encoder's priming: without it splices are exact. After a seek
    # the first packet is real audio, dropped if it began before the video.
    primed = turn.fade or not turn.into or turn.into % AUDIO_SPAN_S
    tail = (
        *(("-bsf:a", "noise=amount=0:drop=not(n)") if primed else ()),
        *(() if turn.limit is None else ("-t", seconds(turn.limit))),
        *("-output_ts_offset", seconds(offset)),
        *_MPEGTS,
    )
    if item.mode is not Mode.TRANSCODE:
        handled = _faded(house_format) if turn.fade else ("-c", "copy")
        return (*head, "-map", "0:v:0", "-map", "0:a:0", *handled, *tail)
    silence = (
        ()
        if item.has_audio
        else ("-f", "lavfi", "-i", f"anullsrc=r={SAMPLE_RATE}:cl=stereo", "-shortest")
    )
    return (
        *head,
        *silence,
        *("-map", "0:v:0", "-map", "0:a:0" if item.has_audio else "1:a:0"),
        *encode(house_format),
        *tail,
    )


def witnessed(command: Command, turn: Turn, descriptor: int, frames: int) -> Command:
    """A player of `frames` video frames that reports on `descriptor` when the last one is fed.

    FFmpeg writes the line when it closes its outputs, in their order, so the whole item is in
    the feed by then. If the item ends early, there is no line.
    """
    return (
        *command,
        *("-map", "0:v:0", "-c", "copy"),
        *("-bsf:v", f"noise=amount=0:drop=lt(n\\,{frames - 1})"),
        *(() if turn.limit is None else ("-t", seconds(turn.limit))),
        *("-f", "framecrc", f"pipe:{descriptor}"),
    )


#: Name of the shell in which a player waits, as the process list shows it.
WAITING_SHELL: Final = "streamsite-waiting"
#: Exit status of that shell if the player before it did not end whole.
GATE_SHUT_STATUS: Final = 75
#: A framecrc line that starts with "0," is a frame; comments are ignored.
_WAIT: Final = f"""\
while read -r line; do
  case $line in 0,*) whole=yes ;; esac
done
[ -n "$whole" ] || exit {GATE_SHUT_STATUS}
begin=$1
shift
while read -r up idle </proc/uptime && [ "${{up%%.*}}" -lt "$begin" ]; do
  sleep 1
done
exec "$@" </dev/null
"""


def waiting(command: Command, begin: int) -> Command:
    """Run that command after standard input has reported a whole item and has ended.

    `begin`: second of the machine's uptime before which the command does not start.
    """
    return ("/bin/sh", "-c", _WAIT, WAITING_SHELL, str(begin), *command)


#: Seconds of the audio fade-in when a live feed starts or the programme returns.
FADE_S: Final = 0.5


def _faded(house_format: HouseFormat) -> tuple[str, ...]:
    """Copy the video and fade the audio in, which requires encoding the audio.

    Silence precedes audio that starts after the video, so both start together.
    """
    together = f"aresample=async=1:first_pts=0,afade=t=in:d={FADE_S}"
    return ("-c:v", "copy", "-af", together, *_audio(house_format))


def conformer(
    ffmpeg: str, port: int, feed: LiveFeed, house_format: HouseFormat | None
) -> Command:
    """Read a live feed into a pipe of its own, encoded to the house format.

    `house_format`: None copies the feed; FFmpeg then describes it on stderr.
    """
    if house_format is None:
        handled: Command = ("-c", "copy", "-loglevel", "level+info")
    else:
        # Fills gaps from packet loss: video and audio stay in sync.
        handled = (*encode(house_format), "-af", "aresample=async=1")
    return (
        *_common(ffmpeg, port, CONFORMER_STATS_PERIOD),
        # Without these two options FFmpeg searches for the frame rate for seconds, or misses
        # the first keyframe; five seconds allow for encoders with rare keyframes.
        *("-fpsprobesize", "0", "-analyzeduration", _analyze_duration(feed)),
        *("-f", "concat", "-safe", "0"),
        *("-protocol_whitelist", "file,pipe,rtmp,rtmps,rtsp,rtsps,rtp,tcp,tls,udp"),
        *("-i", Hidden(Secret(feed_listing(feed)))),
        *(() if feed.has_audio else SILENCE),
        *("-map", "0:v:0", "-map", "0:a:0" if feed.has_audio else "1:a:0"),
        *handled,
        # The silence alone would never end.
        *(() if feed.has_audio else ("-shortest",)),
        # A relay may start at any keyframe and finds the tables before it.
        *("-muxdelay", "0", "-muxpreload", "0", "-pes_payload_size", "0"),
        *("-mpegts_flags", "+resend_headers+pat_pmt_at_frames", "-f", "mpegts", "pipe:1"),
    )


#: Microseconds for which FFmpeg searches for video and audio; it starts earlier if it finds
#: them earlier.
ANALYZE_DURATION_US: Final = "5000000"
#: For a feed without audio: by RTMP, which does not announce tracks, FFmpeg would wait for
#: audio for the longer time.
ANALYZE_DURATION_SILENT_US: Final = "1000000"
#: Seconds between two reports of a conformer: they show that its video has stopped.
CONFORMER_STATS_PERIOD: Final = "0.25"
#: Microseconds without data after which a conformer gives up. Longer than the ingest servers
#: wait for a publisher that pauses (10 s), because its readers continue with it.
READ_TIMEOUT_US: Final = 15_000_000
#: No faster than the feed: the silence would run ahead as soon as the feed pauses.
SILENCE: Final = ("-re", "-f", "lavfi", "-i", f"anullsrc=r={SAMPLE_RATE}:cl=stereo")


def _analyze_duration(feed: LiveFeed) -> str:
    return ANALYZE_DURATION_US if feed.has_audio else ANALYZE_DURATION_SILENT_US


def feed_listing(feed: LiveFeed) -> str:
    """Build the input list. The address may hold a token, so it goes on a pipe."""
    url = quoted_url(feed.url.reveal())
    # MediaMTX is read by RTSP: by RTMP FFmpeg 5 supports neither H.265 nor Opus, and waits for
    # audio that may not exist.
    limit = (
        f"option rtsp_transport tcp\noption timeout {READ_TIMEOUT_US}\n"
        if urlsplit(feed.url.reveal()).scheme in {"rtsp", "rtsps"}
        else f"option rw_timeout {READ_TIMEOUT_US}\n"
    )
    return (
        "ffconcat version 1.0\n"
        f"file '{url}'\n"
        f"{limit}"
        # FFmpeg verifies nothing for rtsps: the settings allow only this machine's own server.
        f"{tls.directives() if urlsplit(url).scheme == 'rtmps' else ''}"
        f"option analyzeduration {_analyze_duration(feed)}\n"
        "option fpsprobesize 0\n"
    )


def relay(
    ffmpeg: str,
    port: int,
    house_format: HouseFormat,
    offset: Fraction,
    *,
    by_clock: bool = False,
) -> Command:
    """Play a conformer's output into the feed, starting at a keyframe.

    `by_clock`: this FFmpeg reports progress by the clock.
    """
    return (
        *_common(ffmpeg, port, PER_FRAME_STATS_PERIOD if by_clock else PER_PACKET_STATS_PERIOD),
        # The default would analyse five seconds first.
        *("-fpsprobesize", "0", "-analyzeduration", "500000", "-f", "mpegts", "-i", "pipe:0"),
        *("-map", "0:v:0", "-map", "0:a:0"),
        *_faded(house_format),
        *("-bsf:a", "noise=amount=0:drop=not(n)"),
        *("-output_ts_offset", seconds(offset)),
        *_MPEGTS,
    )


def encode(house_format: HouseFormat) -> tuple[str, ...]:
    """Encode to the house format in real time."""
    kbit = house_format.video_bitrate // 1000
    size = f"{house_format.width}:{house_format.height}"
    fitted = f"scale={size}:force_original_aspect_ratio=decrease,pad={size}:-1:-1"
    return (
        *("-vf", f"{fitted},setsar=1,fps={house_format.fps},format=yuv420p"),
        *("-c:v", "libx264", "-preset", "veryfast", "-profile:v", "high"),
        *("-b:v", f"{kbit}k", "-maxrate", f"{kbit}k", "-bufsize", f"{2 * kbit}k"),
        *("-g", str(house_format.gop), "-keyint_min", str(house_format.gop)),
        *("-sc_threshold", "0", "-flags", "+cgop"),
        # No B-frames: with them a cut leaves an audio gap of their depth.
        *("-bf", "0"),
        *_audio(house_format),
    )


def _audio(house_format: HouseFormat) -> tuple[str, ...]:
    rate = f"{house_format.audio_bitrate // 1000}k"
    return ("-c:a", "aac", "-b:a", rate, "-ar", str(SAMPLE_RATE), "-ac", "2")


def hub(
    ffmpeg: str,
    port: int,
    hls: Path,
    name: str,
    policy: Policy,
    *,
    at: Fraction,
    resume: bool,
    bursts: bool = False,
) -> Command:
    """Pace the feed, which starts at `at`, and write the rolling HLS window.

    `resume`: continue the same playlist. `bursts`: this FFmpeg would send half a second at
    once, so every item would be on air that much earlier than reported.
    """
    flags = "temp_file+omit_endlist"
    if policy.segments:
        flags = f"delete_segments+{flags}"
    if resume:
        flags += "+append_list"
    return (
        *_common(ffmpeg, port),
        *(("-re",) if policy.paced else ()),
        # 0 would select the default.
        *(("-readrate_initial_burst", "0.001") if policy.paced and bursts else ()),
        *("-f", "mpegts", "-i", "pipe:0", "-map", "0:v", "-map", "0:a", "-c", "copy"),
        # FFmpeg starts at 0 by default. A second hub would jump back, and a pusher that
        # corrects the jump may shift the last old frames with it: a gap of two seconds became
        # four.
        *("-output_ts_offset", seconds(at)),
        *("-f", "hls", "-hls_time", str(policy.segment)),
        *("-hls_list_size", str(policy.segments), "-hls_flags", flags),
        # Named after the run, so that a browser can't find an older run's segment in its cache.
        *("-hls_segment_filename", str(hls / f"{name}-%08d.ts")),
        str(hls / "live.m3u8"),
    )


def pusher(ffmpeg: str, port: int, hls: Path, output: OutputPlan, policy: Policy) -> Command:
    """Send the channel to one destination. Its secrets are in a preset on a pipe."""
    if urlsplit(output.address).scheme == "https":
        return upload(port, hls, output, policy)
    return (
        *_common(ffmpeg, port),
        *(("-re",) if policy.paced else ()),
        *("-live_start_index", f"-{SEGMENTS_BEHIND}" if policy.paced else "0"),
        *("-i", str(hls / "live.m3u8")),
        *("-map", "0:v", "-map", "0:a", "-c", "copy"),
        *destination(output),
    )


#: Folder from which this program is imported.
_ROOT: Final = Path(__file__).parents[3]
#: Part of the stall limit after which an upload ends by itself: it knows why, the supervisor
#: that would end it does not.
_UPLOAD_TIMEOUT: Final = 0.8


def upload_folder(hls: Path, output: int) -> Path:
    """Return the folder of what an upload keeps, on the file system of the window."""
    return hls.parent / f"upload-{output}"


def upload(port: int, hls: Path, output: OutputPlan, policy: Policy) -> Command:
    """Send the window's segments by HTTPS. FFmpeg would show the key in the address."""
    return (
        # The child inherits no PYTHONPATH; env becomes the program.
        *("/usr/bin/env", f"PYTHONPATH={_ROOT}"),
        *(sys.executable, "-P", "-m", "streams.playout.outputs.upload"),
        *("--progress", str(port), "--version", __version__),
        *("--window", str(hls / "live.m3u8"), "--folder", str(upload_folder(hls, output.pk))),
        *("--edition", output.edition),
        # 0: from the window's start.
        *("--begin", str(SEGMENTS_BEHIND if policy.paced else 0)),
        *("--timeout", f"{policy.stall * _UPLOAD_TIMEOUT:.1f}"),
        *(() if output.verify else ("--unverified",)),
        Hidden(output.key),
        output.address,
    )


def destination(output: OutputPlan) -> Command:
    """Return the output side of a pusher."""
    key, query = output.key.reveal(), output.query.reveal()
    if has_control_characters(key + query):
        raise ValueError("A stream key or secret parameter holds control characters.")
    parts = urlsplit(output.address)
    if parts.scheme == "srt":
        address, options = parts.geturl(), _srt(key, query)
        form: tuple[str, ...] = ("-f", "mpegts")
    else:
        address, options = _rtmp(parts, key, query)
        # Sends a new sequence header when an item of another encoder starts.
        form = ("-bsf:v", "extract_extradata", "-f", "flv", "-flvflags", "no_duration_filesize")
    preset = "".join(f"{name}={value}\n" for name, value in options.items())
    hidden: Command = ("-fpre", Hidden(Secret(preset))) if preset else ()
    trust: Command = ()
    if parts.scheme == "rtmps":
        trust = tls.verified() if output.verify else ("-tls_verify", "0")
    # A destination that accepts nothing for 15 s is gone.
    return (*form, *hidden, *trust, "-rw_timeout", "15000000", address)


def _srt(key: str, query: str) -> dict[str, str]:
    """Return FFmpeg's options for the parameters after the "?" of an SRT address."""
    given = srt.parameters(query)
    # The query has precedence; FFmpeg ignores query parameters that it does not know.
    return ({"streamid": key} if key else {}) | {
        name: value for name, value in given.items() if srt.is_supported(name, value)
    }


def _rtmp(parts: SplitResult, key: str, query: str) -> tuple[str, dict[str, str]]:
    """Return the public address, and FFmpeg's options for its secret rest.

    In RTMP a query belongs to the application: it is sent with its name.
    """
    application = parts.path.strip("/")
    if application and not query:
        return parts.geturl(), {"rtmp_playpath": key} if key else {}
    path = {"rtmp_playpath": key} if application and key else {}
    # In rtmp://host/KEY the key is the whole path.
    name = application or key
    parameters = "&".join(filter(None, (parts.query, query)))
    whole = f"{name}?{parameters}" if parameters else name
    return f"{parts.scheme}://{parts.netloc}", {"rtmp_app": whole, **path}
