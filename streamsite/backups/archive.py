"""A backup: a tar file with the database, and the settings and keys behind a passphrase."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from base64 import b64decode, b64encode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django.conf import settings

from streamsite import __version__
from streamsite.backups import database
from streamsite.backups.database import BackupError
from streamsite.security.secret import Secret

#: Characters of a passphrase: shorter ones are guessed.
MIN_PASSPHRASE: Final = 12
#: scrypt's cost (RFC 7914): 128 MB of memory and some 0.3 s for each guess.
SCRYPT: Final = {"n": 2**17, "r": 8, "p": 1}
#: Files of DATA_DIR that hold keys, where the settings name none.
KEY_FILES: Final = ("secret_key", "field_key")
#: Bytes of the part with the settings: more is no backup of ours.
MAX_SETTINGS_BYTES: Final = 1_000_000
_MANIFEST, _DATABASE, _SETTINGS = "manifest.json", "database", "settings.encrypted"


@dataclass(frozen=True, slots=True)
class Contents:
    """A backup that was opened. `files`: the settings and keys, by name."""

    made_at: str
    version: str
    engine: str
    files: dict[str, Secret]


def write(to: Path, passphrase: Secret, now: datetime) -> None:
    """Makes a backup that only its owner can read. Raises `BackupError`."""
    salt = os.urandom(16)
    sealed = _cipher(passphrase, salt).encrypt(json.dumps(_files()).encode())
    manifest = {
        "version": __version__,
        "made_at": now.isoformat(timespec="seconds"),
        "engine": database.engine(),
        "salt": b64encode(salt).decode(),
    }
    draft = to.with_name(f".{to.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=_folder(to)) as name:
        copied = Path(name) / _DATABASE
        database.copy(copied)
        try:
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w") as tar:
                _add(tar, _MANIFEST, json.dumps(manifest).encode())
                _add(tar, _SETTINGS, sealed)
                tar.add(copied, _DATABASE)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(to)
        except OSError as error:
            raise BackupError(f"{to} can't be written: {error.strerror}.") from None
        finally:
            draft.unlink(missing_ok=True)


def read(backup: Path, passphrase: Secret) -> Contents:
    """Opens a backup. Raises `BackupError`."""
    with _opened(backup) as tar:
        manifest = _manifest(tar, backup)
        sealed = _member(tar, _SETTINGS, backup).read(MAX_SETTINGS_BYTES)
    try:
        plain = _cipher(passphrase, b64decode(manifest["salt"])).decrypt(sealed)
    except InvalidToken:
        raise BackupError("The passphrase is not the one with which it was made.") from None
    files = {name: Secret(text) for name, text in json.loads(plain).items()}
    return Contents(manifest["made_at"], manifest["version"], manifest["engine"], files)


def restore(backup: Path, passphrase: Secret) -> Contents:
    """Replaces the database by the backup's. Nothing else may use it. Raises `BackupError`.

    The keys in DATA_DIR are replaced too; settings are the caller's to put in place.
    """
    contents = read(backup, passphrase)
    if contents.engine != database.engine():
        raise BackupError(
            f"It is a backup of {contents.engine}, and DATABASE_URL names "
            f"{database.engine()}: set that to a database of the same kind first."
        )
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=settings.DATA_DIR) as name:
        copied = Path(name) / _DATABASE
        with _opened(backup) as tar, copied.open("wb") as out:
            source = _member(tar, _DATABASE, backup)
            while chunk := source.read(1 << 20):
                out.write(chunk)
        database.restore(copied)
    for file in KEY_FILES:
        if file in contents.files:
            _replace(settings.DATA_DIR / file, contents.files[file])
    return contents


def _files() -> dict[str, str]:
    """The settings and keys of this machine, as text."""
    paths = {"settings": settings.SETTINGS_FILE} | {
        name: settings.DATA_DIR / name for name in KEY_FILES
    }
    try:
        return {name: path.read_text() for name, path in paths.items() if path.is_file()}
    except OSError as error:
        raise BackupError(f"{error.filename} can't be read: {error.strerror}.") from None


def _cipher(passphrase: Secret, salt: bytes) -> Fernet:
    if len(passphrase.reveal()) < MIN_PASSPHRASE:
        raise BackupError(f"The passphrase needs at least {MIN_PASSPHRASE} characters.")
    key = Scrypt(salt=salt, length=32, **SCRYPT).derive(passphrase.reveal().encode())
    return Fernet(urlsafe_b64encode(key))


def _folder(to: Path) -> Path:
    if not to.parent.is_dir():
        raise BackupError(f"There is no folder {to.parent}: make it first.")
    return to.parent


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    tar.addfile(member, BytesIO(content))


def _opened(backup: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(backup, "r:")
    except (OSError, tarfile.TarError) as error:
        raise BackupError(f"{backup} is no backup that can be read: {error}.") from None


def _member(tar: tarfile.TarFile, name: str, backup: Path) -> IO[bytes]:
    try:
        member = tar.extractfile(name)
    except (KeyError, tarfile.TarError):
        member = None
    if member is None:
        raise BackupError(f"{backup} is no complete backup of streamsite: it has no {name}.")
    return member


def _manifest(tar: tarfile.TarFile, backup: Path) -> dict[str, str]:
    try:
        manifest = json.loads(_member(tar, _MANIFEST, backup).read(10_000))
        return {name: str(manifest[name]) for name in ("made_at", "version", "engine", "salt")}
    except (ValueError, LookupError, TypeError):
        raise BackupError(f"{backup} is no backup of streamsite: its list is odd.") from None


def _replace(path: Path, content: Secret) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(content.reveal())
    draft.replace(path)
