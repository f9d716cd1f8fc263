"""Uploads in the API: to the bucket by signed URLs, or through streamsite into the folder.

begin, then for each part its URL and a PUT to it, then finish. Each step includes the ticket of
`begin`.
"""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Header, Schema, Status
from pydantic import Field, StringConstraints

from media_library import storage
from media_library.api.media import ItemDetail
from media_library.models import MediaItem
from media_library.storage import MultipartUpload
from media_library.uploads import service
from streamsite.api.auth import Router, caller
from streamsite.api.crud import Accepted, Body, noted
from streamsite.api.permissions import ADMIN, needs
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["media"])

Ticket = Annotated[str, StringConstraints(max_length=8192)]
#: Range of S3 and R2.
Number = Annotated[int, Field(ge=1, le=10_000)]


class NewUpload(Body):
    """`size_bytes` of the whole file. The folder is created if necessary."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    size_bytes: Annotated[int, Field(ge=1, le=5 * 1024**4)]
    folder: Annotated[str, StringConstraints(max_length=500)] = ""


class UploadDetail(Schema):
    """Each part has `part_bytes`, the last one the rest. The ticket is valid for a week."""

    ticket: str
    key: str
    part_bytes: int
    parts: int


class PartRequest(Body):
    ticket: Ticket
    number: Number


class PartAddress(Schema):
    """PUT the part there; with `here`, send the API key, and the ticket as X-Upload-Ticket."""

    url: str
    here: bool


class Shown(Body):
    ticket: Ticket


def _owner(request: HttpRequest) -> int:
    """Returns the owner of a ticket: a user's id, or a key's id below zero."""
    who = caller(request)
    if who.key is not None:
        return -who.key.pk
    return int((who.user and who.user.pk) or 0)


def _upload(request: HttpRequest, ticket: str) -> MultipartUpload:
    return service.of_ticket(ticket, _owner(request))


@router.post("", response={201: UploadDetail}, summary="Begin an upload")
@needs(ADMIN, "media_library.add_mediaitem")
def begin(request: HttpRequest, body: NewUpload) -> Status[dict[str, Any]]:
    upload = service.begin(body.name, body.size_bytes, body.folder)
    return Status(
        201,
        {
            "ticket": service.ticket(upload, _owner(request)),
            "key": upload.key,
            "part_bytes": upload.part_bytes,
            "parts": upload.parts,
        },
    )


@router.post("/part-url", response=PartAddress, summary="URL for a part")
@needs(ADMIN, "media_library.add_mediaitem")
def address(request: HttpRequest, body: PartRequest) -> dict[str, Any]:
    upload = _upload(request, body.ticket)
    _part_exists(upload, body.number)
    if not storage.origin():
        return {"url": f"/api/v1/media/uploads/parts/{body.number}", "here": True}
    return {"url": storage.part_url(upload, body.number).reveal(), "here": False}


@router.put(
    "/parts/{number}",
    response=Accepted,
    summary="One part, if the media are in a folder",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
@needs(ADMIN, "media_library.add_mediaitem")
def part(
    request: HttpRequest, number: Number, x_upload_ticket: Header[Ticket]
) -> dict[str, str]:
    upload = _upload(request, x_upload_ticket)
    _part_exists(upload, number)
    if request.headers.get("Content-Length") != str(upload.bytes_of(number)):
        raise ProblemError(
            Kind.REFUSED, f"Part {number} must have {upload.bytes_of(number)} bytes."
        )
    # The request is read like a file: it is not held in memory as a whole.
    storage.store_part(upload, number, request)  # type: ignore[arg-type]  # a request can be read as a file
    return {"detail": "Stored."}


@router.post("/finish", response={201: ItemDetail}, summary="Assemble the parts")
@needs(ADMIN, "media_library.add_mediaitem")
def finish(request: HttpRequest, body: Shown) -> Status[MediaItem]:
    item = service.finish(_upload(request, body.ticket))
    noted(request, item, "Uploaded.")
    return Status(201, item)


@router.post("/abort", response=Accepted, summary="Cancel it: nothing of it is kept")
@needs(ADMIN, "media_library.add_mediaitem")
def abort(request: HttpRequest, body: Shown) -> dict[str, str]:
    service.abort(_upload(request, body.ticket))
    return {"detail": "Nothing of it is kept."}


def _part_exists(upload: MultipartUpload, number: int) -> None:
    """Raises `ProblemError` if there is no such part."""
    if number > upload.parts:
        raise ProblemError(Kind.REFUSED, f"There is no part {number} of {upload.parts}.")
