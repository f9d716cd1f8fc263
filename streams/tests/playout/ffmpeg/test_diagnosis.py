"""FFmpeg's last lines as causes for operators, without credentials."""

from __future__ import annotations

import pytest

from streams.playout.ffmpeg import diagnosis

SIGNED = (
    "https://acc.r2.example:8443/bucket/a%20b.mp4?X-Amz-Credential=AK&X-Amz-Signature=deadbeef"
)


@pytest.mark.parametrize(
    ("code", "lines", "words"),
    [
        (
            1,
            ["[tcp @ 0x55] [error] Connection to tcp://h:1935 failed: Connection refused"],
            "No server accepts connections at that address: check server and port.",
        ),
        (1, ["[rtmp @ 0x5] [error] Server error: nope"], "check the stream key"),
        (1, ["[tcp @ 0x5] [error] Failed to resolve hostname x: Name"], "can't be resolved"),
        (
            1,
            [
                "[tls @ 0x5] [error] Peer certificate failed verification",
                "[rtmps @ 0x5] [error] Cannot open connection tls://live.example:443",
                "[error] rtmps://live.example: Input/output error",
            ],
            "The certificate of live.example:443 can't be verified: it has expired, or no",
        ),
        (
            1,
            [
                "[tls @ 0x5] [error] The certificate's owner does not match hostname h.example",
                "[rtmps @ 0x5] [error] Cannot open connection tls://h.example:443",
            ],
            "The certificate of h.example:443 can't be verified: it is for another name.",
        ),
        (
            # OpenSSL's wording.
            1,
            [
                "[tls @ 0x5] [error] error:0A000086:SSL routines::certificate verify failed",
                "[error] rtmps://h.example/app: Input/output error",
            ],
            "The certificate of h.example can't be verified",
        ),
        (-9, [], "The connection ended: was killed (SIGKILL)."),
        (0, [], "ended by itself"),
    ],
)
def test_why_a_pusher_ended(code: int, lines: list[str], words: str) -> None:
    assert words in diagnosis.pusher(code, lines)


@pytest.mark.parametrize(
    ("line", "ended"),
    [
        ("[error] av_interleaved_write_frame(): Broken pipe", True),
        ("[error] Error writing trailer of rtmp://h/app: End of file", True),
        ("[error] rtmp://h/app: Input/output error", True),
        # No session was established, or the server gave a reason.
        ("[error] Connection to tcp://h failed: Connection refused, Input/output error", False),
        ("[error] Server error: no; Input/output error", False),
        ("", False),
    ],
)
def test_which_causes_mean_that_the_other_side_hung_up(line: str, ended: bool) -> None:
    assert diagnosis.hung_up(diagnosis.pusher(1, [line])) is ended


def test_why_an_item_was_skipped() -> None:
    lines = ["[error] file:/m/a.mp4: No such file or directory"]
    assert diagnosis.player("A", 1, lines, begun=False) == "A was skipped: the file is missing."
    assert diagnosis.player("A", -9, [], begun=True) == (
        "A was cut short: the player was killed (SIGKILL)."
    )


def test_an_item_whose_storage_shows_a_foreign_certificate_was_skipped() -> None:
    lines = [
        "[tls @ 0x5] [error] Peer certificate failed verification",
        f"[concat @ 0x5] [error] Impossible to open '{SIGNED}'",
        "[error] /dev/fd/7: Input/output error",
    ]
    cause = diagnosis.player("A", 1, lines, begun=False)
    assert cause.startswith(
        "A was skipped: the certificate of acc.r2.example:8443 can't be ver"
    )
    assert "deadbeef" not in cause


def test_which_output_means_broken_off_or_damaged() -> None:
    eio = ["[matroska @ 0x5] [error] Read error", "[error] file:a.mkv: Input/output error"]
    assert diagnosis.broke_off(eio)
    assert not diagnosis.damaged(eio)
    assert diagnosis.damaged(["[mov @ 0x5] [error] moov atom not found"])
    assert not diagnosis.broke_off(["[h264 @ 0x5] [error] Invalid data found"])
    cause = diagnosis.player("A", 0, eio, begun=True)
    assert cause == "A was cut short: it could not be read to its end."


def test_a_signed_address_loses_its_query_wherever_it_stands() -> None:
    line = f"[concat @ 0x55d] [error] Impossible to open '{SIGNED}'"
    level, text = diagnosis.log_line(line)
    assert level == "error"
    assert "https://acc.r2.example:8443/bucket/a%20b.mp4" in text
    assert "Signature" not in text
    assert "deadbeef" not in text


def test_an_unreadable_address_is_not_shown() -> None:
    _, text = diagnosis.log_line("[error] http://[bad?sig=secret is no address")
    assert "secret" not in text


def test_names_and_passwords_in_an_address_are_not_shown() -> None:
    _, text = diagnosis.log_line("[warning] rtmp://me:hunter2@host/app")
    assert "hunter2" not in text


def test_harmless_output_at_every_start_is_ignored() -> None:
    assert diagnosis.harmless(
        "[h264 @ 0x1] [error] non-existing SPS 0 referenced in buffering period"
    )
    assert diagnosis.harmless("Warning: using insecure memory!")
    assert not diagnosis.harmless("[h264 @ 0x1] [error] decode_slice_header error")


NO_MAP = "[fatal] Stream map '{}' matches no streams."
NO_PICTURE = "[concat @ 0x5] [warning] Could not find codec parameters for stream 0 ({}): {}"


@pytest.mark.parametrize(
    ("lines", "silent"),
    [
        # Output of FFmpeg 5.1.9 for RTSP feeds; 7.1 names no map.
        ([NO_MAP.format("0:a:0")], True),
        ([NO_MAP.format("")], True),
        ([NO_PICTURE.format("Audio: none", "unknown codec"), NO_MAP.format("0:a:0")], True),
        ([NO_MAP.format("0:v:0")], False),
        (["[error] /dev/fd/19: Input/output error"], False),
        ([], False),
    ],
)
def test_a_feed_without_audio_is_detected_from_ffmpegs_output(
    lines: list[str], *, silent: bool
) -> None:
    assert diagnosis.without_audio(lines) is silent


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([NO_PICTURE.format("Unknown: none", "unknown codec")], "its video codec:"),
        ([NO_PICTURE.format("Video: none, none", "unknown codec")], "its video codec:"),
        (["[fatal] Decoder (codec av1) not found for input stream #0:0"], "codec (av1):"),
        (["[dec @ 0x5] Decoding requested, but no decoder found for: av1"], "codec (av1):"),
        (["[flv @ 0x5] [warning] Video codec (d) is not implemented."], "codec (d):"),
        # Video may still come: H.264 of which nothing was seen, a broken connection.
        ([NO_PICTURE.format("Video: h264, none", "unspecified size")], ""),
        (["[error] /dev/fd/19: Connection timed out"], ""),
        ([NO_MAP.format("0:v:0")], ""),
    ],
)
def test_an_unsupported_codec_is_named(lines: list[str], words: str) -> None:
    fault = diagnosis.unreadable(lines)
    assert words in fault
    assert bool(fault) is bool(words)
