"""Objects of the storage: their locations, their facts, reading and writing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from tempfile import mkstemp
from typing import Any, cast

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from media_library.location import LocalFile, Location, SignedUrl
from media_library.storage.backends import (
    MAX_URL_LIFETIME_S,
    URL_LIFETIME_S,
    checked,
    client,
    folder_path,
    is_local,
    make_folder,
)
from media_library.storage.errors import (
    ChangedError,
    NotInStorageError,
    StorageError,
    code_of,
    storage_errors,
)
from streamsite.security.secret import Secret


@dataclass(frozen=True, slots=True)
class Facts:
    """Size and etag of an object in the storage. The etag changes whenever its content does."""

    size_bytes: int
    etag: str


def locate(key: str, *, seconds: int = URL_LIFETIME_S) -> Location:
    """Returns the location of the object's bytes for a player. Signing needs no network.

    A signed URL is valid for `seconds`, a week at most. Does not check that the object exists.
    Raises `WrongKeyError`.
    """
    if is_local():
        return LocalFile(folder_path(key))
    return SignedUrl(signed("get_object", {"Key": checked(key)}, seconds))


def signed(call: str, params: dict[str, Any], seconds: int) -> Secret:
    """Returns a signed URL for one call on the bucket, valid for a week at most."""
    return Secret(
        client().generate_presigned_url(
            call,
            Params={"Bucket": settings.STORAGE_BUCKET, **params},
            ExpiresIn=max(1, min(seconds, MAX_URL_LIFETIME_S)),
        )
    )


def exists(key: str) -> bool:
    try:
        facts(key)
    except NotInStorageError:
        return False
    return True


def folder_etag(stat: os.stat_result) -> str:
    # A folder has no etags: modification time and size are used, as in nginx.
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def facts(key: str, *, brisk: bool = False) -> Facts:
    """Returns size and etag of an object. Raises `NotInStorageError`, `StorageError`.

    `brisk`: one try, 3 s to connect and 6 s for an answer.
    """
    if is_local():
        path = folder_path(key)
        with storage_errors(key):
            if not path.is_file():
                raise NotInStorageError(f"{key} is not in the media folder.")
            stat = path.stat()
        return Facts(stat.st_size, folder_etag(stat))
    with storage_errors(key):
        head = client(brisk=brisk).head_object(Bucket=settings.STORAGE_BUCKET, Key=checked(key))
        return Facts(head["ContentLength"], head["ETag"].strip('"'))


def upload(
    source: Path,
    key: str,
    *,
    consume: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Stores a local file under the key atomically; `consume` moves the file.

    Large files are sent in parts; `progress` is called with the bytes of each chunk, from any
    thread. Raises `WrongKeyError`, `StorageError`.
    """
    if is_local():
        _store_in_folder(source, folder_path(key), consume=consume)
        if progress is not None:
            progress(folder_path(key).stat().st_size)
        return
    from boto3.exceptions import S3UploadFailedError  # noqa: PLC0415 - see `backends`

    with storage_errors(key):
        try:
            client().upload_file(
                str(source),
                settings.STORAGE_BUCKET,
                checked(key),
                ExtraArgs=content_type(key),
                Callback=progress,
            )
        except S3UploadFailedError as error:
            # boto3 wraps errors of uploads, for compatibility with old callers.
            if isinstance(error.__context__, ClientError | BotoCoreError):
                raise error.__context__ from None
            raise StorageError(f"{key} could not be uploaded: try again.") from None
    if consume:
        source.unlink(missing_ok=True)


def content_type(key: str) -> dict[str, str]:
    """Returns the content type for boto3; empty if the name does not determine it."""
    kind, _ = guess_type(key)
    return {"ContentType": kind} if kind else {}


def download(key: str, target: Path) -> None:
    """Writes the object to a local path atomically. Raises `StorageError`."""
    if is_local():
        source = folder_path(key)
        if not source.is_file():
            raise NotInStorageError(f"{key} is not in the media folder.")
        _store_in_folder(source, target, consume=False)
        return
    with _draft(target) as draft, storage_errors(key):
        client().download_file(settings.STORAGE_BUCKET, checked(key), str(draft))


def read(key: str, start: int, length: int, *, etag: str = "", brisk: bool = False) -> bytes:
    """Returns up to `length` bytes from offset `start`; fewer at the end, none behind it.

    With an etag the bytes belong to that content: raises `ChangedError` if the object has
    changed. `brisk`: one try, given up after 6 s without a byte. Raises `NotInStorageError`,
    `StorageError`.
    """
    if start < 0 or length <= 0:
        raise ValueError(f"No range: {length} bytes from {start}.")
    if is_local():
        path = folder_path(key)
        with storage_errors(key):
            if not path.is_file():
                raise NotInStorageError(f"{key} is not in the media folder.")
            with path.open("rb") as file:
                if etag and folder_etag(os.fstat(file.fileno())) != etag:
                    raise ChangedError(key)
                file.seek(start)
                return file.read(length)
    headers: dict[str, str] = {"Range": f"bytes={start}-{start + length - 1}"}
    if etag:
        headers["IfMatch"] = f'"{etag}"'
    with storage_errors(key):
        try:
            answer = client(brisk=brisk).get_object(
                Bucket=settings.STORAGE_BUCKET, Key=checked(key), **headers
            )
            with closing(answer["Body"]) as body:
                return cast("bytes", body.read())
        except ClientError as error:
            if code_of(error) in {"InvalidRange", "416"}:
                return b""
            raise


def delete(key: str) -> None:
    """Removes the object; a missing one is no error. Raises `StorageError`."""
    if is_local():
        with storage_errors(key):
            folder_path(key).unlink(missing_ok=True)
        return
    with storage_errors(key):
        client().delete_object(Bucket=settings.STORAGE_BUCKET, Key=checked(key))


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Creates a file beside the target that replaces it when the block succeeds."""
    make_folder(target.parent)
    handle, name = mkstemp(dir=target.parent, prefix=".", suffix=".part")
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _store_in_folder(source: Path, target: Path, *, consume: bool) -> None:
    with storage_errors(target.name):
        if consume and target.parent.is_dir() and _same_disk(source, target.parent):
            source.replace(target)
            return
        with _draft(target) as draft:
            shutil.copyfile(source, draft)
        if consume:
            source.unlink(missing_ok=True)


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
