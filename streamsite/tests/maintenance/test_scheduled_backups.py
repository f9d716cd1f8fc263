"""Backups by themselves, in a folder and in a bucket."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from media_library import storage
from media_library.storage import StorageError
from streamsite.backups import archive
from streamsite.maintenance import doctor_parts, scheduled_backups, tasks
from streamsite.maintenance.doctor import Verdict
from streamsite.security.secret import Secret

pytestmark = [pytest.mark.django_db(transaction=True)]

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
PASSPHRASE: Final = "correct horse battery"


@pytest.fixture(autouse=True)
def machine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.DATA_DIR, settings.RUN_DIR = tmp_path / "data", tmp_path / "run"
    settings.SETTINGS_FILE = tmp_path / "env"
    settings.BACKUP_FOLDER = tmp_path / "data/backups"
    settings.BACKUP_TO = ["folder"]
    settings.BACKUP_PASSPHRASE = Secret(PASSPHRASE)
    settings.DATA_DIR.mkdir()
    (tmp_path / "phrase").write_text(PASSPHRASE)
    # scrypt at its full cost takes 0.3 s a time.
    monkeypatch.setitem(archive.SCRYPT, "n", 2**10)
    return tmp_path


def test_one_a_day_and_so_many_are_kept(machine: Path, settings: Settings) -> None:
    settings.BACKUP_KEEP = 2
    made = [
        scheduled_backups.back_up(NOW + timedelta(hours=hours)) != "Not yet."
        for hours in range(0, 24 * 3 + 1, 6)
    ]
    assert made == [True, False, False, False] * 3 + [True]
    assert scheduled_backups.names("folder") == [
        "streamsite-20260603T120000Z.backup",
        "streamsite-20260604T120000Z.backup",
    ]
    assert [path.name for path in settings.BACKUP_FOLDER.glob(".*")] == []


def test_nothing_is_made_unless_somebody_wants_it(settings: Settings) -> None:
    settings.BACKUP_TO = []
    assert tasks.back_up() == "Off: BACKUP_TO is empty."
    (line,) = doctor_parts.backups(NOW)
    assert line.verdict == Verdict.WARNING


def test_the_doctor_knows_the_last_one() -> None:
    (line,) = doctor_parts.backups(NOW)
    assert "no backup in the folder" in line.sentence
    scheduled_backups.back_up(NOW)
    (line,) = doctor_parts.backups(NOW + timedelta(hours=30))
    assert (line.verdict, line.sentence) == (
        Verdict.OK, "The last backup in the folder is of 2026-06-01 12:00 UTC.",
    )  # fmt: skip
    (line,) = doctor_parts.backups(NOW + timedelta(hours=49))
    assert line.verdict == Verdict.WARNING


def test_what_a_killed_backup_left_is_removed(settings: Settings) -> None:
    left, recent = (settings.BACKUP_FOLDER / f".backup-{name}" for name in ("old", "new"))
    for folder in (left, recent):
        folder.mkdir(parents=True)
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(left, (long_ago, long_ago))
    scheduled_backups.back_up(datetime.now(UTC))
    assert (left.exists(), recent.exists()) == (False, True)


def test_to_the_bucket_and_back(bucket: None, machine: Path, settings: Settings) -> None:
    settings.BACKUP_TO, settings.BACKUP_KEEP = ["bucket", "folder"], 2
    User.objects.create(username="ada")
    for days in range(3):
        result = scheduled_backups.back_up(NOW + timedelta(days=days))
    assert result == "streamsite-20260603T120000Z.backup is in the bucket and the folder."
    assert len(scheduled_backups.names("bucket")) == 2
    assert list(storage.listing()) == [], "a sync does not see them"
    User.objects.create(username="later")
    phrase = machine / "phrase"
    call_command("restore", "bucket:", passphrase_file=phrase)
    assert list(User.objects.values_list("username", flat=True)) == ["ada"]
    saved = machine / "saved"
    call_command("restore", "bucket:streamsite-20260602T120000Z.backup", save_to=saved)
    assert archive.read(saved, Secret(PASSPHRASE)).made_at.startswith("2026-06-02")
    assert saved.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CommandError, match=r"has no other: it has streamsite-20260602"):
        call_command("restore", "bucket:other", passphrase_file=phrase)


def test_a_bucket_that_is_away_fails_the_job_and_keeps_the_folder_s(
    bucket: None, settings: Settings
) -> None:
    settings.BACKUP_TO = ["folder"]
    scheduled_backups.back_up(NOW)
    settings.BACKUP_TO, settings.STORAGE_BUCKET = ["bucket"], "nowhere"
    settings.STORAGES = dict(settings.STORAGES)
    with pytest.raises(StorageError):
        tasks.back_up()
    assert len(scheduled_backups.names("folder")) == 1
