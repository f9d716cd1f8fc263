"""The library's words, for templates."""

from __future__ import annotations

from typing import Any

from django import template

from media_library import formatting
from media_library.models import MediaItem, SyncRun
from media_library.search import listing

register = template.Library()

register.filter("length_of", formatting.length)
register.filter("size_of", formatting.size)
register.filter("house_of", formatting.house)
register.filter("length_in", formatting.copy_length)


@register.filter
def crumbs(path: str) -> list[tuple[str, str]]:
    """Each folder of a path with the path to it."""
    parts = [part for part in path.split("/") if part]
    return [(part, "/".join(parts[: n + 1])) for n, part in enumerate(parts)]


@register.simple_tag
def folder_url(listed: Any, path: str) -> str:
    """The list in that folder, otherwise as it is."""
    return str(listed.get_query_string({"folder": path} if path else {}, ["folder", "p"]))


@register.filter
def figures(names: str, run: SyncRun | None) -> list[tuple[str, str, object]]:
    """Of each figure its name, its name in words, and what it was."""
    # What a template misses arrives as an empty string.
    return [
        (name, name.replace("_", " "), getattr(run, name) if run else formatting.NOTHING)
        for name in names.split()
    ]


@register.simple_tag
def length_choices() -> list[tuple[str, str]]:
    return [(value, said) for value, said, *_ in listing.LENGTHS]


@register.simple_tag
def status_choices() -> list[tuple[str, str]]:
    return [(status.value, str(status.label)) for status in MediaItem.Status]
