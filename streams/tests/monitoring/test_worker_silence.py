"""Explanations of a worker's silence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streams.models import Channel
from streams.monitoring import worker_silence
from streams.monitoring.components import detailed
from streams.monitoring.report import report
from streams.monitoring.worker_silence import UNKNOWN_FAULT, Here, meaning, sentence
from streams.playout.node import witness
from streams.playout.node.witness import FaultFile, LedgerFault
from streams.tests import rows
from streamsite.http.database_faults import NO_ANSWER

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
OLD = NOW - timedelta(minutes=5)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None)) as made:
        made.execute("CREATE TABLE notes (text TEXT)")
        yield made


def error_of(database: sqlite3.Connection) -> str:
    with pytest.raises(sqlite3.DatabaseError) as caught:
        database.execute("INSERT INTO notes VALUES (?)", ["x" * 100_000])
    return str(caught.value)


def test_a_full_disk_is_recognised_by_sqlites_error(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA max_page_count = 3")
    assert "disk is full" in meaning(error_of(database))


def test_a_database_that_cannot_be_written_to(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA query_only = 1")
    assert meaning(error_of(database)) == "the database is read-only"


def test_a_damaged_database(database: sqlite3.Connection, tmp_path: Path) -> None:
    (tmp_path / "db.sqlite3").write_bytes(b"no database" * 1000)
    assert "damaged" in meaning(error_of(database))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ('could not extend file "base/16384/2619": No space left on device', "disk is full"),
        ("connection failed: Connection refused\n\tIs the server running?", "nothing answers"),
        ("cannot execute UPDATE in a read-only transaction", "read-only"),
        ("FATAL:  sorry, too many clients already", "no connection left"),
        ("no such column: streams_node.pace", "run migrate"),
        ("", NO_ANSWER),
        ("'NoneType' object has no attribute 'pk'", UNKNOWN_FAULT),
    ],
)
def test_meanings(error: str, expected: str) -> None:
    assert expected in meaning(error)


def here(alive: datetime | None = NOW, error: str | None = None, disk: str = "") -> Here:
    fault = LedgerFault(OLD.timestamp(), error) if error is not None else None
    return Here("here", alive, fault, disk)


@pytest.mark.parametrize(
    ("here", "owner", "seen", "expected"),
    [
        (here(error="database or disk is full"), "here", OLD, "runs, but can't report since"),
        (here(error="database or disk is full"), "", OLD, "the database's disk is full"),
        (here(error="whatever", disk="/data"), "here", OLD, "the disk of /data is full"),
        (here(disk="/data"), "here", OLD, "the disk of /data is full"),
        (here(), "here", OLD, "the playout worker runs, but has not reported since"),
        (here(), "here", None, "the playout worker runs, but has not reported yet"),
        (here(alive=OLD), "here", OLD, "has not run since 2026-03-01 02:55:00 UTC: start it"),
        # The last fault of a dead worker is ignored.
        (here(alive=OLD, error="database is locked"), "here", OLD, "has not run since"),
        (here(alive=None), "", None, "no playout worker runs on this machine: start it"),
        (here(), "away", OLD, "node away has not reported since 2026-03-01 02:55:00 UTC."),
        (None, "", OLD, "no playout worker has reported since 2026-03-01 02:55:00 UTC."),
        (None, "", None, "no playout worker has reported yet."),
    ],
)
def test_the_silence_is_explained_in_a_sentence(
    here: Here | None, owner: str, seen: datetime | None, expected: str
) -> None:
    assert expected in sentence(here, owner, seen, NOW, None)


@pytest.fixture
def run_dir(settings: Any, tmp_path: Path) -> Path:
    settings.RUN_DIR = tmp_path / "run"
    settings.NODE_NAME = "here"
    settings.RUN_DIR.mkdir()
    return tmp_path / "run"


def alive(run_dir: Path, at: datetime) -> None:
    (run_dir / witness.ALIVE_FILE).touch()
    os.utime(run_dir / witness.ALIVE_FILE, (at.timestamp(), at.timestamp()))


@pytest.mark.django_db
def test_the_pages_show_the_cause_that_the_worker_recorded(run_dir: Path) -> None:
    channel = rows.channel()
    rows.node(OLD, "here")
    rows.on_air(channel, at=OLD)
    alive(run_dir, NOW)
    FaultFile(run_dir).failed(OLD.timestamp(), "database or disk is full")
    one = report(NOW).channels[0]
    assert (one.state, one.supervised) == ("unknown", False)
    assert one.cause == (
        "Unknown: the playout worker runs, but can't report since 2026-03-01 02:55:00 UTC: the "
        "database's disk is full: make room on it. FFmpeg may still be playing."
    )
    parts = {part.name: part for part in detailed(NOW).parts}
    assert not parts["database"].ok
    assert "can be read, but the playout worker has failed" in parts["database"].sentence
    assert parts["nodes"].sentence.startswith("The playout worker runs, but can't report")


@pytest.mark.django_db
def test_another_nodes_silence_is_not_explained(run_dir: Path) -> None:
    channel = rows.channel()
    rows.node(OLD, "away")
    rows.on_air(channel, at=OLD)
    Channel.objects.get().state.__class__.objects.update(owner="away")
    alive(run_dir, NOW)
    FaultFile(run_dir).failed(OLD.timestamp(), "database or disk is full")
    assert "node away has not reported since" in report(NOW).channels[0].cause


def test_a_fault_keeps_its_start_and_is_cleared_when_over(run_dir: Path) -> None:
    file = FaultFile(run_dir)
    file.failed(100.0, "database is locked\nDETAIL: a row with everything in it")
    file.failed(102.0, "database or disk is full")
    file.failed(104.0, "")
    assert witness.read(run_dir).fault == LedgerFault(100.0, "database or disk is full")
    file.answered()
    assert witness.read(run_dir).fault is None
    # The record of an earlier supervisor is removed by the first success.
    file.failed(200.0, "database is locked")
    FaultFile(run_dir).answered()
    assert witness.read(run_dir).fault is None


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "[1]", '{"since": 1}', "\x00", "[" * 4000),
        '{"since": "x", "error": ""}',
        '{"since": 1e300, "error": ""}',
        '{"since": NaN, "error": ""}',
        '{"since": -1e18, "error": ""}',
        '{"since": true, "error": 5}',
        '{"since": 1, "error": "' + "x" * 5000 + '"}',
    ],
)
def test_a_truncated_file_is_not_a_fault(run_dir: Path, content: str) -> None:
    (run_dir / witness.FAULT_FILE).write_text(content)
    assert witness.read(run_dir).fault is None


def test_an_unwritable_folder_does_not_stop_the_supervisor(
    run_dir: Path, tmp_path: Path
) -> None:
    """As on a faulty disk, on which a fault has to be written."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for folder in (tmp_path / "loop", tmp_path / ("x" * 300)):
        file = FaultFile(folder)
        file.failed(100.0, "disk I/O error")
        file.failed(102.0, "disk I/O error")
        file.answered()
        assert witness.read(folder) == witness.Witness(None, None)


@pytest.mark.django_db
def test_a_full_disk_is_reported(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.node(OLD, "here")
    rows.on_air(rows.channel(), at=OLD)
    alive(run_dir, NOW)
    monkeypatch.setattr(worker_silence, "MIN_FREE_BYTES", 10**18)
    assert "is full: make room on it" in report(NOW).channels[0].cause


@pytest.mark.django_db
def test_the_record_of_a_dead_worker_is_not_a_database_fault(run_dir: Path) -> None:
    alive(run_dir, OLD)
    FaultFile(run_dir).failed(OLD.timestamp(), "database is locked")
    parts = {part.name: part for part in detailed(NOW).parts}
    assert parts["database"].ok
    assert "has not run since" in parts["nodes"].sentence
