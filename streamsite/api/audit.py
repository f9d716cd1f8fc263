"""Changes of rows: into the audit log, and into the history of the row.

The history has users in the admin's own table, API keys in a table beside it. Each page
"History" of the admin shows both.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from streamsite.accounts.audit_log import Event, record
from streamsite.api.auth import Caller
from streamsite.api.models import KeyChange

__all__ = ["Event", "ReadOnly", "WithKeys", "record", "write"]

_EVENTS: Final = {ADDITION: Event.ADDED, CHANGE: Event.CHANGED, DELETION: Event.DELETED}

#: Lines of a page.
PAGE = 100


def write(
    who: Caller, row: Model, sentence: str, flag: int = CHANGE, event: Event | None = None
) -> None:
    """Records a change of the row. `flag`: as in the admin's history; `event`: of the log."""
    record(event or _EVENTS[flag], who.name, sentence, [row])
    if who.key is not None:
        KeyChange.objects.create(
            key=who.key,
            content_type=ContentType.objects.get_for_model(row),
            object_id=str(row.pk),
            object_name=str(row)[:200],
            sentence=sentence,
        )
    elif who.user is not None and who.user.pk is not None:
        LogEntry.objects.log_actions(who.user.pk, [row], flag, sentence, single_object=True)


def _noted(request: HttpRequest, event: Event, sentence: str, rows: Iterable[Model]) -> None:
    # As ModelAdmin, which asks for nothing else than a user.
    record(event, request.user.get_username(), sentence, rows)


def _of(row: Model) -> list[dict[str, Any]]:
    """All that was done to it, the oldest first, as the admin's template asks for it."""
    kind = ContentType.objects.get_for_model(row)
    users = LogEntry.objects.filter(content_type=kind, object_id=str(row.pk))
    keys = KeyChange.objects.filter(content_type=kind, object_id=str(row.pk))
    entries = chain(
        (
            {
                "action_time": entry.action_time,
                "user": entry.user,
                "get_change_message": entry.get_change_message(),
            }
            for entry in users.select_related("user")
        ),
        (
            {
                "action_time": change.at,
                "user": {"get_username": f"API key {change.key}"},
                "get_change_message": change.sentence,
            }
            for change in keys.select_related("key")
        ),
    )
    return sorted(entries, key=lambda entry: entry["action_time"])


class WithKeys:
    """Mixin for a model's admin: its changes are in the audit log.

    Its history shows the changes by API keys too.
    """

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        entry: LogEntry = super().log_addition(request, obj, message)  # type: ignore[misc]  # ModelAdmin's
        _noted(request, Event.ADDED, entry.get_change_message(), [obj])
        return entry

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        entry: LogEntry = super().log_change(request, obj, message)  # type: ignore[misc]  # ModelAdmin's
        _noted(request, Event.CHANGED, entry.get_change_message(), [obj])
        return entry

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        entries: Any = super().log_deletions(request, queryset)  # type: ignore[misc]  # ModelAdmin's
        _noted(request, Event.DELETED, "Deleted.", queryset)
        return entries

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        """Deletes and records in one transaction; other actions may take too long for one."""
        if request.POST.get("action") != "delete_selected":
            return super().response_action(request, queryset)  # type: ignore[misc]  # ModelAdmin's
        with transaction.atomic():
            return super().response_action(request, queryset)  # type: ignore[misc]  # ModelAdmin's

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponseBase:
        page: HttpResponseBase = super().history_view(  # type: ignore[misc]  # ModelAdmin's
            request, object_id, extra_context
        )
        if isinstance(page, TemplateResponse) and page.context_data is not None:
            context = page.context_data
            pages = Paginator(_of(context["object"]), PAGE)
            shown = pages.get_page(request.GET.get(context["page_var"], 1))
            context |= {
                "action_list": shown,
                "page_range": pages.get_elided_page_range(shown.number),
                "pagination_required": pages.count > PAGE,
            }
        return page


class ReadOnly:
    """Mixin for the admin of rows that only workers write. Nobody adds, changes or deletes."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False
