"""A change list that answers in bounded time with a million rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.paginator import InvalidPage, Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

from media_library.models import MediaItem
from media_library.search import listing

#: Columns shown in the list.
COLUMNS: Final = (
    *("key", "title", "status", "fault", "thumbnails", "duration_seconds", "width", "height"),
    *("fps", "video_codec", "audio_codec", "age_rating", "added_at", "missing_since"),
)
#: Columns for ordering: those with an index that covers the filters.
ORDERED_BY: Final = {"title", "added_at", "duration_seconds"}


class LongPaginator(Paginator):  # type: ignore[type-arg]  # no generic at run time
    """Reads the ids of a page first, from the order's index alone; then these rows.

    Only the first `listing.MAX_REACHABLE` items of a filtered list can be reached; `more` says
    that there are others.
    """

    template_name = "media_library/pages.html"
    more = False

    @property
    def filtered(self) -> bool:
        return bool(self._items.query.where)

    @property
    def _items(self) -> QuerySet[MediaItem]:
        items = self.object_list
        assert isinstance(items, QuerySet)  # noqa: S101 - the admin gives no list
        return items

    @cached_property
    def _ids(self) -> list[int]:
        ids = listing.reachable(self._items)
        self.more = len(ids) > listing.MAX_REACHABLE
        return ids[: listing.MAX_REACHABLE]

    @cached_property
    def count(self) -> int:
        return len(self._ids) if self.filtered else MediaItem.objects.count()

    def page(self, number: int | str) -> Page:  # type: ignore[type-arg]  # no generic at run time
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        last = min(first + self.per_page, self.count)
        ids = self._ids[first:last] if self.filtered else self._walked(first, last)
        return Page(listing.rows(ids, *COLUMNS), number, self)

    def _walked(self, first: int, last: int) -> list[int]:
        """Returns ids by position in the whole list, counted from its nearer end."""
        ids = self._items.values_list("pk", flat=True)
        if first <= self.count // 2:
            return list(ids[first:last])
        return list(ids.reverse()[self.count - last : self.count - first])[::-1]


class LongChangeList(ChangeList):
    def get_ordering(self, request: HttpRequest, queryset: QuerySet[MediaItem]) -> list[str]:
        """Returns one column and the id, in the same direction, as in the index."""
        columns: Sequence[Any] = super().get_ordering(request, queryset)
        first = next(
            (name for name in columns if str(name).lstrip("-") in ORDERED_BY), "-added_at"
        )
        return [first, "-pk" if first.startswith("-") else "pk"]

    def get_results(self, request: HttpRequest) -> None:
        """Always uses the paginator: a list of one page would be read completely."""
        paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        try:
            page = paginator.page(self.page_num)
        except InvalidPage:
            raise IncorrectLookupParameters from None
        self.paginator = paginator
        self.result_count = paginator.count
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(paginator.count)
        self.result_list = page.object_list
        self.can_show_all = False
        self.multi_page = paginator.num_pages > 1
