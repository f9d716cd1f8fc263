"""API routes for what was on air when an incident was opened."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from streams.api.channels import id_of
from streams.models import Evidence
from streams.planning.plans import evidence_folder
from streamsite.api.auth import Router
from streamsite.api.crud import Id
from streamsite.api.permissions import READ_ONLY, needs
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["air"])
#: Seconds: it never changes.
KEPT_S: Final = 86_400


def _evidence(request: HttpRequest, slug: str, incident: int) -> Evidence:
    rows = Evidence.objects.filter(incident__channel=id_of(request, slug), pk=incident)
    if (row := rows.first()) is None:
        raise Http404
    return row


@router.get(
    "/{slug:slug}/incidents/{incident}/still.jpg",
    summary="The picture when an incident was opened",
    description="404 if none was kept.",
    openapi_extra={"responses": {200: {"content": {"image/jpeg": {}}}}},
)
@needs(READ_ONLY, "streams.view_incident")
def still(request: HttpRequest, slug: str, incident: Id) -> HttpResponse:
    row = _evidence(request, slug, incident)
    if not row.still:
        raise Http404
    answer = HttpResponse(bytes(row.still), "image/jpeg")
    answer["Cache-Control"] = f"private, max-age={KEPT_S}"
    return answer


@router.get(
    "/{slug:slug}/incidents/{incident}/clip.ts",
    summary="Ten seconds around the beginning of an incident",
    description="MPEG-TS; kept for incidents of picture and sound, on the node that played. "
    "404 if none was kept, or not any more; 409 if it is on another node.",
    openapi_extra={"responses": {200: {"content": {"video/mp2t": {}}}}},
)
@needs(READ_ONLY, "streams.view_incident")
def clip(request: HttpRequest, slug: str, incident: Id) -> HttpResponseBase:
    row = _evidence(request, slug, incident)
    path = evidence_folder() / row.clip
    if not row.clip or path.parent != evidence_folder():
        raise Http404
    try:
        answer = FileResponse(
            path.open("rb"),
            as_attachment=True,
            filename=row.clip,
            content_type="video/mp2t",
        )
    except (FileNotFoundError, IsADirectoryError):
        if row.node != settings.NODE_NAME:
            raise ProblemError(
                Kind.CONFLICT, f"The clip is on node {row.node}, in its folder evidence."
            ) from None
        raise Http404 from None
    answer["Cache-Control"] = f"private, max-age={KEPT_S}"
    return answer
