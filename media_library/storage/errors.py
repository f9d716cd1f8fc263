"""Errors of the storage, each with a sentence for the operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

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


class StorageError(Exception):
    """The storage could not do the operation. `str()` is a sentence for the operator."""

    #: True if another try can't help: a wrong key, a missing object.
    permanent = False


class WrongKeyError(StorageError):
    """A key that names nothing inside the storage: empty, absolute, or outside of it."""

    permanent = True


class WrongSizeError(StorageError):
    """The file is empty, or larger than any storage accepts."""

    permanent = True


class NotInStorageError(StorageError):
    """No object has that key."""

    permanent = True


class TakenError(StorageError):
    """Another object took the key while a file was uploaded to it."""

    permanent = True


class ChangedError(StorageError):
    """The object has another etag than the requested one: inspect it again."""

    permanent = True

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} was changed in the storage: it has to be inspected again.")


def code_of(error: ClientError) -> str:
    """Returns the code of S3's error answer; for HEAD, which has no body, the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def sentence(error: BotoCoreError | ClientError) -> str:
    """Returns a sentence for the operator about a bucket's error, without secrets."""
    where = settings.STORAGE_ENDPOINT_URL or "Amazon S3"
    match error:
        case ClientError():
            code = code_of(error)
            reason = _REFUSALS.get(code, f"answers {code or 'with an error'}.")
            return f"The storage at {where} {reason}"
        case ConnectTimeoutError() | ReadTimeoutError():
            return f"The storage at {where} does not answer in time: check the network."
        case SSLError():
            return (
                f"No TLS connection to the storage at {where} could be made: check "
                "STORAGE_ENDPOINT_URL, its certificate, and this machine's clock."
            )
        case EndpointConnectionError():
            return (
                f"The storage at {where} can't be reached: check STORAGE_ENDPOINT_URL and "
                "the network."
            )
        case NoCredentialsError():
            return "Set STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY."
        case _:
            return f"The storage at {where} can't be used ({type(error).__name__})."


#: Error codes of S3 and R2, and what the operator has to do.
_REFUSALS: Final = {
    "InvalidAccessKeyId": "does not know STORAGE_ACCESS_KEY_ID: copy the key again.",
    "InvalidArgument": "does not understand the request: check STORAGE_ACCESS_KEY_ID (R2: "
    "32 characters) and STORAGE_REGION (R2: auto).",
    "InvalidRegionName": "does not know STORAGE_REGION: leave it empty for R2.",
    "Unauthorized": "refuses the credentials: copy STORAGE_ACCESS_KEY_ID and the secret again.",
    "SignatureDoesNotMatch": "refuses STORAGE_SECRET_ACCESS_KEY: copy the secret again.",
    "ExpiredToken": "says the credentials have expired: create new ones.",
    "AccessDenied": "denies the key this bucket: give the key read and write rights to it.",
    "403": "denies the key this bucket: give the key read and write rights to it.",
    "RequestTimeTooSkewed": "says this machine's clock is wrong: set it, preferably by NTP.",
    "NoSuchBucket": "has no such bucket: check STORAGE_BUCKET.",
    "InvalidBucketName": "does not accept STORAGE_BUCKET as a bucket's name: check it.",
    "404": "has no such bucket: check STORAGE_BUCKET.",
    "NoSuchUpload": "no longer knows this upload: start it again.",
    "EntityTooLarge": "does not accept a file of this size: make it smaller.",
    "PermanentRedirect": "keeps this bucket in another region: set STORAGE_REGION.",
    "AuthorizationHeaderMalformed": "keeps this bucket in another region: set STORAGE_REGION.",
    "301": "keeps this bucket in another region: set STORAGE_REGION.",
    "SlowDown": "asks to slow down: try again in a minute.",
    "ServiceUnavailable": "is out of order at the moment: try again in a minute.",
    "InternalError": "is out of order at the moment: try again in a minute.",
}


@contextmanager
def storage_errors(key: str) -> Iterator[None]:
    """Turns errors of boto3 and the system into `StorageError` with a sentence.

    The cause may hold a signed URL, so it is dropped and not chained.
    """
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        if key and code in {"404", "NoSuchKey"}:
            raise NotInStorageError(f"{key} is not in the bucket.") from None
        if code in {"412", "PreconditionFailed"}:
            raise ChangedError(key) from None
        raise StorageError(sentence(error)) from None
    except BotoCoreError as error:
        raise StorageError(sentence(error)) from None
    except OSError as error:
        raise StorageError(f"{key or 'The storage'}: {error.strerror or error}.") from None
