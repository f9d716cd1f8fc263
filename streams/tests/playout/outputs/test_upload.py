"""An upload by HLS to a real HTTPS server that checks the platform's rules."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from streams.playout.contract.ledger import IncidentOpened, Logged
from streams.playout.contract.states import OutputAir
from streams.playout.ffmpeg import process
from streams.playout.outputs import pushers
from streams.tests.bench import hls_receiver
from streams.tests.bench.clips import Clip
from streams.tests.bench.engine import Engine, MemoryLedger
from streams.tests.bench.hls_receiver import Receiver
from streams.tests.bench.tls import HERE, Authority
from streams.tests.bench.uploads import KEY, kill, pid, playing
from streams.tests.bench.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    made = Authority(tmp_path, "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


@pytest.fixture
def receiver(authority: Authority) -> Iterator[Receiver]:
    with hls_receiver.serve(Receiver(KEY), authority.certificate(*HERE)) as made:
        yield made


def test_segments_arrive_once_whatever_happens(
    tmp_path: Path, shelf: dict[int, Clip], receiver: Receiver
) -> None:
    """Kills, a hub's end, errors, lost answers, a slow network and a new supervisor."""
    engine, _ = playing(tmp_path / "run", shelf[4], shelf[2], receiver.address)
    name = pushers.role_name(1)
    seen: set[str] = set()

    def more(count: int = 12) -> None:
        goal = len(receiver.parts) + count
        until(lambda: engine.alive() and len(receiver.parts) >= goal, 30, "more segments")
        for one in process.marked_pids(engine.run_dir):
            for part in ("cmdline", "environ"):
                with suppress(OSError):
                    seen.add(Path(f"/proc/{one}/{part}").read_text())

    def trouble(_: str, count: int) -> int | None:
        # Errors, answers that are lost after the segment was taken, and broken connections.
        return {5: 500, 11: 0, 17: -1}.get(count % 23)

    try:
        engine.start()
        more()
        receiver.trouble = trouble
        more(25)
        for _ in range(2):
            kill(engine, name)
            more()
        receiver.slow = 0.01
        more(3)
        kill(engine, name)
        more(3)
        receiver.slow = 0
        engine.leave()
        # Nobody listens to its reports, and it goes on.
        before = pid(engine, name)
        goal = len(receiver.parts) + 12
        until(lambda: len(receiver.parts) >= goal, 30, "more without a supervisor")
        engine.start()
        more()
        assert pid(engine, name) == before
        kill(engine, "hub")
        more(25)
        channel = engine.channel()
        assert channel is not None
        role = channel.pushers.roles[1]
        until(lambda: role.progress.total_size, 10, "it reports")
        assert (role.progress.out_time_us or 0) > 20_000_000
        lines = [note.text for note in engine.book.notes if isinstance(note, Logged)]
        logs = "".join(path.read_text() for path in engine.run_dir.rglob("*.log"))
    finally:
        engine.end()
    # The hub that was killed left the one gap, which it announced.
    counts = receiver.check(gaps=1)
    assert (counts["missing"], counts["doubled"]) == (0, 0), counts
    assert counts["sent again"] > 0
    # A connection is kept, but for the troubles.
    assert counts["connections"] < receiver.requests / 4
    assert KEY not in "".join((*seen, *lines, logs))
    assert "HTTP status 500: sent again." in "\n".join(lines)


def cause(engine: Engine, book: MemoryLedger) -> str:
    def causes() -> list[str]:
        return [note.cause for note in list(book.notes) if isinstance(note, IncidentOpened)]

    until(lambda: engine.alive() and causes(), 40, "the cause")
    return causes()[0]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("key", "The server refused the stream: check the stream key."),
        ("certificate", "can't be verified"),
        ("silence", "The server did not answer in time."),
    ],
)
def test_a_cause_is_reported(
    how: str, words: str, tmp_path: Path, shelf: dict[int, Clip], authority: Authority
) -> None:
    with ExitStack() as open_:
        receiver = Receiver(KEY)
        signer = Authority(tmp_path, "foreign") if how == "certificate" else authority
        open_.enter_context(hls_receiver.serve(receiver, signer.certificate(*HERE)))
        if how == "silence":
            mute = open_.enter_context(socket.create_server(("127.0.0.1", 0)))
            receiver.port = mute.getsockname()[1]
        key = "another-key-5512" if how == "key" else KEY
        engine, book = playing(tmp_path / "run", shelf[4], shelf[2], receiver.address, key)
        try:
            engine.start()
            assert words in cause(engine, book)
            channel = engine.channel()
            assert channel is not None
            assert channel.pushers.statuses[1].state is not OutputAir.ON_AIR
            logged = "".join(path.read_text() for path in engine.run_dir.rglob("*.log"))
            texts = [note.text for note in book.notes if isinstance(note, Logged)]
            assert key not in "".join((logged, *texts))
        finally:
            engine.end()
        assert receiver.parts == {}


def test_what_waits_outlives_an_outage_and_goes_with_the_output(
    tmp_path: Path, shelf: dict[int, Clip], receiver: Receiver
) -> None:
    """The server is gone for 28 s of air; the window holds 16."""
    engine, book = playing(tmp_path / "run", shelf[4], shelf[2], receiver.address, speed=5)
    engine.policy = replace(engine.policy, segments=8)
    try:
        engine.start()
        until(lambda: engine.alive() and len(receiver.parts) >= 3, 40, "it is on air")
        receiver.trouble = lambda _name, _count: -1
        folder = process.channel_folder(engine.run_dir, 1)
        kept = folder / "upload-1"
        until(lambda: engine.alive() and len(list(kept.glob("*.ts"))) >= 14, 40, "it waits")
        assert "output-1" in book.incidents()
        receiver.trouble = lambda _name, _count: None
        goal = len(receiver.parts) + 10
        until(lambda: engine.alive() and len(receiver.parts) >= goal, 40, "it caught up")
        until(lambda: not book.incidents(), 10, "the incident is closed")
        book.assignments[1] = replace(
            book.assignments[1], plan=replace(book.assignments[1].plan, outputs=())
        )
        until(lambda: engine.alive() and not kept.exists(), 20, "its folder is removed")
    finally:
        engine.end()
    counts = receiver.check()
    assert (counts["missing"], counts["doubled"]) == (0, 0), counts
