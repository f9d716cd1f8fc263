"""Objects: where they are, what is known of them, in and out."""

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

from botocore.exceptions import ClientError
from django.conf import settings

from media_library.location import LocalFile, Location, SignedUrl
from media_library.storage.backends import (
    LONGEST_URL_LIFE,
    URL_LIFE,
    bucket,
    checked,
    client,
    folder_path,
    is_local,
    made_in_folder,
)
from media_library.storage.errors import (
    ChangedError,
    NotInStorageError,
    code_of,
    storage_errors,
)
from streamsite.security.secret import Secret


@dataclass(frozen=True, slots=True)
class Facts:
    """What the storage says of an object. The etag changes whenever its content does."""

    size_bytes: int
    etag: str


def locate(key: str, *, seconds: int = URL_LIFE) -> Location:
    """Where a player finds the object's bytes. Signing is done here and now, without network.

    A signed URL is good for that many seconds, a week at most. Raises `WrongKeyError`. That
    the object exists is not looked up.
    """
    if is_local():
        return LocalFile(folder_path(key))
    return SignedUrl(signed("get_object", {"Key": checked(key)}, seconds))


def signed(call: str, wanted: dict[str, Any], seconds: int) -> Secret:
    """The URL of one call on the bucket, for whoever holds it; good for a week at most."""
    return Secret(
        client().generate_presigned_url(
            call,
            Params={"Bucket": settings.STORAGE_BUCKET, **wanted},
            ExpiresIn=max(1, min(seconds, LONGEST_URL_LIFE)),
        )
    )


def exists(key: str) -> bool:
    try:
        facts(key)
    except NotInStorageError:
        return False
    return True


def folder_etag(stat: os.stat_result) -> str:
    # A folder has no etags: size and time of change stand in, as in nginx.
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def facts(key: str, *, brisk: bool = False) -> Facts:
    """Size and etag of an object. Raises `NotInStorageError`, `StorageError`.

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
    """Store a local file under the key, whole or not at all; `consume` gives the file away.

    A large one goes in parts; `progress` is told the bytes of each piece that went, from any
    thread. Raises `WrongKeyError`, `StorageError`.
    """
    if is_local():
        _store_in_folder(source, folder_path(key), consume=consume)
        if progress is not None:
            progress(folder_path(key).stat().st_size)
        return
    with storage_errors(key):
        bucket().upload_file(
            str(source), checked(key), ExtraArgs=content_type(key), Callback=progress
        )
    if consume:
        source.unlink(missing_ok=True)


def content_type(key: str) -> dict[str, str]:
    """What boto3 is told of the kind of the content; nothing where the name doesn't say it."""
    kind, _ = guess_type(key)
    return {"ContentType": kind} if kind else {}


def download(key: str, target: Path) -> None:
    """Write the object to a local path, whole or not at all. Raises `StorageError`."""
    if is_local():
        source = folder_path(key)
        if not source.is_file():
            raise NotInStorageError(f"{key} is not in the media folder.")
        _store_in_folder(source, target, consume=False)
        return
    with _draft(target) as draft, storage_errors(key):
        bucket().download_file(checked(key), str(draft))


def read(key: str, start: int, length: int, *, etag: str = "", brisk: bool = False) -> bytes:
    """Up to `length` bytes from offset `start`; fewer at the object's end, none behind it.

    With an etag the bytes are of that content: raises `ChangedError` when the object is
    another one by now. `brisk`: one try, given up after 6 s without a byte. Raises
    `NotInStorageError`, `StorageError`.
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
    wanted: dict[str, str] = {"Range": f"bytes={start}-{start + length - 1}"}
    if etag:
        wanted["IfMatch"] = f'"{etag}"'
    with storage_errors(key):
        try:
            answer = client(brisk=brisk).get_object(
                Bucket=settings.STORAGE_BUCKET, Key=checked(key), **wanted
            )
            with closing(answer["Body"]) as body:
                return cast("bytes", body.read())
        except ClientError as error:
            if code_of(error) in {"InvalidRange", "416"}:
                return b""
            raise


def delete(key: str) -> None:
    """Remove the object; one that is gone already is no error. Raises `StorageError`."""
    if is_local():
        with storage_errors(key):
            folder_path(key).unlink(missing_ok=True)
        return
    with storage_errors(key):
        bucket().Object(checked(key)).delete()


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A new file beside the target that takes its place when the block ends well."""
    made_in_folder(target.parent)
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
