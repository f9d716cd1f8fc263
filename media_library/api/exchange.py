"""Export and import of playlists as M3U and CSV, in the API."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.text import slugify
from ninja import Query, Schema
from pydantic import Field, StringConstraints

from media_library import storage
from media_library.models import Playlist
from media_library.playlists import importer
from media_library.playlists.m3u_csv import MAX_BYTES, read, write_csv, write_m3u
from streamsite.api import audit
from streamsite.api.auth import Router, caller
from streamsite.api.crud import Body, Id, RequestSchema, noted
from streamsite.api.permissions import ADMIN, READ_ONLY, needs
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["playlists"])

TYPES = {"m3u8": "audio/x-mpegurl; charset=utf-8", "csv": "text/csv; charset=utf-8"}


class Form(RequestSchema):
    form: Literal["m3u8", "csv"] = "m3u8"
    bom: bool = Field(
        default=False, description="Begins with a byte order mark, as Excel expects."
    )


class NewImport(Body):
    """`content`: the file itself. `into`: a playlist's id; otherwise `name` selects it.

    Without both, an M3U becomes the playlist that it names, and a CSV none. `append`: adds
    entries instead of replacing them. `dry`: only returns the changes.
    """

    content: Annotated[str, StringConstraints(min_length=1, max_length=MAX_BYTES)]
    name: Annotated[str, StringConstraints(max_length=120, strip_whitespace=True)] = ""
    into: Id | None = None
    append: bool = False
    dry: bool = False


class LeftOut(Schema):
    """`line` 0: the file as a whole."""

    line: int = Field(alias="number")
    sentence: str


class Imported(Schema):
    """Lines that match items, changed and created items; `problems`: skipped lines."""

    matched: int
    updated: int
    created: int
    entries: int | None
    playlist_id: int | None
    playlist_name: str | None
    problems: list[LeftOut]

    @staticmethod
    def resolve_playlist_id(outcome: Any) -> int | None:
        return outcome.playlist.pk if outcome.playlist else None

    @staticmethod
    def resolve_playlist_name(outcome: Any) -> str | None:
        return outcome.playlist.name if outcome.playlist else None


@router.get(
    "/{id}/export",
    summary="As M3U or CSV",
    openapi_extra={
        "responses": {200: {"content": {kind.partition(";")[0]: {} for kind in TYPES.values()}}}
    },
)
@needs(READ_ONLY, "media_library.view_playlist")
def export(request: HttpRequest, id: Id, params: Query[Form]) -> HttpResponse:
    row = get_object_or_404(Playlist, pk=id)
    rows = importer.rows(row)
    done = f"Exported as {params.form}."
    audit.record(audit.Event.EXPORT, caller(request).name, done, [row])
    text = write_csv(rows) if params.form == "csv" else write_m3u(row.name, rows)
    body = text.encode("utf-8-sig" if params.bom else "utf-8")
    answer = HttpResponse(body, content_type=TYPES[params.form])
    name = slugify(row.name) or f"playlist-{row.pk}"
    answer["Content-Disposition"] = f'attachment; filename="{name}.{params.form}"'
    return answer


@router.post("/import", response=Imported, summary="Import a file")
@needs(ADMIN, "media_library.change_mediaitem")
def bring(request: HttpRequest, body: NewImport) -> importer.Outcome:
    """Writes the file's data about items, and makes its order a playlist."""
    who = caller(request)
    change = "add" if body.into is None else "change"
    permission = f"media_library.{change}_playlist"
    if who.user is not None and not who.has_perm(permission):
        raise ProblemError(Kind.PERMISSION, f"That takes the permission {permission}.")
    into = None if body.into is None else get_object_or_404(Playlist, pk=body.into)
    outcome = importer.run(
        read(body.content.encode(), host=urlsplit(storage.origin()).netloc),
        playlist=body.name,
        into=into,
        append=body.append,
        dry=body.dry,
    )
    if outcome.playlist is not None:
        noted(request, outcome.playlist, f"Imported {outcome.entries} entries.")
    return outcome
