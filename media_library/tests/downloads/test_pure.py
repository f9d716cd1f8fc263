"""The pure parts of downloads: options, errors, progress, captions, addresses."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from media_library.downloads import cookies, options, subtitles
from media_library.downloads.errors import POLICIES, Code, classify, plain, verdict
from media_library.downloads.options import Options, OptionsError, Place, Quality, Sound
from media_library.downloads.progress import Pass, Whole, share_of
from media_library.downloads.proxy import Proxy
from media_library.downloads.subtitles import Cue, parse, unrolled
from streamsite.security.ssrf import NoAddressError, Rules

PLACE = Place("/srv/jobs/7", "http://job:s3cr3t@127.0.0.1:9", "/usr/bin/ffmpeg")

# ---- options ---------------------------------------------------------------------------------


def test_options_become_a_sort_that_degrades() -> None:
    made = options.parameters(Options(quality=Quality.P720), PLACE)
    assert made["format"] == "bv*+ba/b"
    assert made["format_sort"] == ["res:720", "vcodec:h264", "acodec:aac", "ext:mp4:m4a"]
    assert made["merge_output_format"] == "mp4/mkv"
    assert made["outtmpl"] == {"default": "media.%(ext)s"}
    assert made["allowed_extractors"] == ["default", "-generic"]


def test_no_option_reads_or_runs_anything_outside_the_job() -> None:
    for made in (
        options.parameters(Options(), PLACE),
        options.subtitle_parameters(Options(subtitles=options.Subtitles.MANUAL), PLACE) or {},
        options.inspect_parameters(PLACE, cap=5),
    ):
        assert made["proxy"] == PLACE.proxy
        assert made["external_downloader"] == {"default": "native"}
        assert made["usenetrc"] is False
        assert made["enable_file_urls"] is False
        assert made["cachedir"] is False
        assert made["cookiefile"] is None
        assert not made.keys() & {"exec_cmd", "cookiesfrombrowser", "netrc_location"}


def test_ffmpeg_opens_video_containers_only() -> None:
    args = options.parameters(Options(), PLACE)["postprocessor_args"]["ffmpeg_i"]
    assert args[:2] == ["-protocol_whitelist", "file,pipe"]
    assert not set(args[3].split(",")) & {"hls", "concat", "dash", "image2"}


@pytest.mark.parametrize(
    "values",
    [
        {"quality": 721},
        {"quality": "best; rm"},
        {"container": "exe"},
        {"sound": "mp4"},
        {"languages": ["en", "--exec"]},
        {"languages": "en"},
        {"languages": ["en"] * 11},
        {"thumbnail": "yes"},
        {"exec": "rm"},
    ],
)
def test_invalid_options(values: dict[str, Any]) -> None:
    with pytest.raises(OptionsError):
        Options.of(values)


def test_options_survive_json_and_name_their_profile() -> None:
    chosen = Options(quality=Quality.P480, languages=("de", "pt-BR"))
    assert Options.of(chosen.as_json()) == chosen
    assert Options.of(chosen.as_json()).profile == chosen.profile
    assert Options(sound=Sound.MP3).profile != Options().profile


# ---- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Sign in to confirm you’re not a bot. Use --cookies-from-browser", Code.BOT),
        ("ERROR: [youtube] x: Sign in to confirm your age", Code.LOGIN),
        ("This video is only available for registered users", Code.LOGIN),
        ("HTTP Error 429: Too Many Requests", Code.RATE),
        ("The uploader has not made this video available in your country", Code.GEO),
        ("This video is DRM protected", Code.DRM),
        ("Premieres in 5 hours", Code.LATER),
        ("This live event will begin in 3 days.", Code.LATER),
        ("Private video. Sign in if you've been granted access", Code.LOGIN),
        ("Video unavailable. This video has been removed by the uploader", Code.UNAVAILABLE),
        ("HTTP Error 404: Not Found", Code.UNAVAILABLE),
        ("HTTP Error 403: Forbidden", Code.HTTP),
        ("HTTP Error 503: Service Unavailable", Code.NETWORK),
        ("Unsupported URL: https://example.org/", Code.UNSUPPORTED),
        ("No suitable extractor (x) found for URL", Code.UNSUPPORTED),
        ("Requested format is not available", Code.FORMAT),
        ("<urlopen error [Errno 111] Connection refused>", Code.NETWORK),
        ("Read timed out.", Code.NETWORK),
        ("[Errno 28] No space left on device", Code.DISK),
        ("Postprocessing: Conversion failed!", Code.MEDIA),
        ("Unable to extract player version; please report this issue on", Code.TOOL),
        ("[Errno 2] connection not allowed by ruleset", Code.REFUSED),
        ("something else", Code.INTERNAL),
    ],
)
def test_messages_of_yt_dlp_have_a_code(text: str, code: Code) -> None:
    assert classify(text).code == code


def test_every_code_has_a_complete_sentence() -> None:
    assert POLICIES.keys() == set(Code)
    for code in Code:
        result = verdict(code, "x")
        assert result.sentence
        assert "{" not in result.sentence
        assert result.pause is None or code in {Code.BOT, Code.RATE}


def test_a_refusal_of_the_proxy_explains_the_error() -> None:
    result = classify("HTTP Error 403: Forbidden", refused="10.0.0.1")
    assert result.code == Code.REFUSED
    assert "10.0.0.1" in result.sentence
    # A page may name an internal tracker, and fail for another reason.
    assert classify("This video is DRM protected", refused="10.0.0.1").code == Code.DRM


def test_a_sentence_names_neither_paths_nor_the_tools_own_errors() -> None:
    result = classify(
        "file:/srv/data/downloads/9/media.mp4: Invalid data found when processing input",
        more="FFmpegPostProcessorError: ERROR: Postprocessing: file:/srv/data/downloads/9/x",
    )
    assert result.sentence == (
        "The downloaded file could not be processed: Invalid data found when processing input"
    )
    assert plain("[Errno 13] Permission denied: /srv/data/a b") == (
        "[Errno 13] Permission denied: … b"
    )


def test_a_refusal_of_the_proxy_has_a_remedy() -> None:
    assert "add the network to DOWNLOAD_NETWORKS" in classify("x", refused="10.0.0.1").sentence
    assert "add the port to DOWNLOAD_PORTS" in classify("x", refused="port 22 of a").sentence
    # No setting permits a file.
    assert "DOWNLOAD_" not in verdict(Code.REFUSED, "file: addresses").sentence


def test_a_warning_explains_an_unknown_error() -> None:
    result = classify("nothing known", warnings=("x", "Sign in to confirm you're not a bot"))
    assert result.code == Code.BOT


def test_addresses_are_left_out_of_sentences() -> None:
    line = plain("ERROR: can't get https://cdn.example/a.mp4?sig=s3cr3t; please report this")
    assert "s3cr3t" not in line


# ---- progress --------------------------------------------------------------------------------


def test_two_passes_are_weighted_by_size() -> None:
    whole = Whole()
    whole.planned([Pass("v", 90, picture=True), Pass("a", 10, picture=False)])
    seen = [whole.fetched("v", 0.5), whole.fetched("v", 1.0), whole.fetched("a", 1.0)]
    assert seen == [40, 79, 88]
    assert whole.processed() == 88
    assert whole.stored(1.0) == 99


def test_without_sizes_the_video_pass_has_most_weight() -> None:
    whole = Whole()
    whole.planned([Pass("v", None, picture=True), Pass("a", 10, picture=False)])
    assert whole.fetched("v", 1.0) == 2 + int(86 * 0.9)


def test_a_bar_never_goes_back() -> None:
    whole = Whole()
    whole.planned([Pass("v", None, picture=True)])
    assert whole.fetched("v", 0.6) == whole.fetched("v", 0.2)


def test_shares() -> None:
    assert share_of(5, 10) == 0.5
    assert share_of(5, None) == 0.0
    # The size of all fragments is estimated from the first: their number is not.
    assert share_of(5, 6, 1, 4) == 0.25


# ---- captions --------------------------------------------------------------------------------

#: Automatic captions as sent by a large site.
ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.080 --> 00:00:02.389 align:start position:0%
 
hello<00:00:00.400><c> and</c><00:00:00.600><c> welcome</c>

00:00:02.389 --> 00:00:02.399 align:start position:0%
hello and welcome
 

00:00:02.399 --> 00:00:04.500 align:start position:0%
hello and welcome
to<00:00:02.800><c> the</c><00:00:03.000><c> show</c>

00:00:04.500 --> 00:00:04.510 align:start position:0%
to the show
 

00:00:04.510 --> 00:00:06.000 align:start position:0%
to the show
tom &amp; jerry
"""  # noqa: W293 - so they come


def test_rolling_lines_appear_once() -> None:
    cues = unrolled(parse(ROLLING))
    assert [cue.lines for cue in cues] == [
        ("hello and welcome",),
        ("to the show",),
        ("tom & jerry",),
    ]
    assert (cues[0].start, cues[0].end) == (80, 2389)
    assert subtitles.txt(cues) == "hello and welcome to the show tom & jerry\n"
    assert "tom &amp; jerry" in subtitles.vtt(cues)


def test_intended_repetitions_stay() -> None:
    cues = [Cue(0, 1000, ("no",)), Cue(5000, 6000, ("no",))]
    assert unrolled(cues) == cues


def test_srt_and_vtt_are_read_alike() -> None:
    srt = "1\r\n00:00:01,5 --> 00:00:02,000\r\n{\\an8}<i>a</i> b\r\n\r\n2\nno times\n"
    assert parse(srt) == [Cue(1500, 2000, ("a b",))]
    assert subtitles.srt(parse(srt)) == "1\n00:00:01,500 --> 00:00:02,000\na b\n"
    assert parse(subtitles.vtt(parse(srt))) == parse(srt)


def test_silence_makes_a_paragraph() -> None:
    cues = [Cue(0, 1000, ("a",)), Cue(1000, 2000, ("b",)), Cue(9000, 9500, ("c",))]
    assert subtitles.txt(cues) == "a b\nc\n"


# ---- the proxy -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "host", "reply"),
    [
        ("wrong", "127.0.0.1", b"\x05\x02\x01\x01"),
        ("", "127.0.0.1", b"\x05\x02\x01\x00\x05\x02\x00"),
        ("", "nowhere.invalid", b"\x05\x02\x01\x00\x05\x04\x00"),
    ],
)
def test_the_proxy_refuses(password: str, host: str, reply: bytes) -> None:
    def find(name: str, _port: int) -> list[str]:
        if name.endswith(".invalid"):
            raise NoAddressError(name)
        return [name]

    with Proxy(Rules(frozenset({80})), find=find) as proxy:
        word = (password or proxy.password).encode()
        with socket.create_connection(
            ("127.0.0.1", proxy.socket.getsockname()[1]), 10
        ) as client:
            client.sendall(b"\x05\x01\x02\x01\x03job" + bytes([len(word)]) + word)
            client.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + b"\0\x50")
            received = b""
            while len(received) < len(reply) and (chunk := client.recv(64)):
                received += chunk
        assert received.startswith(reply)
        assert proxy.seen.refused == ("127.0.0.1" if reply[-2:] == b"\x02\x00" else "")


# ---- cookies ---------------------------------------------------------------------------------


def test_cookies_are_of_one_site() -> None:
    mine = "#HttpOnly_.example.org\tTRUE\t/\tTRUE\t0\ta\tb"
    other = ".notexample.org\tTRUE\t/\tTRUE\t0\ta\tb"
    assert cookies.of_domain(f"# head\n{mine}\n{other}\nrubbish", "example.org") == [mine]
