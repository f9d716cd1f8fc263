"""The two kinds of storage, opened from the settings, and the check of keys."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

from boto3.session import Session
from botocore.config import Config
from botocore.session import get_session
from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.storage import FileSystemStorage, Storage, default_storage
from storages.backends.s3 import S3Storage

from media_library.storage.errors import StorageError, WrongKeyError

#: Lifetime of a signed URL in seconds: longer than an item plays, shorter than the week below.
URL_LIFETIME_S: Final = 24 * 3600
#: Seconds. S3 and R2 accept no more, and boto3 signs more without an error.
MAX_URL_LIFETIME_S: Final = 7 * 24 * 3600
#: Timeouts in seconds to connect and to wait for bytes, for transfers.
TRANSFER_TIMEOUTS_S: Final = (10, 60)
#: The same timeouts while a person waits for the answer.
BRISK_TIMEOUTS_S: Final = (3, 6)
#: Maximum length of a key in bytes, in S3 and R2.
MAX_KEY_BYTES: Final = 1024


def _config(timeouts_s: tuple[int, int], attempts: int) -> Config:
    connect, read = timeouts_s
    return Config(
        signature_version="s3v4",
        # R2 and most S3 servers except Amazon's expect the bucket in the path.
        s3={"addressing_style": "path" if settings.STORAGE_ENDPOINT_URL else "auto"},
        # boto3 >= 1.36 sends a CRC32 with every request by default; R2 answers that with 501.
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


class BucketStorage(S3Storage):  # type: ignore[misc]  # the parent has no types
    """A private bucket at R2 or S3. All its URLs are signed."""

    def __init__(self) -> None:
        super().__init__(
            bucket_name=settings.STORAGE_BUCKET,
            access_key=settings.STORAGE_ACCESS_KEY_ID,
            secret_key=settings.STORAGE_SECRET_ACCESS_KEY.reveal(),
            endpoint_url=settings.STORAGE_ENDPOINT_URL or None,
            region_name=_region(),
            client_config=_config(TRANSFER_TIMEOUTS_S, 4),
            querystring_auth=True,
            querystring_expire=URL_LIFETIME_S,
            default_acl=None,
            file_overwrite=True,
        )

    @cached_property
    def brisk(self) -> Any:
        """A client with short timeouts, for callers that can't wait."""
        return own_client(BRISK_TIMEOUTS_S, 1)


class FolderStorage(FileSystemStorage):
    """The folder of STORAGE_PROVIDER=local."""

    def __init__(self) -> None:
        super().__init__(location=settings.MEDIA_ROOT)


def open_storage() -> Storage:
    """The storage of STORAGE_PROVIDER: the backend of STORAGES["default"]."""
    return FolderStorage() if settings.STORAGE_PROVIDER == "local" else BucketStorage()


def is_local() -> bool:
    return bool(settings.STORAGE_PROVIDER == "local")


def bucket() -> Any:
    return cast("BucketStorage", default_storage).bucket


def client(*, brisk: bool = False) -> Any:
    """Returns the shared client, which keeps keys as they are.

    django-storages turns "a//b" into "a/b".

    """
    if brisk:
        return cast("BucketStorage", default_storage).brisk
    return bucket().meta.client


def own_client(timeouts_s: tuple[int, int], attempts: int, *, dates: bool = True) -> Any:
    """Creates a client for one caller, who closes it. Without `dates`, dates stay text.

    Parsing dates takes botocore 62 ms for a page of 1,000, four fifths of a listing's time.
    """
    # A new botocore session: parser settings belong to the session, and boto3's is shared.
    session = get_session()
    if not dates:
        factory = session.get_component("response_parser_factory")
        factory.set_parser_defaults(timestamp_parser=str)
    return Session(botocore_session=session).client(
        "s3",
        aws_access_key_id=settings.STORAGE_ACCESS_KEY_ID,
        aws_secret_access_key=settings.STORAGE_SECRET_ACCESS_KEY.reveal(),
        endpoint_url=settings.STORAGE_ENDPOINT_URL or None,
        region_name=_region(),
        config=_config(timeouts_s, attempts),
    )


def is_key(key: str) -> bool:
    parts = key.split("/")
    return not (not key or "\0" in key or key.startswith("/") or ".." in parts or "." in parts)


def checked(key: str) -> str:
    if not is_key(key):
        raise WrongKeyError(
            f"{key!r} is no key of the storage: give a file name such as shows/a.mp4."
        )
    return key


def make_folder(folder: Path) -> None:
    """Creates a folder, but never the media folder itself: its disk may be unmounted.

    Files written into a mount point are hidden once the disk is mounted again. Raises
    `StorageError`.
    """
    root = Path(settings.MEDIA_ROOT).absolute()
    if folder.is_relative_to(root) and not root.is_dir():
        raise StorageError(
            f"The media folder {root} does not exist: is its disk mounted? Make it, or set "
            "MEDIA_FOLDER."
        )
    folder.mkdir(parents=True, exist_ok=True)


def folder_path(key: str) -> Path:
    try:
        return Path(default_storage.path(checked(key)))
    except SuspiciousFileOperation:
        raise WrongKeyError(f"{key!r} is outside the media folder: move the file in.") from None
