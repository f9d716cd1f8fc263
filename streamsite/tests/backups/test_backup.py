"""A backup of one machine is restored on another."""

from __future__ import annotations

import os
import sqlite3
import tarfile
import time
from contextlib import closing
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from streams.tests import rows
from streamsite.backups import archive, database
from streamsite.backups.database import BackupError
from streamsite.backups.sealing import KEY_BYTES, PIECE_BYTES, SealError, seal, unseal
from streamsite.config.env import new_field_key
from streamsite.security.secret import Secret

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

PASSPHRASE = "correct horse battery"
SETTINGS = "ALLOWED_HOSTS=tv.example.org\nFIELD_KEYS=k3y-of-the-fields\n"


@pytest.fixture(autouse=True)
def machine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings.DATA_DIR = tmp_path / "data"
    settings.RUN_DIR = tmp_path / "run"
    settings.SETTINGS_FILE = tmp_path / "env"
    settings.DATA_DIR.mkdir()
    settings.RUN_DIR.mkdir()
    settings.SETTINGS_FILE.write_text(SETTINGS)
    # Wherever they come from, the environment or a file.
    settings.FIELD_KEYS, settings.SECRET_KEY = (
        [new_field_key(), new_field_key()],
        "k3y-of-cookies",
    )
    # scrypt at its full cost takes 0.3 s a time.
    monkeypatch.setitem(archive.SCRYPT, "n", 2**10)
    return tmp_path


@pytest.fixture
def phrase(tmp_path: Path) -> Path:
    path = tmp_path / "phrase"
    path.write_text(f"{PASSPHRASE}\n")
    return path


def test_a_backup_brings_back_rows_keys_and_settings(
    machine: Path, phrase: Path, settings: Settings
) -> None:
    backup = machine / "backup"
    User.objects.create(username="ada")
    call_command("backup", backup, passphrase_file=phrase)
    assert backup.stat().st_mode & 0o777 == 0o600
    content = backup.read_bytes()
    for secret in ("k3y-", "ada", *settings.FIELD_KEYS):
        assert secret.encode() not in content, "everything is behind the passphrase"

    User.objects.all().delete()
    User.objects.create(username="later")
    (settings.DATA_DIR / "field_key").write_text("another")
    call_command("restore", backup, passphrase_file=phrase)
    assert list(User.objects.values_list("username", flat=True)) == ["ada"]
    assert (settings.DATA_DIR / "field_key").read_text() == ",".join(settings.FIELD_KEYS)
    assert (settings.DATA_DIR / "secret_key").read_text() == "k3y-of-cookies"
    written = machine / "settings"
    call_command("restore", backup, passphrase_file=phrase, settings_to=written)
    assert written.read_text() == SETTINGS
    assert written.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in machine.iterdir() if path.name.startswith(".")] == []


def test_keys_of_this_machine_that_do_not_fit_are_reported(
    machine: Path, phrase: Path, settings: Settings
) -> None:
    rows.output(rows.channel())
    backup = machine / "backup"
    call_command("backup", backup, passphrase_file=phrase)
    settings.FIELD_KEYS, settings.FIELD_KEYS_GIVEN = [new_field_key()], True
    errors = StringIO()
    call_command("restore", backup, passphrase_file=phrase, stderr=errors)
    assert "Take that line away" in errors.getvalue()


def test_another_passphrase_opens_nothing(machine: Path, phrase: Path) -> None:
    backup = machine / "backup"
    call_command("backup", backup, passphrase_file=phrase)
    phrase.write_text("another passphrase")
    with pytest.raises(CommandError, match="not the one"):
        call_command("restore", backup, passphrase_file=phrase)


@pytest.mark.parametrize("text", ["short", ""])
def test_a_weak_passphrase_is_refused(machine: Path, phrase: Path, text: str) -> None:
    phrase.write_text(text)
    with pytest.raises(CommandError, match="passphrase"):
        call_command("backup", machine / "backup", passphrase_file=phrase)
    assert not (machine / "backup").exists()


def test_a_restore_waits_for_stopped_services(
    machine: Path, phrase: Path, settings: Settings
) -> None:
    backup = machine / "backup"
    call_command("backup", backup, passphrase_file=phrase)
    alive = settings.RUN_DIR / "jobs.alive"
    alive.touch()
    with pytest.raises(CommandError, match="stop the services"):
        call_command("restore", backup, passphrase_file=phrase)
    long_ago = time.time() - 600
    os.utime(alive, (long_ago, long_ago))
    call_command("restore", backup, passphrase_file=phrase)


def test_a_file_that_is_no_backup_changes_nothing(machine: Path, phrase: Path) -> None:
    User.objects.create(username="ada")
    odd = machine / "odd"
    for content in (b"", b"x" * 5000):
        odd.write_bytes(content)
        with pytest.raises(CommandError, match=r"is no .*backup"):
            call_command("restore", odd, passphrase_file=phrase)
    with tarfile.open(odd, "w") as tar:
        tar.add(phrase, "manifest.json")
    with pytest.raises(CommandError):
        call_command("restore", odd, passphrase_file=phrase)
    assert User.objects.filter(username="ada").exists()


def test_a_damaged_database_is_not_put_in_place(machine: Path) -> None:
    if database.engine() != "sqlite":
        pytest.skip("pg_restore runs in one transaction.")
    User.objects.create(username="ada")
    copied = machine / "copied"
    database.copy(copied)
    with closing(sqlite3.connect(copied)) as opened:
        assert opened.execute("SELECT username FROM auth_user").fetchall() == [("ada",)]
    content = bytearray(copied.read_bytes())
    content[5000:20_000] = os.urandom(15_000)
    copied.write_bytes(content)
    with pytest.raises(BackupError, match=r"damaged|no SQLite"):
        database.restore(copied)
    assert User.objects.filter(username="ada").exists()


def test_the_copy_of_before_an_upgrade_is_put_back(machine: Path) -> None:
    copied = machine / "before"
    User.objects.create(username="ada")
    call_command("backup", copied, database_only=True)
    User.objects.all().delete()
    call_command("restore", str(copied), database_only=True)
    assert User.objects.get().username == "ada"


def test_a_copy_replaces_no_file(machine: Path) -> None:
    there = machine / "there"
    there.write_text("mine")
    with pytest.raises(BackupError, match="can't be written"):
        database.copy(there)
    assert there.read_text() == "mine"


def test_a_cut_off_backup_leaves_the_last_one(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = machine / "backup"
    archive.write(backup, Secret(PASSPHRASE), timezone.now())
    before = backup.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupError, match="No space left"):
        archive.write(backup, Secret(PASSPHRASE), timezone.now())
    assert backup.read_bytes() == before


def test_a_restore_takes_tables_of_a_newer_version_away(machine: Path, phrase: Path) -> None:
    """One that a migration makes again may not be there already."""
    backup = machine / "backup"
    call_command("backup", backup, passphrase_file=phrase)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE newer (id integer PRIMARY KEY, "
            "user_id integer REFERENCES auth_user(id))"
        )
    call_command("restore", backup, passphrase_file=phrase)
    assert "newer" not in connection.introspection.table_names()


def test_a_backup_that_was_cut_off_or_changed_restores_nothing(
    machine: Path, phrase: Path
) -> None:
    User.objects.create(username="ada")
    backup = machine / "backup"
    call_command("backup", backup, passphrase_file=phrase)
    User.objects.create(username="later")
    whole = backup.read_bytes()
    middle = len(whole) // 2
    for content in (whole[:middle], whole[:middle] + b"!" + whole[middle + 1 :]):
        backup.write_bytes(content)
        with pytest.raises(CommandError, match=r"damaged|complete|no backup"):
            call_command("restore", backup, passphrase_file=phrase)
    assert User.objects.count() == 2


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_what_was_sealed_is_read_whole_or_not_at_all(size: int) -> None:
    key, plain = os.urandom(KEY_BYTES), os.urandom(size)
    sealed, opened = BytesIO(), BytesIO()
    seal(BytesIO(plain), sealed, key)
    unseal(BytesIO(sealed.getvalue()), opened, key)
    assert opened.getvalue() == plain
    pieces = [
        sealed.getvalue()[start : start + PIECE_BYTES + 16]
        for start in range(0, len(sealed.getvalue()), PIECE_BYTES + 16)
    ]
    for wrong in (b"".join(pieces[:-1]), b"".join(reversed(pieces)), b"".join(pieces) + b"x"):
        if wrong != sealed.getvalue():
            with pytest.raises(SealError):
                unseal(BytesIO(wrong), BytesIO(), key)
