"""The only access to the storage: R2, S3 or a local folder.

Nothing else in the project opens a bucket or joins a key to a folder.
"""

from __future__ import annotations

from media_library.storage.backends import (
    BRISK_TIMEOUTS_S,
    MAX_URL_LIFETIME_S,
    TRANSFER_TIMEOUTS_S,
    URL_LIFETIME_S,
    BucketStorage,
    FolderStorage,
    open_storage,
)
from media_library.storage.connection_test import (
    CheckResult,
    examine,
    holds_nothing,
    unreachable,
)
from media_library.storage.errors import (
    ChangedError,
    NotInStorageError,
    StorageError,
    TakenError,
    WrongKeyError,
    sentence,
)
from media_library.storage.list_objects import RESERVED, Listed, listing
from media_library.storage.multipart import (
    MultipartUpload,
    abort_stale_uploads,
    abort_upload,
    begin_upload,
    finish_upload,
    origin,
    part_url,
    store_part,
)
from media_library.storage.objects import (
    Facts,
    delete,
    download,
    exists,
    facts,
    locate,
    read,
    upload,
)

__all__ = [
    "BRISK_TIMEOUTS_S",
    "MAX_URL_LIFETIME_S",
    "RESERVED",
    "TRANSFER_TIMEOUTS_S",
    "URL_LIFETIME_S",
    "BucketStorage",
    "ChangedError",
    "CheckResult",
    "Facts",
    "FolderStorage",
    "Listed",
    "MultipartUpload",
    "NotInStorageError",
    "StorageError",
    "TakenError",
    "WrongKeyError",
    "abort_stale_uploads",
    "abort_upload",
    "begin_upload",
    "delete",
    "download",
    "examine",
    "exists",
    "facts",
    "finish_upload",
    "holds_nothing",
    "listing",
    "locate",
    "open_storage",
    "origin",
    "part_url",
    "read",
    "sentence",
    "store_part",
    "unreachable",
    "upload",
]
