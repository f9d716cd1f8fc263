"""The one door to the storage: R2, S3 or a local folder.

Nothing else in the project opens a bucket or joins a key to a folder.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Final, cast

from boto3.exceptions import S3UploadFailedError
from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, Storage, default_storage
from storages.backends.s3 import S3Storage

from media_library.location import LocalFile, Location, SignedUrl
from streamsite.secret import Secret

logger = logging.getLogger(__name__)

#: Seconds a signed URL is good for: longer than an item plays, shorter than the week S3 allows.
URL_LIFE: Final = 24 * 3600
#: Seconds to connect and to wait for bytes, when a transfer is worth some patience.
PATIENT: Final = (10, 60)
#: The same when a person waits for the answer.
BRISK: Final = (3, 6)


class StorageError(Exception):
    """The storage can't do what was asked. `str()` of it is a sentence for the operator."""

    #: True where trying again can't help: a wrong key, a missing object.
    permanent = False


class WrongKeyError(StorageError):
    """A key that names nothing inside the storage: empty, absolute, or climbing out of it."""

    permanent = True


class NotInStorageError(StorageError):
    """No object has that key."""

    permanent = True


class ChangedError(StorageError):
    """The object is another one than the etag asked for: look at it anew."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Facts:
    """What the storage says of an object. The etag changes whenever its content does."""

    size_bytes: int
    etag: str


def _config(patience: tuple[int, int], attempts: int) -> Config:
    connect, read = patience
    return Config(
        signature_version="s3v4",
        # R2 and most S3 servers but Amazon's want the bucket in the path.
        s3={"addressing_style": "path" if settings.STORAGE_ENDPOINT_URL else "auto"},
        # boto3 >= 1.36 sends a CRC32 with everything unless told not to; R2 answers with 501.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=connect,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )


def _region() -> str:
    if settings.STORAGE_PROVIDER == "cloudflare":
        return settings.STORAGE_REGION or "auto"
    return settings.STORAGE_REGION or "us-east-1"


class BucketStorage(S3Storage):  # type: ignore[misc]
    """A private bucket at R2 or S3. Every URL it hands out is signed."""

    def __init__(self) -> None:
        super().__init__(
            bucket_name=settings.STORAGE_BUCKET,
            access_key=settings.STORAGE_ACCESS_KEY_ID,
            secret_key=settings.STORAGE_SECRET_ACCESS_KEY.reveal(),
            endpoint_url=settings.STORAGE_ENDPOINT_URL or None,
            region_name=_region(),
            client_config=_config(PATIENT, 4),
            querystring_auth=True,
            querystring_expire=URL_LIFE,
            default_acl=None,
            file_overwrite=True,
        )


class FolderStorage(FileSystemStorage):
    """The folder of STORAGE_PROVIDER=local."""

    def __init__(self) -> None:
        super().__init__(location=settings.MEDIA_ROOT)


def open_storage() -> Storage:
    """The storage of STORAGE_PROVIDER: the backend of STORAGES["default"]."""
    return FolderStorage() if settings.STORAGE_PROVIDER == "local" else BucketStorage()


def _checked(key: str) -> str:
    parts = key.split("/")
    if not key or "\0" in key or key.startswith("/") or ".." in parts or "." in parts:
        raise WrongKeyError(
            f"{key!r} is no key of the storage: give a file's name in it, as shows/a.mp4."
        )
    return key


def _folder_path(key: str) -> Path:
    try:
        return Path(default_storage.path(_checked(key)))
    except SuspiciousFileOperation:
        raise WrongKeyError(f"{key!r} is outside the media folder: move the file in.") from None


def _is_local() -> bool:
    return bool(settings.STORAGE_PROVIDER == "local")


def _bucket() -> Any:
    return cast("BucketStorage", default_storage).bucket


def locate(key: str) -> Location:
    """Where a player finds the object's bytes. Signing is done here and now, without network.

    Raises `WrongKeyError`. That the object exists is not looked up.
    """
    if _is_local():
        return LocalFile(_folder_path(key))
    return SignedUrl(Secret(default_storage.url(_checked(key))))


def exists(key: str) -> bool:
    try:
        facts(key)
    except NotInStorageError:
        return False
    return True


def _folder_etag(stat: os.stat_result) -> str:
    # A folder has no etags: size and time of change stand in, as in nginx.
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def facts(key: str) -> Facts:
    """Size and etag of an object. Raises `NotInStorageError`, `StorageError`."""
    if _is_local():
        path = _folder_path(key)
        with _told(key):
            if not path.is_file():
                raise NotInStorageError(f"{key} is not in the media folder.")
            stat = path.stat()
        return Facts(stat.st_size, _folder_etag(stat))
    with _told(key):
        head = _bucket().Object(_checked(key))
        return Facts(head.content_length, head.e_tag.strip('"'))


def upload(source: Path, key: str, *, consume: bool = False) -> None:
    """Store a local file under the key, whole or not at all; `consume` gives the file away.

    Raises `WrongKeyError`, `StorageError`.
    """
    if _is_local():
        _store_in_folder(source, _folder_path(key), consume=consume)
        return
    with _told(key):
        _bucket().upload_file(str(source), _checked(key))
    if consume:
        source.unlink(missing_ok=True)


def download(key: str, target: Path) -> None:
    """Write the object to a local path, whole or not at all. Raises `StorageError`."""
    if _is_local():
        source = _folder_path(key)
        if not source.is_file():
            raise NotInStorageError(f"{key} is not in the media folder.")
        _store_in_folder(source, target, consume=False)
        return
    with _draft(target) as draft, _told(key):
        _bucket().download_file(_checked(key), str(draft))


def read(key: str, start: int, length: int, *, etag: str = "") -> bytes:
    """Up to `length` bytes from offset `start`; fewer at the object's end, none behind it.

    With an etag the bytes are of that content: raises `ChangedError` when the object is
    another one by now. Raises `NotInStorageError`, `StorageError`.
    """
    if start < 0 or length <= 0:
        raise ValueError(f"No range: {length} bytes from {start}.")
    if _is_local():
        path = _folder_path(key)
        with _told(key):
            if not path.is_file():
                raise NotInStorageError(f"{key} is not in the media folder.")
            with path.open("rb") as file:
                if etag and _folder_etag(os.fstat(file.fileno())) != etag:
                    raise ChangedError(_CHANGED.format(key=key))
                file.seek(start)
                return file.read(length)
    wanted: dict[str, str] = {"Range": f"bytes={start}-{start + length - 1}"}
    if etag:
        wanted["IfMatch"] = f'"{etag}"'
    with _told(key):
        try:
            answer = _bucket().Object(_checked(key)).get(**wanted)
            with closing(answer["Body"]) as body:
                return cast("bytes", body.read())
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"InvalidRange", "416"}:
                return b""
            raise


_CHANGED: Final = "{key} was changed in the storage: it has to be looked into again."


def delete(key: str) -> None:
    """Remove the object; one that is gone already is no error. Raises `StorageError`."""
    with _told(key):
        default_storage.delete(_checked(key))


def unreachable() -> str:
    """Why the storage can't be used, with what to do; empty when all is well.

    Bounded: 3 s to connect and 6 s for the answer, tried once.
    """
    if _is_local():
        return _folder_fault(Path(settings.MEDIA_ROOT))
    client = Session().client(
        "s3",
        aws_access_key_id=settings.STORAGE_ACCESS_KEY_ID,
        aws_secret_access_key=settings.STORAGE_SECRET_ACCESS_KEY.reveal(),
        endpoint_url=settings.STORAGE_ENDPOINT_URL or None,
        region_name=_region(),
        config=_config(BRISK, 1),
    )
    try:
        # A listing, not HEAD: the answer to HEAD has no body, so it can't say what is wrong.
        client.list_objects_v2(Bucket=settings.STORAGE_BUCKET, MaxKeys=1)
    except (BotoCoreError, ClientError) as error:
        return sentence(error)
    finally:
        client.close()
    return ""


def sentence(error: BotoCoreError | ClientError) -> str:
    """What an error of the bucket means for the operator. Nothing secret is in it."""
    where = settings.STORAGE_ENDPOINT_URL or "Amazon S3"
    match error:
        case ClientError():
            return _refusal(error.response.get("Error", {}).get("Code", ""))
        case ConnectTimeoutError() | ReadTimeoutError():
            return f"The storage at {where} does not answer in time: see if the network is up."
        case SSLError():
            return (
                f"The storage at {where} has no certificate this machine trusts: look at "
                "STORAGE_ENDPOINT_URL and at the clock."
            )
        case EndpointConnectionError():
            return (
                f"The storage at {where} can't be reached: look at STORAGE_ENDPOINT_URL and at "
                "the network."
            )
        case NoCredentialsError():
            return "Set STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY."
        case _:
            return f"The storage at {where} can't be used ({type(error).__name__})."


#: Codes of S3 and R2 in their error answers, and what each asks of the operator.
_REFUSALS: Final = {
    "InvalidAccessKeyId": "does not know STORAGE_ACCESS_KEY_ID: copy the key again.",
    "Unauthorized": "refuses the credentials: copy STORAGE_ACCESS_KEY_ID and the secret again.",
    "SignatureDoesNotMatch": "refuses STORAGE_SECRET_ACCESS_KEY: copy the secret again.",
    "AccessDenied": "denies the key this bucket: give the key read and write rights to it.",
    "403": "denies the key this bucket: give the key read and write rights to it.",
    "RequestTimeTooSkewed": "says this machine's clock is wrong: set it, by NTP at best.",
    "NoSuchBucket": "has no such bucket: look at STORAGE_BUCKET.",
    "404": "has no such bucket: look at STORAGE_BUCKET.",
    "PermanentRedirect": "keeps this bucket elsewhere: look at STORAGE_REGION.",
    "AuthorizationHeaderMalformed": "keeps this bucket elsewhere: look at STORAGE_REGION.",
    "301": "keeps this bucket elsewhere: look at STORAGE_REGION.",
    "SlowDown": "asks to slow down: try again in a minute.",
    "ServiceUnavailable": "is out of order for the moment: try again in a minute.",
}


def _refusal(code: str) -> str:
    where = settings.STORAGE_ENDPOINT_URL or "Amazon S3"
    said = _REFUSALS.get(code, f"answers {code or 'with an error'}.")
    return f"The storage at {where} {said}"


def _folder_fault(folder: Path) -> str:
    if not folder.is_dir():
        return f"The media folder {folder} does not exist: make it, or set MEDIA_FOLDER."
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"The media folder {folder} can't be read and written: change its rights."
    return ""


@contextmanager
def _told(key: str) -> Iterator[None]:
    """Turn what boto3 and the system raise into a sentence; the cause is not shown to anyone.

    A cause may hold a signed URL, so it is dropped, not chained.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in {"404", "NoSuchKey"}:
            raise NotInStorageError(f"{key} is not in the bucket.") from None
        if code in {"412", "PreconditionFailed"}:
            raise ChangedError(_CHANGED.format(key=key)) from None
        raise StorageError(sentence(error)) from None
    except BotoCoreError as error:
        raise StorageError(sentence(error)) from None
    except S3UploadFailedError as error:
        # boto3 wraps what an upload met, for callers of ten years ago.
        cause = error.__context__
        if isinstance(cause, ClientError | BotoCoreError):
            raise StorageError(sentence(cause)) from None
        raise StorageError(f"{key} could not be uploaded: try again.") from None
    except OSError as error:
        raise StorageError(f"{key}: {error.strerror or error}.") from None


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A new file beside the target that takes its place when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
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
    with _told(target.name):
        if consume and target.parent.is_dir() and _same_disk(source, target.parent):
            source.replace(target)
            return
        with _draft(target) as draft:
            shutil.copyfile(source, draft)
        if consume:
            source.unlink(missing_ok=True)


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
