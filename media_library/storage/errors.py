"""What can go wrong with the storage, each with a sentence for the operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from boto3.exceptions import S3UploadFailedError
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
    """The storage can't do what was asked. `str()` of it is a sentence for the operator."""

    #: True where trying again can't help: a wrong key, a missing object.
    permanent = False


class WrongKeyError(StorageError):
    """A key that names nothing inside the storage: empty, absolute, or climbing out of it."""

    permanent = True


class WrongSizeError(StorageError):
    """No storage takes a file of that size: it is empty, or larger than any may be."""

    permanent = True


class NotInStorageError(StorageError):
    """No object has that key."""

    permanent = True


class TakenError(StorageError):
    """Something else came under the key while a file was on its way there."""

    permanent = True


class ChangedError(StorageError):
    """The object is another one than the etag asked for: look at it anew."""

    permanent = True

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} was changed in the storage: it has to be looked into again.")


def code_of(error: ClientError) -> str:
    """The code of S3's error answer; HEAD has no body, so there it is the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def sentence(error: BotoCoreError | ClientError) -> str:
    """What an error of the bucket means for the operator. Nothing secret is in it."""
    where = settings.STORAGE_ENDPOINT_URL or "Amazon S3"
    match error:
        case ClientError():
            code = code_of(error)
            said = _REFUSALS.get(code, f"answers {code or 'with an error'}.")
            return f"The storage at {where} {said}"
        case ConnectTimeoutError() | ReadTimeoutError():
            return f"The storage at {where} does not answer in time: see if the network is up."
        case SSLError():
            return (
                f"No TLS connection to the storage at {where} could be made: look at "
                "STORAGE_ENDPOINT_URL, its certificate, and this machine's clock."
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
    "InvalidArgument": "does not understand the request: look at STORAGE_ACCESS_KEY_ID (R2: "
    "32 characters) and STORAGE_REGION (R2: auto).",
    "InvalidRegionName": "does not know STORAGE_REGION: leave it empty for R2.",
    "Unauthorized": "refuses the credentials: copy STORAGE_ACCESS_KEY_ID and the secret again.",
    "SignatureDoesNotMatch": "refuses STORAGE_SECRET_ACCESS_KEY: copy the secret again.",
    "ExpiredToken": "says the credentials have expired: make new ones.",
    "AccessDenied": "denies the key this bucket: give the key read and write rights to it.",
    "403": "denies the key this bucket: give the key read and write rights to it.",
    "RequestTimeTooSkewed": "says this machine's clock is wrong: set it, by NTP at best.",
    "NoSuchBucket": "has no such bucket: look at STORAGE_BUCKET.",
    "InvalidBucketName": "takes STORAGE_BUCKET for no bucket's name: look at it.",
    "404": "has no such bucket: look at STORAGE_BUCKET.",
    "NoSuchUpload": "does not know this upload any more: begin it again.",
    "EntityTooLarge": "takes no file of this size: make it smaller.",
    "PermanentRedirect": "keeps this bucket elsewhere: look at STORAGE_REGION.",
    "AuthorizationHeaderMalformed": "keeps this bucket elsewhere: look at STORAGE_REGION.",
    "301": "keeps this bucket elsewhere: look at STORAGE_REGION.",
    "SlowDown": "asks to slow down: try again in a minute.",
    "ServiceUnavailable": "is out of order for the moment: try again in a minute.",
    "InternalError": "is out of order for the moment: try again in a minute.",
}


@contextmanager
def storage_errors(key: str) -> Iterator[None]:
    """Turn what boto3 and the system raise into a sentence; the cause is not shown to anyone.

    A cause may hold a signed URL, so it is dropped, not chained.
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
    except S3UploadFailedError as error:
        # boto3 wraps what an upload met, for callers of ten years ago.
        cause = error.__context__
        if isinstance(cause, ClientError | BotoCoreError):
            raise StorageError(sentence(cause)) from None
        raise StorageError(f"{key} could not be uploaded: try again.") from None
    except OSError as error:
        raise StorageError(f"{key or 'The storage'}: {error.strerror or error}.") from None
