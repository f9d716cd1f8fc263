"""Orders about one item, from its page: prepare, cancel, try again."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from media_library import actions
from media_library.models import MediaItem, PreparedCopy
from streamsite.answers import staff


@require_POST
@staff("media_library.change_mediaitem")
def cancel(request: HttpRequest, pk: int) -> HttpResponseBase:
    copy = get_object_or_404(PreparedCopy, pk=pk)
    actions.cancel_prepare(copy)
    messages.success(request, "Preparing is cancelled.")
    return redirect("admin:media_library_mediaitem_change", copy.item_id)


@require_POST
@staff("media_library.change_mediaitem")
def retry(request: HttpRequest, pk: int) -> HttpResponseBase:
    item = get_object_or_404(MediaItem, pk=pk)
    actions.retry(item)
    messages.success(request, "It will be tried again.")
    return redirect("admin:media_library_mediaitem_change", item.pk)
