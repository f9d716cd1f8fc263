"""Admin of the playlists: the editor on their page changes their order."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from unfold.admin import ModelAdmin

from media_library import formatting
from media_library.models import Playlist, PlaylistEntry
from media_library.playlists.edit import MAX_ENTRIES
from media_library.views.csp import allow_storage
from streamsite.api.audit import WithKeys
from streamsite.http.untrusted import number_or_none

#: Entries that are listed for a browser without JavaScript.
PLAIN = 500


def _of(name: str, value: Any) -> Subquery:
    """Returns a figure of each playlist's entries, as a separate subquery."""
    entries = PlaylistEntry.objects.filter(playlist=OuterRef("pk")).order_by()
    return Subquery(entries.values("playlist").annotate(**{name: value}).values(name))


@admin.register(Playlist)
class PlaylistAdmin(WithKeys, ModelAdmin):
    list_display = ("name", "count", "total")
    search_fields = ("name",)
    fields = ("name",)
    show_full_result_count = False
    list_before_template = "media_library/playlists_before.html"
    change_form_outer_after_template = "media_library/editor.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Playlist]:
        playlists: QuerySet[Playlist] = super().get_queryset(request)
        return playlists.annotate(
            entry_count=Coalesce(_of("n", Count("pk")), 0),
            unmeasured=Coalesce(
                _of("u", Count("pk", filter=Q(item__duration_seconds=None))), 0
            ),
            seconds=_of("s", Sum(F("item__duration_seconds"))),
        )

    @admin.display(description="Items", ordering="entry_count")
    def count(self, playlist: Any) -> int:
        return int(playlist.entry_count)

    @admin.display(description="Total length", ordering="seconds")
    def total(self, playlist: Any) -> str:
        unknown = f" and {playlist.unmeasured} of unknown length" if playlist.unmeasured else ""
        return formatting.length(playlist.seconds or 0) + unknown

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponseBase:
        entries = PlaylistEntry.objects.none()
        if (pk := number_or_none(object_id)) is not None:
            entries = PlaylistEntry.objects.filter(playlist=pk)
        context = {
            **(extra_context or {}),
            "plain_entries": entries.select_related("item")[:PLAIN],
            "entry_count": entries.count(),
            "longest": MAX_ENTRIES,
        }
        page: HttpResponseBase = super().change_view(request, object_id, form_url, context)
        return allow_storage(page)

    def save_model(self, request: HttpRequest, obj: Playlist, form: Any, change: bool) -> None:
        # The version is written by changes of the order, perhaps at the same time.
        obj.save(update_fields=["name"] if change else None)
