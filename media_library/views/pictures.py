"""The items' thumbnails, from the storage."""

from __future__ import annotations

from typing import Final

from django.http import FileResponse, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.templatetags.static import static
from django.views.decorators.http import require_GET

from media_library import storage
from media_library.location import LocalFile, SignedUrl
from media_library.models import MediaItem
from streamsite.http.responses import staff

#: Lifetime of a thumbnail's signed URL, and of a browser's copy, in seconds.
URL_LIFETIME_S: Final = 3600
_KEEP: Final = f"private, max-age={URL_LIFETIME_S - 60}"


@require_GET
@staff("media_library.view_mediaitem")
def thumb(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Returns the strip of three pictures; a placeholder if there is none."""
    response = thumbnails(get_object_or_404(MediaItem.objects.only("thumbnails"), pk=pk))
    return response or _stand_in()


def thumbnails(item: MediaItem) -> HttpResponseBase | None:
    """Returns the strip, or a redirect to it; None if there is none."""
    if not item.thumbnails:
        return None
    answer: HttpResponseBase
    match storage.locate(item.thumbnails, seconds=URL_LIFETIME_S):
        case LocalFile(path):
            try:
                answer = FileResponse(path.open("rb"), content_type="image/jpeg")
            except OSError:
                return None
        case SignedUrl(url):
            answer = HttpResponseRedirect(url.reveal())
    answer["Cache-Control"] = _KEEP
    return answer


def _stand_in() -> HttpResponseBase:
    answer = HttpResponseRedirect(static("media_library/no-picture.svg"))
    answer["Cache-Control"] = "private, max-age=60"
    return answer
