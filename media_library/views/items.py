"""Orders from an item's page: cancel, retry."""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from media_library import actions
from media_library.models import MediaItem, PreparedCopy
from streamsite.http.responses import staff
from streamsite.processes.task_queue import UNREACHABLE, enqueue

_GIVEN_UP: Final = (PreparedCopy.Status.FAULT, PreparedCopy.Status.CANCELLED)


@require_POST
@staff("media_library.change_mediaitem")
def cancel(request: HttpRequest, pk: int) -> HttpResponseBase:
    copy = get_object_or_404(PreparedCopy, pk=pk)
    if actions.cancel_prepare(copy):
        messages.success(request, "Preparing is cancelled.")
    else:
        messages.info(request, "It was over already.")
    return redirect("admin:media_library_mediaitem_change", copy.item_id)


@require_POST
@staff("media_library.change_mediaitem")
def retry(request: HttpRequest, pk: int) -> HttpResponseBase:
    item = get_object_or_404(MediaItem, pk=pk)
    if (
        item.status == MediaItem.Status.FAULT
        or item.copies.filter(status__in=_GIVEN_UP).exists()
    ):
        actions.retry(item)
        messages.success(request, "It will be tried again.")
    elif enqueue("media_library.tasks.probe_item", item.pk):
        messages.success(request, "The file will be inspected.")
    else:
        messages.error(request, UNREACHABLE)
    return redirect("admin:media_library_mediaitem_change", item.pk)
