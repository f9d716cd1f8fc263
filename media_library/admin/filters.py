"""Filters of the items, with fixed choices."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy

from media_library.models import MediaItem, Tag
from media_library.search import listing
from streamsite.http.untrusted import number_or_none

Items = QuerySet[MediaItem]


class StatusFilter(admin.SimpleListFilter):
    title = gettext_lazy("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, str(status.label)) for status in MediaItem.Status]

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        value = self.value()
        return queryset if value is None else listing.with_status(queryset, value)


class RatingFilter(admin.SimpleListFilter):
    title = gettext_lazy("age rating")
    parameter_name = "rating"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rated = [(str(rating.value), str(rating.label)) for rating in MediaItem.Rating]
        return [*rated, ("none", "Unrated")]

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        value = self.value()
        if value is None:
            return queryset
        return listing.rated(queryset, number_or_none(value))


class AddedFilter(admin.SimpleListFilter):
    title = gettext_lazy("added in the last")
    parameter_name = "added"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(listing.ADDED.items())

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        days = self.value()
        if days not in listing.ADDED:
            return queryset
        return listing.within_days(queryset, days, timezone.now())


class LengthFilter(admin.SimpleListFilter):
    title = gettext_lazy("length")
    parameter_name = "length"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, words) for value, words, *_ in listing.LENGTHS]

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        for value, _, seconds, below in listing.LENGTHS:
            if value == self.value():
                return listing.lasting(queryset, seconds, below)
        return queryset


class SoundFilter(admin.SimpleListFilter):
    title = gettext_lazy("sound")
    parameter_name = "sound"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Has sound"), ("no", "No sound")]

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        if self.value() not in {"yes", "no"}:
            return queryset
        return listing.with_audio(queryset, sound=self.value() == "yes")


class TypedFilter(admin.SimpleListFilter):
    """A filter by a typed word, or by a link elsewhere on the page."""

    template = "media_library/filter_typed.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: Any) -> Any:
        kept = changelist.params
        gone = {self.parameter_name, "p"}
        yield {
            "value": self.value() or "",
            "name": self.parameter_name,
            # A parameter's value is a list since Django 5.0.
            "kept": [
                (name, one)
                for name, values in kept.items()
                if name not in gone
                for one in (values if isinstance(values, list) else [values])
            ],
            "suggestions": self.suggestions(),
        }

    def suggestions(self) -> list[str]:
        return list(Tag.objects.values_list("name", flat=True)[:500])


class TagFilter(TypedFilter):
    title = gettext_lazy("tag")
    parameter_name = "tag"

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        value = self.value()
        return listing.tagged(queryset, value) if value else queryset


class NoTagFilter(TypedFilter):
    title = gettext_lazy("without the tag")
    parameter_name = "untagged"

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        value = self.value()
        return listing.not_tagged(queryset, value) if value else queryset


class FolderFilter(TypedFilter):
    """The folder that is chosen in the strip of folders above the list."""

    title = gettext_lazy("folder")
    parameter_name = "folder"

    def suggestions(self) -> list[str]:
        return []

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        value = (self.value() or "").strip("/")
        return listing.in_folder(queryset, f"{value}/") if value else queryset


FILTERS = (
    *(StatusFilter, LengthFilter, AddedFilter, RatingFilter, SoundFilter),
    *(TagFilter, NoTagFilter, FolderFilter),
)
