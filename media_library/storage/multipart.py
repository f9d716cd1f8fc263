"""Uploads in parts. A client, usually a browser, sends each part."""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from django.conf import settings
from django.utils import timezone

from media_library.storage.backends import (
    MAX_KEY_BYTES,
    URL_LIFETIME_S,
    checked,
    client,
    folder_path,
    is_local,
    make_folder,
)
from media_library.storage.errors import (
    NotInStorageError,
    StorageError,
    TakenError,
    WrongKeyError,
    WrongSizeError,
    code_of,
    storage_errors,
)
from media_library.storage.list_objects import UPLOADS
from media_library.storage.objects import Facts, content_type, facts, signed
from streamsite.security.secret import Secret

MEBIBYTE: Final = 1024 * 1024
#: Bytes: S3 requires 5 MiB at least; larger parts mean fewer requests.
MIN_PART_BYTES: Final = 8 * MEBIBYTE
#: Maximum of S3 and R2.
MAX_PARTS: Final = 10_000
#: Maximum size of an object in bytes, in S3 and R2.
MAX_OBJECT_BYTES: Final = 5 * 1024**4
#: Age after which an unfinished upload is removed: it costs space until then.
STALE_UPLOAD_AGE: Final = timedelta(days=7)
#: Upload ids of a local storage are directory names: nothing else may come from a browser.
_FOLDER_ID: Final = re.compile(r"[0-9a-f]{32}")
_CHUNK: Final = MEBIBYTE
#: Errors of file systems without hard links: FAT, some network file systems.
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """Parts are numbered from 1; all have `part_bytes` except the last, which has the rest."""

    key: str
    upload_id: str
    part_bytes: int
    parts: int
    size_bytes: int

    def bytes_of(self, number: int) -> int:
        """Returns the size of a part in bytes. Raises `ValueError` if there is no such part."""
        if not 1 <= number <= self.parts:
            raise ValueError(f"There is no part {number} of {self.parts}.")
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)


def begin_upload(key: str, size_bytes: int) -> MultipartUpload:
    """Starts an upload. The key stays free, or keeps its object, until the upload is finished.

    Raises `WrongKeyError`, `WrongSizeError`, `StorageError`.
    """
    if len(checked(key).encode()) > MAX_KEY_BYTES or key.endswith("/"):
        raise WrongKeyError(f"{key[:80]!r} is too long for a name, or ends in '/'.")
    if size_bytes <= 0:
        raise WrongSizeError(f"{key} is empty: there is nothing to upload.")
    if size_bytes > MAX_OBJECT_BYTES:
        raise WrongSizeError(f"{key} is larger than 5 TiB: no bucket accepts it.")
    part = max(MIN_PART_BYTES, -(-size_bytes // MAX_PARTS // MEBIBYTE) * MEBIBYTE)
    parts = -(-size_bytes // part)
    with storage_errors(key):
        if is_local():
            upload_id = _begin_in_folder(key, size_bytes)
        else:
            params = {"Bucket": settings.STORAGE_BUCKET, "Key": key, **content_type(key)}
            upload_id = client().create_multipart_upload(**params)["UploadId"]
    return MultipartUpload(key, upload_id, part, parts, size_bytes)


def part_url(upload: MultipartUpload, number: int, *, seconds: int = URL_LIFETIME_S) -> Secret:
    """Returns the URL to PUT the part to, without extra headers. Only for a bucket."""
    upload.bytes_of(number)
    if is_local():
        raise StorageError("Parts for a folder are sent to streamsite itself.")
    params = {
        "Key": checked(upload.key),
        "UploadId": upload.upload_id,
        "PartNumber": number,
    }
    return signed("upload_part", params, seconds)


def store_part(upload: MultipartUpload, number: int, content: bytes | BinaryIO) -> None:
    """Stores one part; repeating it is safe. Raises `StorageError` if its length is wrong."""
    length = upload.bytes_of(number)
    stream = BytesIO(content) if isinstance(content, bytes) else content
    with storage_errors(upload.key):
        if is_local():
            _store_in_folder(upload, number, stream, length)
            return
        body = stream.read(length + 1)
        if len(body) != length:
            raise _wrong_length(upload, number)
        client().upload_part(**_named(upload), PartNumber=number, Body=body)


def finish_upload(upload: MultipartUpload) -> Facts:
    """Assembles the parts under the key. Raises `StorageError` if one is missing.

    Never overwrites: raises `TakenError` if another object took the key meanwhile. A second
    call after a lost answer returns the same result.
    """
    if is_local():
        with storage_errors(upload.key):
            _finish_in_folder(upload)
        return facts(upload.key)
    with storage_errors(upload.key):
        _finish_in_bucket(upload)
    try:
        stored = facts(upload.key)
    except NotInStorageError:
        raise StorageError(_UNKNOWN.format(key=upload.key)) from None
    if stored.size_bytes != upload.size_bytes:
        raise StorageError(
            f"{upload.key} has {stored.size_bytes} bytes in the storage instead of "
            f"{upload.size_bytes}: upload it again."
        )
    return stored


def abort_upload(upload: MultipartUpload) -> None:
    """Removes the parts; an upload that is over is no error. Raises `StorageError`."""
    with storage_errors(upload.key):
        if is_local():
            shutil.rmtree(_upload_folder(upload.upload_id), ignore_errors=True)
            return
        try:
            client().abort_multipart_upload(**_named(upload))
        except ClientError as error:
            if code_of(error) not in {"NoSuchUpload", "404"}:
                raise


def abort_stale_uploads(older_than: timedelta = STALE_UPLOAD_AGE) -> int:
    """Removes unfinished uploads older than that; returns how many. Raises `StorageError`."""
    stale = 0
    with storage_errors(""):
        if is_local():
            limit = time.time() - older_than.total_seconds()
            home = Path(settings.MEDIA_ROOT) / UPLOADS
            for folder in list(home.iterdir()) if home.is_dir() else []:
                if folder.stat().st_mtime < limit:
                    shutil.rmtree(folder)
                    stale += 1
            return stale
        before = timezone.now() - older_than
        pages = client().get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=settings.STORAGE_BUCKET):
            for entry in page.get("Uploads", []):
                if entry["Initiated"] < before:
                    abort_upload(MultipartUpload(entry["Key"], entry["UploadId"], 0, 0, 0))
                    stale += 1
    return stale


def origin() -> str:
    """Returns the origin of a browser's uploads, for the page's policy; "": no bucket."""
    if is_local():
        return ""
    address = urlsplit(signed("get_object", {"Key": "a"}, 1).reveal())
    return f"{address.scheme}://{address.netloc}"


# ---- in a bucket -----------------------------------------------------------------------------


def _named(upload: MultipartUpload) -> dict[str, str]:
    return {
        "Bucket": settings.STORAGE_BUCKET,
        "Key": checked(upload.key),
        "UploadId": upload.upload_id,
    }


def _finish_in_bucket(upload: MultipartUpload) -> None:
    try:
        parts = list(_stored(upload))
        _all_there(upload, {number: size for number, size, _ in parts})
        _complete(upload, [{"PartNumber": number, "ETag": etag} for number, _, etag in parts])
    except ClientError as error:
        # It was finished before; the size of the object decides.
        if code_of(error) != "NoSuchUpload":
            raise


def _complete(upload: MultipartUpload, parts: list[dict[str, Any]]) -> None:
    params = {**_named(upload), "MultipartUpload": {"Parts": parts}}
    try:
        client().complete_multipart_upload(**params, IfNoneMatch="*")
    except ClientError as error:
        match code_of(error):
            case "NotImplemented" | "501":
                # The server does not know this header (S3 has it since 2024).
                client().complete_multipart_upload(**params)
            case "PreconditionFailed" | "412":
                # boto3 may have sent it twice and met the result of the first request; then the
                # parts are gone, and this raises NoSuchUpload.
                list(_stored(upload))
                raise _taken(upload) from None
            case _:
                raise


def _taken(upload: MultipartUpload) -> TakenError:
    return TakenError(f"Another “{upload.key}” was stored meanwhile.")


def _stored(upload: MultipartUpload) -> Iterator[tuple[int, int, str]]:
    # Read from the bucket, so that browsers need no access to the ETags (CORS).
    for page in client().get_paginator("list_parts").paginate(**_named(upload)):
        for part in page.get("Parts", []):
            yield part["PartNumber"], part["Size"], part["ETag"]


def _all_there(upload: MultipartUpload, sizes: dict[int, int]) -> None:
    for number in range(1, upload.parts + 1):
        if number not in sizes:
            raise StorageError(f"{upload.key}: part {number} is missing. Send it again.")
        if sizes[number] != upload.bytes_of(number):
            raise _wrong_length(upload, number)


def _wrong_length(upload: MultipartUpload, number: int) -> StorageError:
    return StorageError(
        f"{upload.key}: part {number} must have {upload.bytes_of(number)} bytes. Send it again."
    )


# ---- in a folder -----------------------------------------------------------------------------


def _upload_folder(upload_id: str) -> Path:
    if not _FOLDER_ID.fullmatch(upload_id):
        raise WrongKeyError("That is no upload of this folder.")
    return Path(settings.MEDIA_ROOT) / UPLOADS / upload_id


def _begin_in_folder(key: str, size_bytes: int) -> str:
    folder_path(key)
    if shutil.disk_usage(settings.MEDIA_ROOT).free < size_bytes:
        raise StorageError(f"The media folder has no space for {key}: free some space first.")
    upload_id = token_hex(16)
    place = _upload_folder(upload_id)
    make_folder(place)
    (place / "content").touch()
    return upload_id


def _store_in_folder(
    upload: MultipartUpload, number: int, stream: BinaryIO, length: int
) -> None:
    place = _upload_folder(upload.upload_id)
    try:
        handle = os.open(place / "content", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StorageError(_UNKNOWN.format(key=upload.key)) from None
    # Several parts are written at once, each at its own offset of the one file.
    with os.fdopen(handle, "wb") as out:
        out.seek((number - 1) * upload.part_bytes)
        left = length
        while left and (chunk := stream.read(min(_CHUNK, left))):
            out.write(chunk)
            left -= len(chunk)
    if left or stream.read(1):
        raise _wrong_length(upload, number)
    # An empty file marks the part as complete; its name is the part's number.
    (place / str(number)).touch()


def _finish_in_folder(upload: MultipartUpload) -> None:
    place = _upload_folder(upload.upload_id)
    target = folder_path(upload.key)
    if not place.is_dir():
        if target.is_file() and target.stat().st_size == upload.size_bytes:
            return
        raise StorageError(_UNKNOWN.format(key=upload.key))
    whole = {int(path.name) for path in place.iterdir() if path.name.isdecimal()}
    _all_there(upload, {number: upload.bytes_of(number) for number in whole})
    make_folder(target.parent)
    _move(place / "content", target, upload)
    shutil.rmtree(place)


def _move(content: Path, target: Path, upload: MultipartUpload) -> None:
    """Tries a hard link first: unlike a rename it never replaces another file."""
    try:
        os.link(content, target)
    except FileExistsError:
        # It is our own link, if the process was killed right after it was made.
        if not target.samefile(content):
            raise _taken(upload) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            raise _taken(upload) from None
        content.replace(target)


_UNKNOWN: Final = "{key}: this upload is finished or was cancelled. Start it again."
