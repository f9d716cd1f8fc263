"""Files that a browser brings: each gets a free name, arrives in parts, and becomes an item."""

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

#: Bytes of a file's name that are kept: a folder's disk takes 255, and a number is added.
LONGEST_NAME: Final = 200
#: Seconds after which an upload that was begun can't be gone on with.
LIFE: Final = 7 * 24 * 3600
#: How long a name is kept for a file: longer than its upload can be gone on with.
_KEPT: Final = timedelta(seconds=LIFE) + timedelta(days=1)
_SALT: Final = "media_library.upload"


class UploadError(Exception):
    """The file can't be taken. `str()` of it is a sentence for whoever brings it."""


def begin(name: str, size_bytes: int, folder: str) -> MultipartUpload:
    """Make room for a file of that name. Raises `UploadError`, `StorageError`."""
    stem, dot, extension = _clean(name).rpartition(".")
    allowed = settings.MEDIA_EXTENSIONS
    if not dot or not stem or extension.lower() not in allowed:
        raise UploadError(
            f"“{name}” is no kind of file that the library takes: it takes "
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
    """The name without a path, and without what no listing can show."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    return "".join(each for each in last if each.isprintable()).strip(" .")


def _folder(folder: str) -> str:
    """The folder as a prefix of keys: empty, or ending in a slash. Raises `UploadError`."""
    parts = [_clean(part) for part in folder.split("/") if part.strip()]
    prefix = "".join(f"{part}/" for part in parts)
    if not all(parts) or prefix.startswith((*storage.RESERVED, ".")):
        raise UploadError(f"The folder “{folder}” can't be used: choose another name.")
    return prefix


def _names(prefix: str, stem: str, extension: str) -> Iterator[str]:
    short = stem.encode()[: LONGEST_NAME - len(extension)].decode(errors="ignore")
    yield f"{prefix}{short}.{extension}"
    for number in count(2):
        yield f"{prefix}{short} ({number}).{extension}"


def reserve(keys: Iterable[str]) -> str:
    """The first key that is nobody's, and now the caller's until `release`.

    Raises `StorageError`.
    """
    now = timezone.now()
    Reservation.objects.filter(until__lt=now).delete()
    for key in keys:
        if MediaItem.objects.filter(key=key).exists():
            continue
        _, made = Reservation.objects.get_or_create(key=key, defaults={"until": now + _KEPT})
        if not made:
            continue
        # Asked anew: whoever held it a moment ago has an item by now, or an object.
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
    """Give the key back, if it is still that upload's."""
    Reservation.objects.filter(key=key, upload_id=upload_id).delete()


def abort(upload: MultipartUpload) -> None:
    """Remove what came of it, and free its name. Raises `StorageError`."""
    storage.abort_upload(upload)
    release(upload.key, upload.upload_id)


def ticket(upload: MultipartUpload, user: int) -> str:
    """What the browser shows with each part: this upload, of this user, signed."""
    told = [upload.key, upload.upload_id, upload.part_bytes, upload.parts, upload.size_bytes]
    return signing.dumps([user, *told], salt=_SALT, compress=True)


def of_ticket(text: str, user: int) -> MultipartUpload:
    """Raises `UploadError` for one that is not ours, another user's, or too old."""
    try:
        owner, key, upload_id, part_bytes, parts, size = signing.loads(
            text, salt=_SALT, max_age=LIFE
        )
    except signing.BadSignature:
        raise UploadError("This upload is not known: begin it again.") from None
    if owner != user:
        raise UploadError("This upload was begun by another user: begin it again.")
    return MultipartUpload(key, upload_id, part_bytes, parts, size)


def finish(upload: MultipartUpload) -> MediaItem:
    """Put the parts together and make the item. Raises `UploadError`, `StorageError`.

    Asked a second time, because the first answer was lost, it answers the same.
    """
    try:
        there = storage.exists(upload.key)
        if there and storage.facts(upload.key).size_bytes != upload.size_bytes:
            # Not this upload, finished by a request whose answer was lost: somebody else's.
            raise TakenError(f"Another “{upload.key}” came into the storage meanwhile.")  # noqa: TRY301
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
