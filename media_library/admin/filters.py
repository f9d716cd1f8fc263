"""Filters of the items, with fixed choices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy

from media_library.models import MediaItem, Tag
from media_library.search import listing

Items = QuerySet[MediaItem]


class ChoiceFilter(admin.SimpleListFilter):
    """A filter by some values. Each has a label and a function that narrows the list."""

    options: ClassVar[dict[str, tuple[str, Callable[[Items], Items]]]] = {}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, (label, _) in self.options.items()]

    def queryset(self, request: HttpRequest, queryset: Items) -> Items:
        chosen = self.options.get(self.value() or "")
        return chosen[1](queryset) if chosen else queryset


class StatusFilter(ChoiceFilter):
    title = gettext_lazy("status")
    parameter_name = "status"
    options: ClassVar = {
        status.value: (str(status.label), partial(listing.with_status, status=status.value))
        for status in MediaItem.Status
    }


class RatingFilter(ChoiceFilter):
    title = gettext_lazy("age rating")
    parameter_name = "rating"
    options: ClassVar = {
        **{
            str(rating.value): (str(rating.label), partial(listing.rated, rating=rating.value))
            for rating in MediaItem.Rating
        },
        "none": ("Unrated", partial(listing.rated, rating=None)),
    }


def _added_within(items: Items, days: str) -> Items:
    return listing.within_days(items, days, timezone.now())


class AddedFilter(ChoiceFilter):
    title = gettext_lazy("added in the last")
    parameter_name = "added"
    options: ClassVar = {
        days: (label, partial(_added_within, days=days))
        for days, label in listing.ADDED.items()
    }


class LengthFilter(ChoiceFilter):
    title = gettext_lazy("length")
    parameter_name = "length"
    options: ClassVar = {
        value: (label, partial(listing.lasting, seconds=seconds, below=below))
        for value, label, seconds, below in listing.LENGTHS
    }


class SoundFilter(ChoiceFilter):
    title = gettext_lazy("sound")
    parameter_name = "sound"
    options: ClassVar = {
        "yes": ("Has audio", partial(listing.with_audio, present=True)),
        "no": ("No audio", partial(listing.with_audio, present=False)),
    }


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
