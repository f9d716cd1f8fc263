"""A channel's calendar: blocks by week, the preview, and the reason of each item."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from csp.constants import SELF
from csp.decorators import csp_update
from django.contrib import admin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from streams.calendar import preview
from streams.models import Channel, visible
from streams.planning import occurrences
from streams.planning.occurrences import DAY
from streams.programme.block_times import moment
from streamsite.http.responses import staff

#: Other years are typing errors; dates near year 1 and 9999 would overflow.
YEARS: Final = range(1970, 2200)


def _channel(request: HttpRequest, slug: str) -> Channel:
    rows = visible(Channel.objects.select_related("state"), request)
    channel: Channel = get_object_or_404(rows, slug=slug)
    return channel


def _context(request: HttpRequest, channel: Channel, tab: str, **more: Any) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": channel.name,
        "channel": channel,
        "tab": tab,
        **more,
    }


def _date(text: str) -> date:
    """Parse a date. Raises `ValueError`, also for years outside `YEARS`."""
    day = date.fromisoformat(text[:10])
    if day.year not in YEARS:
        raise ValueError(f"{day.year} is out of range.")
    return day


def _day(text: str, otherwise: date) -> date:
    try:
        return _date(text)
    except ValueError:
        return otherwise


def _monday(day: date) -> date:
    return day - day.weekday() * DAY


# ---- the calendar ----------------------------------------------------------------------------


# FullCalendar's style sheet contains a font for its arrows.
@csp_update({"font-src": [SELF, "data:"]})  # type: ignore[arg-type] # knows no arguments
@require_GET
@staff("streams.view_channel")
def page(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The calendar page. `?week=` is any day of the first week to show."""
    channel = _channel(request, slug)
    zone = channel.zone
    local = occurrences.wall(timezone.now(), zone)
    week = _monday(_day(request.GET.get("week", ""), local.date()))
    rows = channel.blocks.select_related("playlist").order_by("starts", "pk")
    context = _context(
        request,
        channel,
        "calendar",
        local=local.isoformat(timespec="seconds"),
        week=week.isoformat(),
        blocks=[{"row": row, "url": _form(request, row.pk, week)} for row in rows],
        add=reverse("admin:streams_block_add")
        + f"?{urlencode({'channel': str(channel.pk), 'calendar': str(week)})}",
    )
    return TemplateResponse(request, "streams/calendar.html", context)


def _form(request: HttpRequest, block: int, monday: date) -> str:
    """Returns the address of the block's form; empty if the user may not open it."""
    if not any(request.user.has_perm(f"streams.{do}_block") for do in ("view", "change")):
        return ""
    page = reverse("admin:streams_block_change", args=[block])
    return f"{page}?{urlencode({'calendar': monday.isoformat()})}"


# ---- preview and reasons ---------------------------------------------------------------------


@require_GET
@staff("streams.view_channel")
def coming(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The preview of one of the next seven days, in the channel's time."""
    channel = _channel(request, slug)
    zone, now = channel.zone, timezone.now()
    first = now.astimezone(zone).date()
    days = [first + number * DAY for number in range(preview.REACH.days)]
    day = _day(request.GET.get("day", ""), first)
    day = day if day in days else first
    begins, ends = occurrences.span(day, 1, zone)
    picks = [pick for pick in preview.picks(channel, now, ends) if pick.ends > begins]
    names = dict(channel.blocks.values_list("pk", "name"))
    since = max(begins, preview.begins(channel, now))
    context = _context(
        request,
        channel,
        "preview",
        days=days,
        day=day,
        lines=preview.lines(picks, since, ends, names),
        now_line=preview.on_air(channel, now, names) if day == first else None,
        clock=occurrences.clock_changes(day, 1, zone),
        zone=zone,
        off=preview.presumed(channel),
    )
    return TemplateResponse(request, "streams/preview.html", context)


@require_GET
@staff("streams.view_channel")
def why(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Why an item was, is or will be on air at `?at=`, in the channel's time."""
    channel = _channel(request, slug)
    zone, now = channel.zone, timezone.now()
    text, fault, at = request.GET.get("at", ""), "", now
    if text:
        try:
            at = _moment(text, zone)
        except ValueError:
            fault = f"“{text}” is not a date and time like 2026-03-02T20:15."
    local = at.astimezone(zone)
    second = local.replace(fold=1 - local.fold)
    context = _context(
        request,
        channel,
        "why",
        zone=zone,
        fault=fault,
        moment=local.replace(tzinfo=None).isoformat(timespec="seconds"),
        answer=None if fault else preview.why(channel, at, now),
        # In an hour that occurs twice, the page links to the other one.
        other=second.isoformat(timespec="seconds") if _twice(local) else "",
        fold=local.fold,
    )
    return TemplateResponse(request, "streams/why.html", context)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    """Parse the time of a form or link. Raises `ValueError`."""
    at = datetime.fromisoformat(text)
    if at.year not in YEARS:
        raise ValueError(f"{at.year} is out of range.")
    if at.tzinfo is not None:
        return at
    return moment(at.date(), at.time(), zone)


def _twice(local: datetime) -> bool:
    """Returns whether this local time occurs twice."""
    first, second = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second
