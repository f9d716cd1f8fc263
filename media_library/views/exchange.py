"""Export and import of playlists as M3U and CSV."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods

from media_library import storage
from media_library.models import Playlist
from media_library.playlists import importer
from media_library.playlists.edit import PlaylistError
from media_library.playlists.importer import Outcome
from media_library.playlists.m3u_csv import MAX_BYTES, ExchangeError, read, write_csv, write_m3u
from streamsite.http import form_uploads
from streamsite.http.form_uploads import KeptFileField
from streamsite.http.responses import staff

_KINDS: Final = {"m3u8": "audio/x-mpegurl; charset=utf-8", "csv": "text/csv; charset=utf-8"}


@require_GET
@staff("media_library.view_playlist")
def export(request: HttpRequest, pk: int, kind: str) -> HttpResponseBase:
    playlist = get_object_or_404(Playlist, pk=pk)
    if kind not in _KINDS:
        raise Http404
    rows = importer.rows(playlist)
    text = write_csv(rows) if kind == "csv" else write_m3u(playlist.name, rows)
    # Excel assumes the local code page for a CSV without a byte order mark.
    body = text.encode("utf-8-sig" if kind == "csv" else "utf-8")
    answer = HttpResponse(body, content_type=_KINDS[kind])
    name = slugify(playlist.name) or f"playlist-{playlist.pk}"
    answer["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return answer


class ImportForm(forms.Form):
    file = KeptFileField(label="M3U or CSV", help_text="UTF-8, at most 20,000 lines.")
    name = forms.CharField(
        max_length=120,
        required=False,
        label="Playlist",
        help_text="Empty: the name in an M3U; a CSV makes no playlist.",
    )
    append = forms.BooleanField(
        required=False, label="Append, instead of replacing the entries"
    )
    dry = forms.BooleanField(required=False, label="Only show the changes")

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        if (file.size or 0) > MAX_BYTES:
            raise forms.ValidationError(
                f"The file is larger than {MAX_BYTES >> 20} MiB: split it."
            )
        return file


@require_http_methods(["GET", "POST"])
@staff("media_library.add_playlist")
def import_new(request: HttpRequest) -> HttpResponseBase:
    """Imports a file: data about items, and a playlist if it is one."""
    return _import(request, None)


@require_http_methods(["GET", "POST"])
@staff("media_library.change_playlist")
def import_into(request: HttpRequest, pk: int) -> HttpResponseBase:
    return _import(request, get_object_or_404(Playlist, pk=pk))


def _import(request: HttpRequest, into: Playlist | None) -> HttpResponseBase:
    posted = request.method == "POST"
    file = form_uploads.receive(request, "file", MAX_BYTES) if posted else None
    form = ImportForm(request.POST or None, request.FILES or None) if posted else ImportForm()
    if into is not None:
        del form.fields["name"]
    outcome: Outcome | None = None
    if not request.user.has_perm("media_library.change_mediaitem"):
        form.add_error(None, "You have no permission to change items.") if posted else None
    if posted and form.is_valid():
        data = form.cleaned_data
        try:
            outcome = importer.run(
                read(data["file"].read(), host=urlsplit(storage.origin()).netloc),
                playlist=data.get("name", ""),
                into=into,
                append=data["append"],
                dry=data["dry"],
            )
        except ExchangeError as error:
            form.add_error("file", str(error))
        except PlaylistError as error:
            form.add_error(None, str(error))
    if file is not None and (form.has_error("file") or (outcome and not data["dry"])):
        form_uploads.discard(file)
    context = {
        **admin.site.each_context(request),
        "title": f"Import into “{into}”" if into else "Import",
        "form": form,
        "into": into,
        "outcome": outcome,
        "dry": bool(outcome and form.cleaned_data["dry"]),
    }
    return TemplateResponse(request, "media_library/import.html", context)
