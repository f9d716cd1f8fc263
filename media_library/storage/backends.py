"""The bucket's clients, opened from the settings; the folder's paths; the check of keys."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.utils._os import safe_join

from media_library.storage.errors import StorageError, WrongKeyError

if TYPE_CHECKING:
    from botocore.config import Config

#: Lifetime of a signed URL in seconds: longer than an item plays, shorter than the week below.
URL_LIFETIME_S: Final = 24 * 3600
#: Seconds. S3 and R2 accept no more, and boto3 signs more without an error.
MAX_URL_LIFETIME_S: Final = 7 * 24 * 3600
#: Timeouts in seconds to connect and to wait for bytes, for transfers.
TRANSFER_TIMEOUTS_S: Final = (10, 60)
#: The same timeouts while a person waits for the answer.
BRISK_TIMEOUTS_S: Final = (3, 6)
#: Connections of one client: threads share it.
MAX_CONNECTIONS: Final = 32
#: Maximum length of a key in bytes, in S3 and R2.
MAX_KEY_BYTES: Final = 1024


def _config(timeouts_s: tuple[int, int], attempts: int) -> Config:
    # Here and below: an installation that plays from a folder saves 14 MB a process.
    from botocore.config import Config  # noqa: PLC0415 - see above

    connect, read = timeouts_s
    return Config(
        signature_version="s3v4",
        # R2 and most S3 servers except Amazon's expect the bucket in the path.
        s3={"addressing_style": "path" if settings.STORAGE_ENDPOINT_URL else "auto"},
        # boto3 >= 1.36 sends a CRC32 with every request by default; R2 answers that with 501.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        connect_timeout=connect,
        max_pool_connections=MAX_CONNECTIONS,
        read_timeout=read,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )


def _region() -> str:
    if settings.STORAGE_PROVIDER == "cloudflare":
        return settings.STORAGE_REGION or "auto"
    return settings.STORAGE_REGION or "us-east-1"


def is_local() -> bool:
    return bool(settings.STORAGE_PROVIDER == "local")


def client(*, brisk: bool = False) -> Any:
    """Returns the shared client; `brisk`: one try, for callers that can't wait."""
    return _shared(
        (BRISK_TIMEOUTS_S, 1) if brisk else (TRANSFER_TIMEOUTS_S, 4),
        settings.STORAGE_ENDPOINT_URL,
        settings.STORAGE_ACCESS_KEY_ID,
        settings.STORAGE_SECRET_ACCESS_KEY,
        _region(),
    )


@lru_cache
def _shared(bounds: tuple[tuple[int, int], int], *_settings: object) -> Any:
    return own_client(*bounds)


def own_client(timeouts_s: tuple[int, int], attempts: int, *, dates: bool = True) -> Any:
    """Creates a client for one caller, who closes it. Without `dates`, dates stay text.

    Parsing dates takes botocore 62 ms for a page of 1,000, four fifths of a listing's time.
    """
    from boto3.session import Session  # noqa: PLC0415 - see `_config`
    from botocore.session import get_session  # noqa: PLC0415 - see `_config`

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
        return Path(safe_join(settings.MEDIA_ROOT, checked(key)))
    except SuspiciousFileOperation:
        raise WrongKeyError(f"{key!r} is outside the media folder: move the file in.") from None
