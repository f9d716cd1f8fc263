"""Files that a browser brings: each gets a free name, arrives in parts, and becomes an item."""

from __future__ import annotations

import unicodedata
from typing import Final

from django.conf import settings
from django.core import signing
from django.db import transaction

from media_library import bell, storage
from media_library.catalogue import title_of
from media_library.models import MediaItem
from media_library.storage import MultipartUpload

#: Bytes of a file's name that are kept: a folder's disk takes 255, and a number is added.
LONGEST_NAME: Final = 200
#: Seconds after which an upload that was begun can't be gone on with.
LIFE: Final = 7 * 24 * 3600
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
    return storage.begin_upload(_free_key(_folder(folder), stem, extension), size_bytes)


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


def _free_key(prefix: str, stem: str, extension: str) -> str:
    short = stem.encode()[: LONGEST_NAME - len(extension)].decode(errors="ignore")
    number = 1
    key = f"{prefix}{short}.{extension}"
    while _taken(key):
        number += 1
        key = f"{prefix}{short} ({number}).{extension}"
    return key


def _taken(key: str) -> bool:
    return MediaItem.objects.filter(key=key).exists() or storage.exists(key)


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
    if storage.exists(upload.key) and storage.facts(upload.key).size_bytes != upload.size_bytes:
        # Not this upload, finished by a request whose answer was lost: somebody else's.
        storage.abort_upload(upload)
        raise UploadError(
            f"Another “{upload.key}” came into the storage meanwhile: upload yours again, it "
            "gets another name."
        )
    facts = storage.finish_upload(upload)
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
            transaction.on_commit(bell.probe)
    return item
