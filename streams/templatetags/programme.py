"""Template filters for the programme."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone

from streams.calendar import preview
from streams.models import programme

register = template.Library()

#: Number of colours for blocks: `cal-0` and so on in calendar.css.
COLOURS = 8


@register.filter
def colour(block: int) -> int:
    return block % COLOURS


@register.filter
def rule_in_words(rule: str, names: dict[int, str]) -> str:
    return preview.in_words(rule, names)


@register.filter
def clock(moment: datetime) -> str:
    """Formats the time of day in the template's zone, with seconds unless zero."""
    return programme.clock(timezone.localtime(moment).time())


@register.filter
def local_iso(moment: datetime) -> str:
    """Formats a moment as ISO 8601 with the offset of the template's zone."""
    return timezone.localtime(moment).isoformat(timespec="seconds")
