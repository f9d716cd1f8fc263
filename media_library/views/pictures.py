"""The items' thumbnails, wherever the storage keeps them."""

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

#: Seconds a signed address of a thumbnail is good for, and that a browser may keep it.
LIFE: Final = 3600
_KEEP: Final = f"private, max-age={LIFE - 60}"


@require_GET
@staff("media_library.view_mediaitem")
def thumb(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The strip of three pictures; a grey stand-in where there is none."""
    found = thumbnails(get_object_or_404(MediaItem.objects.only("thumbnails"), pk=pk))
    return found or _stand_in()


def thumbnails(item: MediaItem) -> HttpResponseBase | None:
    """The strip, or where it is; None where there is none."""
    if not item.thumbnails:
        return None
    answer: HttpResponseBase
    match storage.locate(item.thumbnails, seconds=LIFE):
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
