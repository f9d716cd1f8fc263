"""Uploads from the browser: directly to the bucket, or through streamsite into the folder."""

from __future__ import annotations

from typing import cast

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from media_library import storage
from media_library.storage import MultipartUpload, StorageError
from media_library.uploads import service
from media_library.uploads.service import UploadError
from media_library.views.csp import with_storage
from streamsite.http.responses import BadRequestError, reply, sent, staff

ADD = "media_library.add_mediaitem"


@require_GET
@staff(ADD)
@with_storage
def page(request: HttpRequest) -> TemplateResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Upload",
        "extensions": ",".join(f".{extension}" for extension in settings.MEDIA_EXTENSIONS),
        "kinds": ", ".join(settings.MEDIA_EXTENSIONS),
        "folder": request.GET.get("folder", ""),
        "direct": bool(storage.origin()),
        "origin": storage.origin(),
    }
    return TemplateResponse(request, "media_library/upload.html", context)


@require_POST
@staff(ADD)
def begin(request: HttpRequest) -> HttpResponseBase:
    """Begins an upload: `{"name", "size", "folder"}`; the answer has its ticket and parts."""
    try:
        body = sent(request)
        name, size, folder = body.get("name"), body.get("size"), body.get("folder", "")
        if not (isinstance(name, str) and isinstance(size, int) and isinstance(folder, str)):
            raise BadRequestError("It needs name, size and folder.")  # noqa: TRY301 - one handler for all errors
        upload = service.begin(name, size, folder)
    except BadRequestError as error:
        return reply(str(error), 400)
    except (UploadError, StorageError) as refusal:
        return _refused(refusal)
    return reply(
        "Send the parts.",
        201,
        ticket=service.ticket(upload, _user(request)),
        key=upload.key,
        part_bytes=upload.part_bytes,
        parts=upload.parts,
    )


@never_cache
@require_POST
@staff(ADD)
def address(request: HttpRequest) -> HttpResponseBase:
    """Returns the URL to PUT part `number` to: signed for the bucket, or streamsite's own."""
    try:
        body = sent(request)
        upload, number = _upload(request, str(body.get("ticket"))), body.get("number")
        if not isinstance(number, int) or not 1 <= number <= upload.parts:
            raise BadRequestError(f"There is no such part of {upload.parts}.")  # noqa: TRY301 - one handler for all errors
        if not storage.origin():
            return reply("Here.", 200, url=reverse("media-part", args=[number]), here=True)
        url = storage.part_url(upload, number)
    except BadRequestError as error:
        return reply(str(error), 400)
    except (UploadError, StorageError) as refusal:
        return _refused(refusal)
    return reply("In the bucket.", 200, url=url.reveal(), here=False)


@require_http_methods(["PUT"])
@staff(ADD)
def part(request: HttpRequest, number: int) -> HttpResponseBase:
    """Stores one part in the folder. Its length is checked before a byte is read."""
    try:
        upload = _upload(request, request.headers.get("X-Upload", ""))
        if not 1 <= number <= upload.parts:
            return reply(f"There is no part {number} of {upload.parts}.", 400)
        if request.headers.get("Content-Length") != str(upload.bytes_of(number)):
            return reply(f"Part {number} has {upload.bytes_of(number)} bytes.", 400)
        # The request is read like a file: it is not held in memory as a whole.
        storage.store_part(upload, number, request)  # type: ignore[arg-type]  # a request can be read as a file
    except (UploadError, StorageError) as refusal:
        return _refused(refusal)
    return reply("Stored.", 200)


@require_POST
@staff(ADD)
def finish(request: HttpRequest) -> HttpResponseBase:
    try:
        item = service.finish(_upload(request, str(sent(request).get("ticket"))))
    except BadRequestError as error:
        return reply(str(error), 400)
    except (UploadError, StorageError) as refusal:
        return _refused(refusal)
    url = reverse("admin:media_library_mediaitem_change", args=[item.pk])
    return reply("It is in the library.", 201, item=item.pk, title=item.title, url=url)


@require_POST
@staff(ADD)
def abort(request: HttpRequest) -> HttpResponseBase:
    try:
        service.abort(_upload(request, str(sent(request).get("ticket"))))
    except BadRequestError as error:
        return reply(str(error), 400)
    except (UploadError, StorageError) as refusal:
        return _refused(refusal)
    return reply("Cancelled: nothing of it is kept.", 200)


def _refused(refusal: UploadError | StorageError) -> HttpResponseBase:
    """Returns the error for the page; a retry is offered only if it can help."""
    hopeless = isinstance(refusal, UploadError) or refusal.permanent
    return reply(str(refusal), 422, hopeless=hopeless)


def _upload(request: HttpRequest, ticket: str) -> MultipartUpload:
    return service.of_ticket(ticket, _user(request))


def _user(request: HttpRequest) -> int:
    return int(cast("User", request.user).pk)
