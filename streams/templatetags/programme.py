"""The programme in templates."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone

from streams.calendar import preview
from streams.models import programme

register = template.Library()

#: Blocks are told apart by so many colours: `cal-0` and so on in calendar.css.
COLOURS = 8


@register.filter
def colour(block: int) -> int:
    return block % COLOURS


@register.filter
def rule_in_words(rule: str, names: dict[int, str]) -> str:
    return preview.in_words(rule, names)


@register.filter
def clock(moment: datetime) -> str:
    """In the zone that the template is in, with seconds where there are any."""
    return programme.clock(timezone.localtime(moment).time())


@register.filter
def local_iso(moment: datetime) -> str:
    """With the offset of the zone that the template is in."""
    return timezone.localtime(moment).isoformat(timespec="seconds")
