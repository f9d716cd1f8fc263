"""The library as JSON for the picker: pages of items by cursor, and folders."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest, JsonResponse, QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from media_library.models import MediaItem
from media_library.search import listing
from streamsite.api.crud import in_range
from streamsite.http.responses import BadRequestError, reply, staff
from streamsite.http.untrusted import place_of

#: Items per answer.
PAGE_SIZE: Final = 60
COLUMNS: Final = ("key", "title", "status", "fault", "thumbnails", "duration_seconds")


def brief(  # noqa: PLR0917 - in the order of `COLUMNS`
    pk: int,
    key: str,
    title: str,
    status: str,
    fault: str,
    thumbnails: str,
    seconds: float | None,
) -> dict[str, Any]:
    """Returns the data of an item for the picker and the editor."""
    return {
        "item": pk,
        "title": title,
        "folder": key.rpartition("/")[0],
        "seconds": seconds,
        "status": status,
        "label": _LABELS[status],
        "fault": fault,
        "thumb": f"{_thumbs()}{pk}.jpg" if thumbnails else "",
    }


_LABELS: Final = {status.value: str(status.label) for status in MediaItem.Status}


@lru_cache
def _thumbs() -> str:
    return reverse("media-thumb", args=[0]).removesuffix("0.jpg")


@require_GET
@staff("media_library.view_mediaitem")
def items(request: HttpRequest) -> HttpResponseBase:
    """Returns matching items behind the cursor `after`; `next` is the following cursor."""
    order = listing.ORDERS.get(request.GET.get("order", ""), listing.ORDERS["newest"])
    try:
        matching = _behind(_matching(request.GET), order, request.GET.get("after", ""))
    except BadRequestError as error:
        return reply(str(error), 400)
    ids = list(matching.order_by(*order).values_list("pk", flat=True)[: PAGE_SIZE + 1])
    shown = listing.rows(ids[:PAGE_SIZE], *COLUMNS, order[0].lstrip("-"))
    following = _cursor(shown[-1], order) if len(ids) > PAGE_SIZE and shown else None
    listed = [brief(item.pk, *(getattr(item, name) for name in COLUMNS)) for item in shown]
    return JsonResponse({"items": listed, "next": following})


def _matching(params: QueryDict) -> QuerySet[MediaItem]:
    matching: QuerySet[MediaItem] = MediaItem.objects.all()
    order = listing.ORDERS.get(params.get("order", ""), ())
    if order and order[0].lstrip("-") == "duration_seconds":
        # Items of unknown length have no position in this order.
        matching = matching.filter(duration_seconds__isnull=False)
    status = params.get("status", "")
    if status in MediaItem.Status.values:
        matching = listing.with_status(matching, status)
    for value, _, seconds, below in listing.LENGTHS:
        if value == params.get("length"):
            matching = listing.lasting(matching, seconds, below)
    tag = params.get("tag", "")
    if tag:
        matching = listing.tagged(matching, tag)
    folder = params.get("folder", "").strip("/")
    if folder:
        matching = listing.in_folder(matching, f"{folder}/")
    return listing.searched(matching, params.get("q", ""))


def _cursor(item: MediaItem, order: tuple[str, ...]) -> str:
    place = getattr(item, order[0].lstrip("-"))
    if isinstance(place, datetime):
        place = place.isoformat()
    return urlsafe_b64encode(json.dumps([place, item.pk]).encode()).decode()


def _behind(
    items: QuerySet[MediaItem], order: tuple[str, ...], after: str
) -> QuerySet[MediaItem]:
    """Returns the items behind the cursor, in that order. Raises `BadRequestError`."""
    if not after:
        return items
    name = order[0].lstrip("-")
    try:
        place, pk = place_of(after)
        if name == "added_at":
            place = in_range(parse_datetime(place))
        elif name == "duration_seconds":
            place = float(place)
        elif not isinstance(place, str):
            raise ValueError  # noqa: TRY301 - one handler for all errors
        if place is None:
            raise ValueError  # noqa: TRY301 - one handler for all errors
    except (ValueError, TypeError, OverflowError):
        raise BadRequestError("The cursor can't be read: begin at the top.") from None
    to, among = ("lte", "gte") if order[0].startswith("-") else ("gte", "lte")
    # A range of the index first; then the few rows with the same value are sorted out.
    same = Q(**{name: place, f"pk__{among}": pk})
    return items.filter(**{f"{name}__{to}": place}).exclude(same)


@require_GET
@staff("media_library.view_mediaitem")
def folders(request: HttpRequest) -> HttpResponseBase:
    """Returns the names of a folder's subfolders."""
    parent = request.GET.get("in", "").strip("/")
    names, more = listing.folders(f"{parent}/" if parent else "")
    return JsonResponse({"in": parent, "folders": names, "more": more})
