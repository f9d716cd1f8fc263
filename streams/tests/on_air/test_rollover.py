"""Session rollovers: another session follows at an item's end, without a failure."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streams.playout.contract.ledger import IncidentClosed, IncidentOpened
from streams.playout.contract.plan import OutputPlan, Policy
from streams.tests.bench.audit import Marked, audit, marks
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.engine import Engine, MemoryLedger, assignment
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret

pytestmark = [pytest.mark.slow, pytest.mark.clips(1, 2, 3, slate=4)]


@pytest.fixture(autouse=True)
def one_after_the_other(engine: Engine) -> None:
    engine.policy = Policy(apart=APART)


#: Seconds: a shortened session of half a day.
SESSION = 9.0
APART = 4.0


def output(server: RtmpServer, pk: int = 1, **limits: Any) -> OutputPlan:
    key = Secret(f"k-{pk}")
    return OutputPlan(pk, f"Output {pk}", server.address, key, f"edition-{pk}", **limits)


def send(book: MemoryLedger, *outputs: OutputPlan) -> None:
    plan = book.assignments[1].plan
    book.assignments[1] = replace(book.assignments[1], plan=replace(plan, outputs=outputs))


def launched(engine: Engine) -> float:
    channel = engine.channel()
    assert channel is not None
    return channel.pushers.statuses[1].launched


def of_outputs(book: MemoryLedger) -> set[str]:
    """Subjects of open incidents about outputs."""
    return {name for name in book.incidents() if name.startswith(("output-", "session-"))}


def opened(book: MemoryLedger) -> list[IncidentOpened]:
    """The incidents of outputs, in order."""
    notes = [note for note in list(book.notes) if isinstance(note, IncidentOpened)]
    return [note for note in notes if note.output is not None]


def closed(book: MemoryLedger, subject: str) -> list[float]:
    return [
        note.at
        for note in list(book.notes)
        if isinstance(note, IncidentClosed) and note.subject == subject
    ]


def ends(server: RtmpServer, key: str) -> list[tuple[Marked, Marked]]:
    """First and last frame of each session of a key."""
    moments = []
    for path in server.recordings(key):
        shown = list(marks(path))
        moments.append((shown[0], shown[-1]))
    return moments


def from_seam(mark: Marked, shelf: dict[int, Clip]) -> float:
    """Seconds from a frame to the nearest start of an item: negative before it."""
    frames = mark.frame if mark.frame < shelf[mark.clip].frames / 2 else None
    if frames is None:
        frames = mark.frame + 1 - shelf[mark.clip].frames
    return frames / shelf[mark.clip].house_format.fps


def test_a_session_ends_with_its_item_and_another_follows(
    engine: Engine, book: MemoryLedger, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    send(book, output(server, roll_after=SESSION, roll_by=SESSION * 10))
    engine.start()
    until(lambda: server.sessions("k-1") == 4, 60, "it was rolled over three times")
    until(lambda: "session-1" not in book.incidents(), 60, "it is back")
    engine.end()

    planned = opened(book)
    assert {(incident.severity, incident.subject, incident.output) for incident in planned} == {
        ("planned", "session-1", 1)
    }
    assert "a new session begins, as planned" in planned[0].cause
    assert book.count_log_lines("Output 1: retrying") == 0
    sessions = ends(server, "k-1")
    for _, last in sessions[:-1]:
        assert abs(from_seam(last, shelf)) <= 1, sessions


def test_if_no_item_ends_the_session_ends_at_its_limit(
    engine: Engine, book: MemoryLedger, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    book.assignments[1] = assignment(shelf[4], slate=shelf[1])
    send(book, output(server, roll_after=2, roll_by=6))
    engine.start()
    until(lambda: server.sessions("k-1") == 2, 60, "it was rolled over within the item")
    engine.end()
    ((_, last), _) = ends(server, "k-1")
    assert last.clip == 4
    assert last.frame < shelf[4].frames / 2


def test_primary_and_backup_never_roll_over_at_the_same_time(
    engine: Engine, book: MemoryLedger, server: RtmpServer
) -> None:
    limits = {"roll_after": SESSION, "roll_by": SESSION * 10}
    send(book, output(server, 1, **limits), output(server, 2, **limits))
    engine.start()
    until(
        lambda: all(server.sessions(key) >= 3 for key in ("k-1", "k-2")),
        90,
        "both were rolled over twice",
    )
    until(lambda: not of_outputs(book), 60, "both are on air")
    engine.end()
    gaps = sorted((note.at, note.subject) for note in opened(book))
    for (at, subject), (later, other) in pairwise(gaps):
        if subject != other:
            back = min(end for end in closed(book, subject) if end >= at)
            assert later - back >= APART, gaps


def test_the_other_output_is_not_touched(
    engine: Engine, book: MemoryLedger, server: RtmpServer
) -> None:
    send(book, output(server, 1, roll_after=SESSION, roll_by=99), output(server, 2))
    engine.start()
    until(lambda: server.sessions("k-1") == 3, 60, "one was rolled over twice")
    engine.end()
    (recording,) = server.recordings("k-2")
    audit(recording, TEST_FORMAT).assert_unbroken()


def test_a_deployment_does_not_start_a_new_session(
    engine: Engine, book: MemoryLedger, server: RtmpServer
) -> None:
    send(book, output(server, roll_after=SESSION, roll_by=99))
    engine.start()
    engine.until_state("on_air")
    before = launched(engine)
    engine.leave()
    engine.start()
    engine.until_state("on_air")
    assert launched(engine) == pytest.approx(before, abs=1)
    assert server.sessions("k-1") == 1
    until(lambda: server.sessions("k-1") == 2, SESSION * 2, "it was rolled over")
    until(lambda: "session-1" in {note.subject for note in opened(book)}, 60, "it is reported")


def test_a_failed_rollover_is_an_ordinary_loss(
    engine: Engine, book: MemoryLedger, server: RtmpServer, tmp_path: Path
) -> None:
    fault = tmp_path / "fault"
    program = tmp_path / "ffmpeg"
    # The real FFmpeg, except for pushers started during the fault.
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *rtmp:*) [ -e {fault} ] && exit 1;; esac\nexec ffmpeg "$@"\n'
    )
    program.chmod(0o755)
    engine.ffmpeg = str(program)
    send(book, output(server, roll_after=SESSION, roll_by=99))
    engine.start()
    engine.until_state("on_air")
    fault.touch()
    until(lambda: "output-1" in book.incidents(), 30, "it is lost")
    assert of_outputs(book) == {"output-1"}
    assert [note.severity for note in opened(book)] == ["planned", "lost"]
    fault.unlink()
    until(lambda: not of_outputs(book), 30, "it is back")
