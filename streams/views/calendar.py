"""A channel's calendar: blocks by week, the preview, and the reason of each item."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from csp.constants import SELF
from csp.decorators import csp_update
from django.contrib import admin
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from streams.calendar import edit, preview
from streams.models import Block, Channel
from streams.planning import occurrences
from streams.planning.occurrences import DAY, Occurrence
from streams.programme.block_times import moment
from streams.templatetags.programme import colour
from streamsite.http.responses import BadRequestError, reply, sent, staff

#: Other years are typing errors; dates near year 1 and 9999 would overflow.
YEARS: Final = range(1970, 2200)
#: Days that a page may request at once: a month's view has six weeks.
MAX_DAYS: Final = 42
#: Seconds. A larger shift is an error, such as milliseconds.
_MAX_SHIFT_S: Final = 7 * 24 * 3600


def _channel(slug: str) -> Channel:
    channel: Channel = get_object_or_404(Channel.objects.select_related("state"), slug=slug)
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
    channel = _channel(slug)
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


@require_GET
@staff("streams.view_channel")
def week(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The blocks from `start` up to `end` for the calendar, in the channel's time."""
    channel = _channel(slug)
    try:
        first, last = (_date(request.GET[name]) for name in ("start", "end"))
    except (KeyError, ValueError):
        return reply("Give start and end as dates, like 2026-03-02.", 400)
    if not 0 < (last - first).days <= MAX_DAYS:
        return reply(f"Request at most {MAX_DAYS} days, with the end after the start.", 400)
    programme = occurrences.outline(channel)
    days = (last - first).days
    begins, ends = occurrences.span(first, days, programme.zone)
    seen = {row.pk: edit.times_of(row).token for row in channel.blocks.all()}
    return JsonResponse(
        {
            "events": [
                _event(request, occurrence, seen.get(occurrence.slot.block.pk, ""))
                for occurrence in occurrences.occurrences(programme, begins, ends)
            ],
            "overlaps": occurrences.overlaps(programme, begins, ends),
            "clock": occurrences.clock_changes(first, days, programme.zone),
            "dated": [block.name for block in edit.in_week(channel, _monday(first))],
        }
    )


def _event(request: HttpRequest, occurrence: Occurrence, seen: str) -> dict[str, Any]:
    """Build a FullCalendar event. Without offsets it shows the channel's local time."""
    block = occurrence.slot.block
    details = ["Cuts in" if block.start.value == "hard" else "Waits for the item's end"]
    if block.fit:
        details.append("ends on time")
    if block.priority:
        details.append(f"priority {block.priority}")
    return {
        "id": f"{block.pk}-{occurrence.day}",
        "title": block.name,
        "start": occurrence.begins.isoformat(),
        "end": occurrence.ends.isoformat(),
        "url": _form(request, block.pk, _monday(occurrence.day)),
        "classNames": [f"cal-{colour(block.pk)}", *["cal-clash"] * occurrence.clashes],
        "editable": request.user.has_perm("streams.change_block"),
        "block": block.pk,
        "day": occurrence.day.isoformat(),
        "details": ", ".join(details),
        "clashes": occurrence.clashes,
        "seen": seen,
    }


def _form(request: HttpRequest, block: int, monday: date) -> str:
    """Returns the address of the block's form; empty if the user may not open it."""
    if not any(request.user.has_perm(f"streams.{do}_block") for do in ("view", "change")):
        return ""
    page = reverse("admin:streams_block_change", args=[block])
    return f"{page}?{urlencode({'calendar': monday.isoformat()})}"


# ---- changes ---------------------------------------------------------------------------------


def _answered(act: Callable[[], JsonResponse]) -> JsonResponse:
    try:
        return act()
    except BadRequestError as error:
        return reply(str(error), 400)
    except edit.ChangedMeanwhileError as refusal:
        return reply(str(refusal), 409)
    except edit.BlockRefusedError as refusal:
        return reply(str(refusal), 422)


@require_POST
@staff("streams.change_block")
def move(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Move a block or its edges. A block on several days needs `confirmed`."""
    return _answered(lambda: _move(request, _channel(slug)))


def _move(request: HttpRequest, channel: Channel) -> JsonResponse:
    body = sent(request)
    block = channel.blocks.filter(pk=_whole(body, "block")).first()
    if block is None:
        return reply("The block no longer exists. Reload the page.", 404)
    day = _sent_date(body, "day")
    starts_by, ends_by = (
        timedelta(seconds=_whole(body, name)) for name in ("starts_by", "ends_by")
    )
    times = edit.times_of(block)
    then = edit.moved(times, day, starts_by, ends_by)
    if times.occurrences != [day] and body.get("confirmed") is not True:
        return JsonResponse({"question": _question(block, then)})
    before = block.in_words
    edit.move(block, then, seen=str(body.get("seen", "")))
    block.refresh_from_db()
    note = f"Moved in the calendar from {before} to {block.in_words}."
    _note(request, [block], CHANGE, note)
    return reply(f"“{block.name}” is moved: {block.in_words}.", 200)


def _question(block: Block, then: edit.Times) -> str:
    after = Block(
        starts=then.starts,
        ends=then.ends,
        days=Block.of_weekdays(then.days),
        first_day=then.first_day,
        last_day=then.last_day,
    )
    return (
        f"“{block.name}” has one time for all its days, so all of them change: from "
        f"{block.in_words} to {after.in_words}. To change a single day, add a "
        "block for that day only, with a higher priority."
    )


@require_POST
@staff("streams.add_block")
def copy_week(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Copy the blocks whose dates are within the week of `week` to the week of `to`."""
    return _answered(lambda: _copy_week(request, _channel(slug)))


def _copy_week(request: HttpRequest, channel: Channel) -> JsonResponse:
    body = sent(request)
    to = _monday(_sent_date(body, "to"))
    made = edit.copy_week(channel, _monday(_sent_date(body, "week")), to)
    _note(request, made, ADDITION, "Copied from another week in the calendar.")
    count = f"{len(made)} block{'' if len(made) == 1 else 's'}"
    sentence = f"{count} copied." if made else "All blocks exist in that week already."
    return reply(sentence, 200, week=to.isoformat())


def _note(request: HttpRequest, rows: list[Block], flag: int, text: str) -> None:
    user = request.user.pk
    if user is None:
        return
    for row in rows:
        LogEntry.objects.log_actions(user, [row], flag, text, single_object=True)


def _whole(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequestError(f"{name} is not a whole number.")
    if name != "block" and abs(value) > _MAX_SHIFT_S:
        raise BadRequestError(f"{name} is more than a week.")
    return value


def _sent_date(body: dict[str, Any], name: str) -> date:
    try:
        return _date(str(body.get(name)))
    except ValueError:
        raise BadRequestError(f"{name} is not a date like 2026-03-02.") from None


# ---- preview and reasons ---------------------------------------------------------------------


@require_GET
@staff("streams.view_channel")
def coming(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The preview of one of the next seven days, in the channel's time."""
    channel = _channel(slug)
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
    channel = _channel(slug)
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
