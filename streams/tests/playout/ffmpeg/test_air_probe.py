"""The decoder of the air dies, hangs or answers garbage: that costs a look, nothing else."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest

from streams.playout.contract.picture import Segment
from streams.playout.ffmpeg import air_decoder, air_probe
from streams.playout.ffmpeg.air_probe import AirDecoder, DecoderError
from streams.tests.bench.waiting import until

NONE_THERE = [Segment(Path("/nowhere/1.ts"), 0.0, 2.0)]


def answering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Let the decoder be a program that does this for each request."""
    program = tmp_path / "decoder.py"
    program.write_text(f"import os, sys\nfor line in sys.stdin:\n    {code}\n")
    monkeypatch.setattr(air_decoder, "__file__", str(program))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[",
        "null",
        "7",
        "[]",
        "[7]",
        "[[7]]",
        '[["x", []]]',
        '[["", ["loud"]]]',
        "[{}]",
    ],
)
def test_an_answer_that_is_no_answer_ends_the_decoder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    answering(monkeypatch, tmp_path, f"print({text!r}, flush=True)")
    with closing(AirDecoder()) as decoder:
        with pytest.raises(DecoderError, match=r"^The air can't be looked at: "):
            decoder.inspect(NONE_THERE)
        # The next one gets a decoder that is not out of step.
        assert decoder._process is None


def test_an_answer_without_an_end_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(air_probe, "MAX_ANSWER", 1 << 18)
    answering(monkeypatch, tmp_path, "[os.write(1, b'x' * 65536) for _ in iter(int, 1)]")
    with closing(AirDecoder()) as decoder, pytest.raises(DecoderError, match="no end"):
        decoder.inspect(NONE_THERE)


@pytest.mark.slow
def test_a_decoder_that_was_killed_is_started_anew(ffmpeg: str) -> None:
    with closing(AirDecoder()) as decoder:
        assert decoder.inspect(NONE_THERE) == [None]
        assert decoder._process is not None
        before = sum(1 for _ in Path("/proc/self/fd").iterdir())
        os.kill(decoder._process.pid, signal.SIGKILL)
        decoder._process.wait()
        with pytest.raises(DecoderError):
            decoder.inspect(NONE_THERE)
        assert decoder.inspect(NONE_THERE) == [None]
        assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


@pytest.mark.slow
def test_a_stop_waits_for_no_decoder_that_stands_still(ffmpeg: str) -> None:
    decoder, failures = AirDecoder(), list[str]()
    assert decoder.inspect(NONE_THERE) == [None]
    assert decoder._process is not None
    os.kill(decoder._process.pid, signal.SIGSTOP)

    def inspected() -> None:
        try:
            decoder.inspect(NONE_THERE)
        except DecoderError as error:
            failures.append(str(error))

    thread = threading.Thread(target=inspected)
    thread.start()
    decoder.close()
    until(lambda: not thread.is_alive(), 5, "the inspected under way has failed")
    assert len(failures) == 1
    # None is started by a inspected that comes later.
    with pytest.raises(DecoderError, match="the supervisor ends"):
        decoder.inspect(NONE_THERE)
    assert decoder._process is None
