"""The audit log in the admin: to be read, filtered and exported, never written."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.admin import ModelAdmin

from media_library.playlists.m3u_csv import harmless
from streamsite.accounts.models import AuditEntry
from streamsite.api import audit
from streamsite.api.audit import ReadOnly

COLUMNS: Final = (
    *("created_at", "event", "who", "kind", "object_id", "object_name", "sentence"),
    *("address", "user_agent"),
)
#: Rows per batch.
CHUNK: Final = 1000


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, ModelAdmin):
    """Who did what, when and from where."""

    list_display = ("at", "who", "event", "kind", "object_name", "sentence", "address", "agent")
    list_display_links = None
    list_filter = (
        "event",
        "created_at",
        ("content_type", admin.RelatedOnlyFieldListFilter),
    )
    list_select_related = ("content_type",)
    search_fields = ("who", "object_name", "sentence", "address")
    list_before_template = "streamsite/audit_before.html"
    list_per_page = 50
    show_full_result_count = False

    @admin.display(description="At", ordering="created_at")
    def at(self, entry: AuditEntry) -> str:
        return f"{timezone.localtime(entry.created_at):%d %b %Y %H:%M:%S}"

    @admin.display(description="Kind")
    def kind(self, entry: AuditEntry) -> str | None:
        return str(entry.content_type.name) if entry.content_type else None

    @admin.display(description="Program")
    def agent(self, entry: AuditEntry) -> str:
        return entry.user_agent[:60]

    def get_urls(self) -> list[URLPattern]:
        own = path(
            "export.csv",
            self.admin_site.admin_view(self.export),
            name="streamsite_auditentry_export",
        )
        return [own, *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """The rows that the list's filters leave, as CSV, streamed as there may be many."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows = self.get_changelist_instance(request).get_queryset(request)
        audit.record(audit.Event.EXPORT, request.user.get_username(), "Exported the audit log.")
        answer = StreamingHttpResponse(_lines(rows), content_type="text/csv; charset=utf-8")
        name = f"audit-{timezone.localtime():%Y%m%d-%H%M}.csv"
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        return answer


class _Line:
    """A file object for `csv` that returns each written line."""

    def write(self, line: str) -> str:
        return line


def _lines(rows: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """No cell is executed as a formula by a spreadsheet."""
    writer: Any = csv.writer(_Line())
    # Without a byte order mark Excel reads a CSV in the local code page.
    yield b"\xef\xbb\xbf" + writer.writerow(COLUMNS).encode()
    for row in rows.select_related("content_type").iterator(CHUNK):
        cells = [row.created_at.isoformat(timespec="seconds"), row.event, row.who]
        cells += [row.content_type.name if row.content_type else "", row.object_id]
        cells += [row.object_name, row.sentence, row.address, row.user_agent]
        yield writer.writerow([harmless(cell) for cell in cells]).encode()
