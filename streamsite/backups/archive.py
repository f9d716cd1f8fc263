"""A backup: a tar file with database, settings and keys, all behind a passphrase."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django.conf import settings

from streamsite import __version__
from streamsite.backups import database
from streamsite.backups.database import BackupError
from streamsite.backups.sealing import KEY_BYTES, SealError, seal, unseal
from streamsite.security.secret import Secret

#: Characters of a passphrase: shorter ones are guessed.
MIN_PASSPHRASE: Final = 12
#: scrypt's cost (RFC 7914): 128 MB of memory and some 0.3 s for each guess.
SCRYPT: Final = {"n": 2**17, "r": 8, "p": 1}
#: Files of DATA_DIR from which keys are read where the settings name none.
KEY_FILES: Final = ("secret_key", "field_key")
#: Bytes of the part with the settings: more is no backup of ours.
MAX_SETTINGS_BYTES: Final = 1_000_000
_MANIFEST, _DATABASE, _SETTINGS = "manifest.json", "database.sealed", "settings.sealed"


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
    settings_key, database_key = _keys(passphrase, salt)
    sealed_settings = BytesIO()
    seal(BytesIO(json.dumps(_files()).encode()), sealed_settings, settings_key)
    manifest = {
        "version": __version__,
        "made_at": now.isoformat(timespec="seconds"),
        "engine": database.engine(),
        "salt": b64encode(salt).decode(),
    }
    draft = to.with_name(f".{to.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=_folder(to)) as name:
        copied, sealed = Path(name) / "database", Path(name) / _DATABASE
        database.copy(copied)
        try:
            with copied.open("rb") as source, sealed.open("wb") as sealed_database:
                seal(source, sealed_database, database_key)
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w") as tar:
                _add(tar, _MANIFEST, json.dumps(manifest).encode())
                _add(tar, _SETTINGS, sealed_settings.getvalue())
                tar.add(sealed, _DATABASE)
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
    plain = BytesIO()
    key, _ = _keys(passphrase, b64decode(manifest["salt"]))
    try:
        unseal(BytesIO(sealed), plain, key)
    except SealError:
        raise BackupError("The passphrase is not the one with which it was made.") from None
    files = {name: Secret(text) for name, text in json.loads(plain.getvalue()).items()}
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
        copied = Path(name) / "database"
        with _opened(backup) as tar, copied.open("wb") as out:
            _, key = _keys(passphrase, b64decode(_manifest(tar, backup)["salt"]))
            try:
                unseal(_member(tar, _DATABASE, backup), out, key)
            except (SealError, tarfile.TarError):
                raise BackupError(f"{backup} is damaged or cut off: take another.") from None
        database.restore(copied)
    for file in KEY_FILES:
        if file in contents.files:
            _replace(settings.DATA_DIR / file, contents.files[file])
    return contents


def _files() -> dict[str, str]:
    """The settings of this machine as text, and its keys, wherever they come from."""
    files = {"secret_key": settings.SECRET_KEY, "field_key": ",".join(settings.FIELD_KEYS)}
    try:
        if settings.SETTINGS_FILE.is_file():
            files["settings"] = settings.SETTINGS_FILE.read_text()
    except OSError as error:
        raise BackupError(f"{error.filename} can't be read: {error.strerror}.") from None
    return files


def _keys(passphrase: Secret, salt: bytes) -> tuple[bytes, bytes]:
    """The key of the settings and that of the database. Raises `BackupError`."""
    demand_passphrase(passphrase)
    key = Scrypt(salt=salt, length=2 * KEY_BYTES, **SCRYPT).derive(passphrase.reveal().encode())
    return key[:KEY_BYTES], key[KEY_BYTES:]


def demand_passphrase(passphrase: Secret) -> None:
    """Raises `BackupError` for one that can be guessed."""
    if len(passphrase.reveal()) < MIN_PASSPHRASE:
        raise BackupError(f"The passphrase needs at least {MIN_PASSPHRASE} characters.")


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
