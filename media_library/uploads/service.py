"""Uploads of a browser: each file gets a free name, arrives in parts, and becomes an item."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import count
from typing import Final

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.utils import timezone

from media_library import storage
from media_library.jobs import enqueue
from media_library.models import MediaItem, Reservation
from media_library.models.titles import title_of
from media_library.storage import MultipartUpload, TakenError

#: Bytes of a file's name that are kept: file systems allow 255, and a number may be added.
MAX_NAME_BYTES: Final = 200
#: Seconds after which an upload can't be resumed.
UPLOAD_LIFETIME_S: Final = 7 * 24 * 3600
#: Lifetime of a reservation: longer than its upload can be resumed.
_RESERVATION_LIFETIME: Final = timedelta(seconds=UPLOAD_LIFETIME_S) + timedelta(days=1)
_SALT: Final = "media_library.upload"


class UploadError(Exception):
    """The file can't be accepted. `str()` is a sentence for the uploader."""


def begin(name: str, size_bytes: int, folder: str) -> MultipartUpload:
    """Reserves a key and starts the upload. Raises `UploadError`, `StorageError`."""
    stem, dot, extension = _clean(name).rpartition(".")
    allowed = settings.MEDIA_EXTENSIONS
    if not dot or not stem or extension.lower() not in allowed:
        raise UploadError(
            f"“{name}” is not supported by the library: it accepts "
            f"{', '.join(allowed)} (MEDIA_EXTENSIONS)."
        )
    key = reserve(_names(_folder(folder), stem, extension))
    try:
        upload = storage.begin_upload(key, size_bytes)
    except BaseException:
        release(key)
        raise
    Reservation.objects.filter(key=key).update(upload_id=upload.upload_id)
    return upload


def _clean(name: str) -> str:
    """Returns the name without a path and without unprintable characters."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    return "".join(char for char in last if char.isprintable()).strip(" .")


def _folder(folder: str) -> str:
    """Returns the folder as a prefix of keys: empty, or with a slash. Raises `UploadError`."""
    parts = [_clean(part) for part in folder.split("/") if part.strip()]
    prefix = "".join(f"{part}/" for part in parts)
    if not all(parts) or prefix.startswith((*storage.RESERVED, ".")):
        raise UploadError(f"The folder “{folder}” can't be used: choose another name.")
    return prefix


def _names(prefix: str, stem: str, extension: str) -> Iterator[str]:
    short = stem.encode()[: MAX_NAME_BYTES - len(extension)].decode(errors="ignore")
    yield f"{prefix}{short}.{extension}"
    for number in count(2):
        yield f"{prefix}{short} ({number}).{extension}"


def reserve(keys: Iterable[str]) -> str:
    """Returns the first free key, reserved for the caller until `release`.

    Raises `StorageError`.
    """
    now = timezone.now()
    Reservation.objects.filter(until__lt=now).delete()
    for key in keys:
        if MediaItem.objects.filter(key=key).exists():
            continue
        _, made = Reservation.objects.get_or_create(
            key=key, defaults={"until": now + _RESERVATION_LIFETIME}
        )
        if not made:
            continue
        # Checked again: an earlier holder may have created an item or an object meanwhile.
        try:
            taken = MediaItem.objects.filter(key=key).exists() or storage.exists(key)
        except BaseException:
            release(key)
            raise
        if not taken:
            return key
        release(key)
    raise AssertionError("There is always another number.")


def release(key: str, upload_id: str = "") -> None:
    """Releases the key, if it is still reserved for that upload."""
    Reservation.objects.filter(key=key, upload_id=upload_id).delete()


def abort(upload: MultipartUpload) -> None:
    """Removes the upload, and releases its name. Raises `StorageError`."""
    storage.abort_upload(upload)
    release(upload.key, upload.upload_id)


def ticket(upload: MultipartUpload, user: int) -> str:
    """Returns the signed ticket of a user's upload, which the browser sends with each part."""
    fields = [upload.key, upload.upload_id, upload.part_bytes, upload.parts, upload.size_bytes]
    return signing.dumps([user, *fields], salt=_SALT, compress=True)


def of_ticket(text: str, user: int) -> MultipartUpload:
    """Returns the ticket's upload. Raises `UploadError` if it is forged, foreign, or old."""
    try:
        owner, key, upload_id, part_bytes, parts, size = signing.loads(
            text, salt=_SALT, max_age=UPLOAD_LIFETIME_S
        )
    except signing.BadSignature:
        raise UploadError("This upload is unknown: start it again.") from None
    if owner != user:
        raise UploadError("This upload was started by another user: start it again.")
    return MultipartUpload(key, upload_id, part_bytes, parts, size)


def finish(upload: MultipartUpload) -> MediaItem:
    """Assembles the parts and creates the item. Raises `UploadError`, `StorageError`.

    A second call after a lost answer returns the same result.
    """
    try:
        there = storage.exists(upload.key)
        if there and storage.facts(upload.key).size_bytes != upload.size_bytes:
            # Not this upload, finished by a request whose answer was lost: another object.
            raise TakenError(f"Another “{upload.key}” was stored meanwhile.")  # noqa: TRY301 - one handler for all errors
        facts = storage.finish_upload(upload)
    except TakenError as error:
        abort(upload)
        raise UploadError(f"{error} Upload yours again: it gets another name.") from None
    with transaction.atomic():
        item, made = MediaItem.objects.get_or_create(
            key=upload.key,
            defaults={
                "title": title_of(upload.key),
                "size_bytes": facts.size_bytes,
                "etag": facts.etag,
            },
        )
        if made:
            transaction.on_commit(enqueue.probe)
        release(upload.key, upload.upload_id)
    return item
