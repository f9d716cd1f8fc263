"""Keeps the file of a form that was refused, so that nobody has to choose it again.

A browser sends a chosen file once and never fills it in again. So the file stays on this
machine's disk for an hour, and the page that shows the faults carries a signed token for it,
which only the same user can redeem.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import structlog
from django import forms
from django.conf import settings
from django.core import signing
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from streamsite.security.file_modes import private_folder

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds for which a file is kept.
MAX_AGE_S: Final = 3600
#: Files of one user, and of all users. The oldest are removed first.
MAX_FILES_PER_USER: Final = 4
MAX_FILES: Final = 32
_SALT: Final = "streamsite.form-uploads"
#: End the names of the fields that carry the token, and that leave the file out.
KEPT_SUFFIX: Final = "-kept"
LEAVE_OUT_SUFFIX: Final = "-leave-out"
_CHUNK_BYTES: Final = 64 * 1024


class KeptUpload(SimpleUploadedFile):
    """A file that an earlier request of the same user has brought."""


class LostUpload(SimpleUploadedFile):
    """Stands for a file whose token is no longer good. `KeptFileField` refuses it."""


def receive(request: HttpRequest, name: str, max_bytes: int) -> UploadedFile[bytes] | None:
    """Take the file of that field: the one that was sent, or else the one that was kept.

    It is put into `request.FILES`. A file of more than `max_bytes` is not kept: the form
    refuses it.
    """
    posted = request.POST
    sent: Any = request.FILES.get(name)
    if not isinstance(sent, UploadedFile):
        token = posted.get(name + KEPT_SUFFIX, "")
        if not token or posted.get(name + LEAVE_OUT_SUFFIX):
            return None
        sent = _redeemed(token, request.user.pk)
        request.FILES[name] = sent
    file: UploadedFile[bytes] = sent
    if not isinstance(file, LostUpload) and (file.size or 0) <= max_bytes:
        _keep(file, request.user.pk)
    return file


def discard(file: UploadedFile[bytes]) -> None:
    """Remove what is kept of it: the form is saved, or the file itself was refused."""
    if token := token_of(file):
        _path(signing.loads(token, salt=_SALT)[0]).unlink(missing_ok=True)
        file.kept_token = ""  # type: ignore[attr-defined]  # noted on the file


def token_of(file: object) -> str:
    """The token that the form carries; empty if no file is kept."""
    return str(getattr(file, "kept_token", ""))


def tidy() -> int:
    """Remove what is older than an hour, and the oldest of too many. Returns how many."""
    folder = _folder()
    if not folder.is_dir():
        return 0
    aged: list[tuple[float, Path]] = []
    for path in folder.iterdir():
        try:
            aged.append((path.stat().st_mtime, path))
        except FileNotFoundError:
            continue
    aged.sort(reverse=True)
    oldest = time.time() - MAX_AGE_S
    gone = [path for at, path in aged if at < oldest]
    kept = [path for at, path in aged if at >= oldest]
    users: dict[str, int] = {}
    for place, path in enumerate(kept):
        user = path.name.partition("-")[0]
        users[user] = users.get(user, 0) + 1
        if users[user] > MAX_FILES_PER_USER or place >= MAX_FILES:
            gone.append(path)
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "form-uploads"


def _path(stored: str) -> Path:
    return _folder() / stored


def _keep(file: Any, user: object) -> None:
    """Write it to the disk, or renew the time of one that is there."""
    stored = getattr(file, "stored", "") or f"{user}-{secrets.token_hex(16)}"
    try:
        _write(file, _path(stored))
        tidy()
    except OSError as error:
        # The form works without it: after a fault the file has to be chosen again.
        log.warning("form_upload.not_kept", error=str(error))
        return
    # Django has left what can't be printed out of the name.
    file.kept_token = signing.dumps([stored, file.name, file.content_type or ""], salt=_SALT)


def _write(file: UploadedFile[bytes], path: Path) -> None:
    if path.exists():
        os.utime(path)
        return
    private_folder(path.parent)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as out:
            out.writelines(_chunks(file))
    except OSError:
        path.unlink(missing_ok=True)
        raise
    file.seek(0)


def _chunks(file: UploadedFile[bytes]) -> Iterable[bytes]:
    file.seek(0)
    return file.chunks(_CHUNK_BYTES)


def _redeemed(token: str, user: object) -> KeptUpload | LostUpload:
    """The file of that token, if it is that user's and still there."""
    try:
        stored, name, kind = signing.loads(token, salt=_SALT, max_age=MAX_AGE_S)
        if stored.partition("-")[0] != str(user):
            return LostUpload("lost", b"")
        upload = KeptUpload(name, _path(stored).read_bytes(), kind)
    except (signing.BadSignature, OSError):
        return LostUpload("lost", b"")
    upload.stored = stored  # type: ignore[attr-defined]  # noted on the file
    return upload


class KeptFileInput(forms.FileInput):
    """A file's input that also names the file that is kept. A theme's own comes after it."""

    def render(
        self, name: str, value: object, attrs: Any = None, renderer: Any = None
    ) -> SafeString:
        token = token_of(value)
        attrs = dict(attrs or {})
        if not token:
            return super().render(name, value, attrs, renderer)
        # Otherwise the browser would demand another one.
        needed = attrs.pop("required", False)
        context = {"name": name, "token": token, "needed": needed, "file": value}
        more = render_to_string("streamsite/kept_file.html", context)
        return SafeString(super().render(name, value, attrs, renderer) + more)


class KeptFileField(forms.FileField):
    """A file's field that says when a file is kept no longer."""

    widget = KeptFileInput

    def bound_data(self, data: Any, initial: Any) -> Any:
        return data if token_of(data) else super().bound_data(data, initial)

    def to_python(self, data: Any) -> Any:
        if isinstance(data, LostUpload):
            raise forms.ValidationError(
                "The file that was chosen before is kept no longer: choose it again."
            )
        return super().to_python(data)
