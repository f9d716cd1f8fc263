"""Filters and tags of the library for templates."""

from __future__ import annotations

from typing import Any

from django import template

from media_library import formatting
from media_library.models import MediaItem, SyncRun
from media_library.search import listing

register = template.Library()

register.filter("length_of", formatting.length)
register.filter("size_of", formatting.size)
register.filter("house_format_of", formatting.house_format)
register.filter("length_in", formatting.copy_length)


@register.filter
def crumbs(path: str) -> list[tuple[str, str]]:
    """Returns each folder of a path with its path."""
    parts = [part for part in path.split("/") if part]
    return [(part, "/".join(parts[: n + 1])) for n, part in enumerate(parts)]


@register.simple_tag
def folder_url(listed: Any, path: str) -> str:
    """Returns the list's URL with that folder, and the other filters unchanged."""
    return str(listed.get_query_string({"folder": path} if path else {}, ["folder", "p"]))


@register.filter
def figures(names: str, run: SyncRun | None) -> list[tuple[str, str, object]]:
    """Returns the name, the label and the value of each figure."""
    # Undefined template variables arrive as empty strings.
    return [
        (name, name.replace("_", " "), getattr(run, name) if run else formatting.NOTHING)
        for name in names.split()
    ]


@register.simple_tag
def length_choices() -> list[tuple[str, str]]:
    """Returns the seconds from and below of each choice, such as 60-600, and its label."""
    return [
        (f"{longer or ''}-{below or ''}", label) for _, label, longer, below in listing.LENGTHS
    ]


@register.simple_tag
def status_choices() -> list[tuple[str, str]]:
    return [(status.value, str(status.label)) for status in MediaItem.Status]
