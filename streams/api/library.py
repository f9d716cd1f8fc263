"""API route to prepare an item in a channel's house format."""

from __future__ import annotations

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Status

from media_library import actions
from media_library.api.media import CopyDetail
from media_library.models import MediaItem, PreparedCopy
from streams.api.channels import the_channel
from streamsite.api.auth import Router
from streamsite.api.crud import Body, Id, Slug, noted
from streamsite.api.permissions import ADMIN, needs

router = Router(tags=["media"])


class PrepareBody(Body):
    """The channel whose house format is used."""

    channel: Slug


@router.post(
    "/{id}/prepare",
    response={202: CopyDetail},
    summary="Prepare a copy in a channel's house format",
    description="Repeat the request to see the progress. A failed or cancelled copy is "
    "retried.",
)
@needs(ADMIN, "media_library.change_mediaitem")
def prepare(request: HttpRequest, id: Id, body: PrepareBody) -> Status[PreparedCopy]:
    row = get_object_or_404(MediaItem, pk=id)
    house_format = the_channel(request, body.channel).house_format
    copy = actions.request_prepare(row, house_format, again=True)
    noted(request, row, f"Preparing ordered for {body.channel}.")
    return Status(202, copy)
