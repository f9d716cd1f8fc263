"""A playlist's entries, as JSON for the editor."""

from __future__ import annotations

from json import JSONEncoder
from typing import Final

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from media_library.models import Playlist, PlaylistEntry
from media_library.playlists.edit import ChangedMeanwhileError, Place, PlaylistError, reorder
from media_library.views.picker import COLUMNS, brief
from streamsite.http.responses import BadRequestError, reply, sent, staff

_ITEM: Final = tuple(f"item__{name}" for name in COLUMNS)


@never_cache
@require_GET
@staff("media_library.view_playlist")
def entries(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Returns all entries in their order, and the version of the order."""
    playlist = get_object_or_404(Playlist, pk=pk)
    # The version first: an order newer than its version is refused, never the reverse.
    rows = PlaylistEntry.objects.filter(playlist=playlist)
    listed = []
    # Tuples instead of objects, which take a second for thousands.
    for entry, item, *columns in rows.values_list("pk", "item", *_ITEM):
        item_data = brief(item, *columns)
        item_data["entry"] = entry
        listed.append(item_data)
    return JsonResponse({"version": playlist.version, "entries": listed}, encoder=JSONEncoder)


@require_POST
@staff("media_library.change_playlist")
def save(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Saves the new order: `{"version": 3, "entries": [[entry or null, item], ...]}`."""
    playlist = get_object_or_404(Playlist, pk=pk)
    try:
        version, places = _order(sent(request))
    except BadRequestError as error:
        return reply(str(error), 400)
    try:
        ids = reorder(playlist, version, places)
    except ChangedMeanwhileError as refusal:
        return reply(str(refusal), 409)
    except PlaylistError as refusal:
        return reply(str(refusal), 422)
    return reply("Saved.", 200, version=playlist.version, entries=ids)


def _order(body: dict[str, object]) -> tuple[int, list[Place]]:
    version, listed = body.get("version"), body.get("entries")
    if not isinstance(version, int) or not isinstance(listed, list):
        raise BadRequestError("It needs a version and entries.")
    places = []
    for pair in listed:
        match pair:
            case [int() | None as entry, int(item)]:
                places.append(Place(entry, item))
            case _:
                raise BadRequestError("Each entry is [entry or null, item].")
    return version, places
