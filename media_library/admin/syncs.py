"""Admin of the syncs: read-only; the buttons above the list start them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from media_library import formatting
from media_library.models import SyncRun
from streamsite.api.audit import ReadOnly, WithKeys

_COLOURS = {"running": "info", "done": "success", "stopped": "warning", "failed": "danger"}


@admin.register(SyncRun)
class SyncRunAdmin(ReadOnly, WithKeys, ModelAdmin):
    list_display = (
        *("started_at", "outcome", "lasted", "seen", "added", "changed", "absent", "gone"),
        *("unchanged", "others", "started_by"),
    )
    list_filter = ("status", "dry")
    list_per_page = 25
    empty_value_display = formatting.NOTHING
    list_before_template = "media_library/sync_before.html"
    change_form_outer_before_template = "media_library/head.html"
    fields = (
        *(
            "started_at",
            "started_by",
            "result",
            "lasted",
            "fault",
            "items_before",
            "seen",
            "added",
        ),
        *("changed", "absent", "gone", "unchanged", "others", "left_out", "growing"),
        "differences_list",
    )
    readonly_fields = ("result", "lasted", "others", "differences_list")

    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponseBase:
        newest = SyncRun.objects.first()
        context = {**(extra_context or {}), "newest": newest}
        page: HttpResponseBase = super().changelist_view(request, context)
        return page

    @display(description="Result", ordering="status", label=_COLOURS)
    def outcome(self, run: SyncRun) -> tuple[str, str]:
        return run.status, self.result(run)

    @admin.display(description="Result")
    def result(self, run: SyncRun) -> str:
        label = str(run.get_status_display())
        return f"{label} (only shown)" if run.dry else label

    @admin.display(description="Lasted")
    def lasted(self, run: SyncRun) -> str:
        if run.ended_at is None:
            return formatting.NOTHING
        return formatting.length((run.ended_at - run.started_at).total_seconds())

    @admin.display(description="Other kinds")
    def others(self, run: SyncRun) -> int:
        """Number of other files: subtitles, pictures, notes."""
        return run.other_kinds

    @admin.display(description="Differences")
    def differences_list(self, run: SyncRun) -> SafeString | str:
        """The first differences, each with its key."""
        lines = format_html_join("", "<li><b>{}</b> {}</li>", run.differences)
        return (
            format_html('<ul class="lib-problems">{}</ul>', lines)
            if lines
            else formatting.NOTHING
        )
