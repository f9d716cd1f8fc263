"""The audit log: users in the admin's own history, API keys in a table beside it.

Each page "History" of the admin shows both.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Paginator
from django.db.models import Model
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from streamsite.api.auth import Caller
from streamsite.api.models import KeyChange

#: Lines of a page.
PAGE = 100


def write(who: Caller, row: Model, sentence: str, flag: int = CHANGE) -> None:
    """Records a change of the row. `flag`: as in the admin's history."""
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
    """Mixin for a model's admin: its history shows the changes by API keys too."""

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
