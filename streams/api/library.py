"""What channels ask of the library, in the API: items in their house format."""

from __future__ import annotations

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Status

from media_library import actions
from media_library.api.media import CopyDetail
from media_library.models import MediaItem, PreparedCopy
from streams.api.channels import the_channel
from streamsite.api.crud import Body, Id, Slug, noted

router = Router(tags=["media"])


class HouseWanted(Body):
    """For which channel's house format."""

    channel: Slug


@router.post(
    "/{id}/prepare",
    response={202: CopyDetail},
    summary="Have a copy made in a channel's house format",
    description="Ask again to see how far it is; what failed or was cancelled is tried again.",
)
def prepare(request: HttpRequest, id: Id, asked: HouseWanted) -> Status[PreparedCopy]:
    row = get_object_or_404(MediaItem, pk=id)
    house = the_channel(asked.channel).house_format
    copy = actions.request_prepare(row, house, again=True)
    noted(request, row, f"Preparing ordered for {asked.channel}.")
    return Status(202, copy)
