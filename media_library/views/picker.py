"""The library for the picker: a page of items behind the one before it, and folders."""

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

#: Items of one answer.
PAGE: Final = 60
COLUMNS: Final = ("key", "title", "status", "fault", "thumbnails", "duration_seconds")


def brief(  # noqa: PLR0917 - as `COLUMNS` has them
    pk: int,
    key: str,
    title: str,
    status: str,
    fault: str,
    thumbnails: str,
    seconds: float | None,
) -> dict[str, Any]:
    """What the picker and the editor show of an item."""
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
    """Items that match, from behind the cursor `after` on; `next` is the following cursor."""
    order = listing.ORDERS.get(request.GET.get("order", ""), listing.ORDERS["newest"])
    try:
        found = _behind(_wanted(request.GET), order, request.GET.get("after", ""))
    except BadRequestError as error:
        return reply(str(error), 400)
    ids = list(found.order_by(*order).values_list("pk", flat=True)[: PAGE + 1])
    shown = listing.rows(ids[:PAGE], *COLUMNS, order[0].lstrip("-"))
    following = _cursor(shown[-1], order) if len(ids) > PAGE and shown else None
    listed = [brief(item.pk, *(getattr(item, name) for name in COLUMNS)) for item in shown]
    return JsonResponse({"items": listed, "next": following})


def _wanted(asked: QueryDict) -> QuerySet[MediaItem]:
    found: QuerySet[MediaItem] = MediaItem.objects.all()
    order = listing.ORDERS.get(asked.get("order", ""), ())
    if order and order[0].lstrip("-") == "duration_seconds":
        # Those of unknown length have no place in this order.
        found = found.filter(duration_seconds__isnull=False)
    status = asked.get("status", "")
    if status in MediaItem.Status.values:
        found = listing.with_status(found, status)
    for value, _, seconds, below in listing.LENGTHS:
        if value == asked.get("length"):
            found = listing.lasting(found, seconds, below)
    tag = asked.get("tag", "")
    if tag:
        found = listing.tagged(found, tag)
    folder = asked.get("folder", "").strip("/")
    if folder:
        found = listing.in_folder(found, f"{folder}/")
    return listing.searched(found, asked.get("q", ""))


def _cursor(item: MediaItem, order: tuple[str, ...]) -> str:
    place = getattr(item, order[0].lstrip("-"))
    if isinstance(place, datetime):
        place = place.isoformat()
    return urlsafe_b64encode(json.dumps([place, item.pk]).encode()).decode()


def _behind(
    found: QuerySet[MediaItem], order: tuple[str, ...], after: str
) -> QuerySet[MediaItem]:
    """Those behind the cursor in the order. Raises `BadRequestError`."""
    if not after:
        return found
    name = order[0].lstrip("-")
    try:
        place, pk = place_of(after)
        if name == "added_at":
            place = in_range(parse_datetime(place))
        elif name == "duration_seconds":
            place = float(place)
        elif not isinstance(place, str):
            raise ValueError  # noqa: TRY301 - one end for all that can be wrong with it
        if place is None:
            raise ValueError  # noqa: TRY301
    except (ValueError, TypeError, OverflowError):
        raise BadRequestError("The cursor can't be read: begin at the top.") from None
    to, among = ("lte", "gte") if order[0].startswith("-") else ("gte", "lte")
    # A range of the index first; the few of the same place are sorted out after that.
    same = Q(**{name: place, f"pk__{among}": pk})
    return found.filter(**{f"{name}__{to}": place}).exclude(same)


@require_GET
@staff("media_library.view_mediaitem")
def folders(request: HttpRequest) -> HttpResponseBase:
    """Names of the folders in one folder."""
    parent = request.GET.get("in", "").strip("/")
    names, more = listing.folders(f"{parent}/" if parent else "")
    return JsonResponse({"in": parent, "folders": names, "more": more})
