"""A channel's calendar: its blocks week by week, what they will put on air, and why."""

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

#: Others are slips of the pen, and the first and the last bring arithmetic to its end.
YEARS: Final = range(1970, 2200)
#: Days that a page may ask for at once: a month's view has six weeks.
MOST_DAYS: Final = 42
#: Milliseconds and more are no times of day: a shift lasts a day at most, either way.
_MOST_SECONDS: Final = 7 * 24 * 3600


def _channel(slug: str) -> Channel:
    found: Channel = get_object_or_404(Channel.objects.select_related("state"), slug=slug)
    return found


def _context(request: HttpRequest, channel: Channel, tab: str, **more: Any) -> dict[str, Any]:
    return {
        **admin.site.each_context(request),
        "title": channel.name,
        "channel": channel,
        "tab": tab,
        **more,
    }


def _date(text: str) -> date:
    """Raises `ValueError`, also for years in which nobody plans a channel."""
    day = date.fromisoformat(text[:10])
    if day.year not in YEARS:
        raise ValueError(f"{day.year} is out of reach.")
    return day


def _day(text: str, otherwise: date) -> date:
    try:
        return _date(text)
    except ValueError:
        return otherwise


def _monday(day: date) -> date:
    return day - day.weekday() * DAY


# ---- the calendar ----------------------------------------------------------------------------


# FullCalendar brings the font of its arrows in its style sheet.
@csp_update({"font-src": [SELF, "data:"]})  # type: ignore[arg-type] # knows no arguments
@require_GET
@staff("streams.view_channel")
def page(request: HttpRequest, slug: str) -> HttpResponseBase:
    """The calendar; `?week=` is any day of the week to begin with."""
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
    """The blocks of some days for the calendar, `start` up to `end`, in the channel's time."""
    channel = _channel(slug)
    try:
        first, last = (_date(request.GET[name]) for name in ("start", "end"))
    except (KeyError, ValueError):
        return reply("Give start and end as dates, like 2026-03-02.", 400)
    if not 0 < (last - first).days <= MOST_DAYS:
        return reply(f"Ask for {MOST_DAYS} days at most, and end after the start.", 400)
    programme = occurrences.outline(channel)
    days = (last - first).days
    begins, ends = occurrences.span(first, days, programme.zone)
    seen = {row.pk: edit.times_of(row).token for row in channel.blocks.all()}
    return JsonResponse(
        {
            "events": [
                _event(request, each, seen.get(each.slot.block.pk, ""))
                for each in occurrences.occurrences(programme, begins, ends)
            ],
            "overlaps": occurrences.overlaps(programme, begins, ends),
            "clock": occurrences.clock_changes(first, days, programme.zone),
            "dated": [block.name for block in edit.in_week(channel, _monday(first))],
        }
    )


def _event(request: HttpRequest, occurrence: Occurrence, seen: str) -> dict[str, Any]:
    """As FullCalendar takes it. Without offsets, so that it shows the channel's own clock."""
    block = occurrence.slot.block
    told = ["Cuts in" if block.start.value == "hard" else "Waits for the item's end"]
    if block.fit:
        told.append("ends on time")
    if block.priority:
        told.append(f"priority {block.priority}")
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
        "told": ", ".join(told),
        "clashes": occurrence.clashes,
        "seen": seen,
    }


def _form(request: HttpRequest, block: int, monday: date) -> str:
    """The address of the block's form, or nothing for those who may not open it."""
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
    """Move a block or its edges; one that is on several days asks back unless `confirmed`."""
    return _answered(lambda: _move(request, _channel(slug)))


def _move(request: HttpRequest, channel: Channel) -> JsonResponse:
    asked = sent(request)
    block = channel.blocks.filter(pk=_whole(asked, "block")).first()
    if block is None:
        return reply("There is no such block any more: load the page again.", 404)
    day = _sent_date(asked, "day")
    starts_by, ends_by = (
        timedelta(seconds=_whole(asked, name)) for name in ("starts_by", "ends_by")
    )
    times = edit.times_of(block)
    then = edit.moved(times, day, starts_by, ends_by)
    if times.occurrences != [day] and asked.get("confirmed") is not True:
        return JsonResponse({"ask": _question(block, then)})
    before = block.in_words
    edit.move(block, then, seen=str(asked.get("seen", "")))
    block.refresh_from_db()
    note = f"Moved in the calendar: it was {before}, and is {block.in_words}."
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
        f"“{block.name}” has one time for all its days, so all of them change: it was "
        f"{block.in_words}, and would be {after.in_words}. To change a single day, add a "
        "block for that day alone, with a higher priority."
    )


@require_POST
@staff("streams.add_block")
def copy_week(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Copy the blocks whose dates lie in the week of `week` to the week of `to`."""
    return _answered(lambda: _copy_week(request, _channel(slug)))


def _copy_week(request: HttpRequest, channel: Channel) -> JsonResponse:
    asked = sent(request)
    to = _monday(_sent_date(asked, "to"))
    made = edit.copy_week(channel, _monday(_sent_date(asked, "week")), to)
    _note(request, made, ADDITION, "Copied from another week in the calendar.")
    count = f"{len(made)} block{'' if len(made) == 1 else 's'}"
    said = f"{count} copied." if made else "All of them are in that week already."
    return reply(said, 200, week=to.isoformat())


def _note(request: HttpRequest, rows: list[Block], flag: int, text: str) -> None:
    user = request.user.pk
    if user is None:
        return
    for row in rows:
        LogEntry.objects.log_actions(user, [row], flag, text, single_object=True)


def _whole(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequestError(f"{name} is no whole number.")
    if name != "block" and abs(value) > _MOST_SECONDS:
        raise BadRequestError(f"{name} is more than a week.")
    return value


def _sent_date(asked: dict[str, Any], name: str) -> date:
    try:
        return _date(str(asked.get(name)))
    except ValueError:
        raise BadRequestError(f"{name} is no date like 2026-03-02.") from None


# ---- what will be on air, and why ------------------------------------------------------------


@require_GET
@staff("streams.view_channel")
def coming(request: HttpRequest, slug: str) -> HttpResponseBase:
    """One day of the next seven, as the channel's clock counts them."""
    channel = _channel(slug)
    zone, now = channel.zone, timezone.now()
    first = now.astimezone(zone).date()
    days = [first + number * DAY for number in range(preview.REACH.days)]
    day = _day(request.GET.get("day", ""), first)
    day = day if day in days else first
    begins, ends = occurrences.span(day, 1, zone)
    found = [pick for pick in preview.picks(channel, now, ends) if pick.ends > begins]
    names = dict(channel.blocks.values_list("pk", "name"))
    since = max(begins, preview.begins(channel, now))
    context = _context(
        request,
        channel,
        "preview",
        days=days,
        day=day,
        lines=preview.lines(found, since, ends, names),
        now_line=preview.on_air(channel, now, names) if day == first else None,
        clock=occurrences.clock_changes(day, 1, zone),
        zone=zone,
        off=preview.presumed(channel),
    )
    return TemplateResponse(request, "streams/preview.html", context)


@require_GET
@staff("streams.view_channel")
def why(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Why something was, is or will be on air at `?at=`, in the channel's time."""
    channel = _channel(slug)
    zone, now = channel.zone, timezone.now()
    asked, fault, at = request.GET.get("at", ""), "", now
    if asked:
        try:
            at = _moment(asked, zone)
        except ValueError:
            fault = f"“{asked}” is no date and time like 2026-03-02T20:15."
    local = at.astimezone(zone)
    second = local.replace(fold=1 - local.fold)
    context = _context(
        request,
        channel,
        "why",
        zone=zone,
        fault=fault,
        asked=local.replace(tzinfo=None).isoformat(timespec="seconds"),
        answer=None if fault else preview.why(channel, at, now),
        # In the hour that comes twice, the other one can be asked for too.
        other=second.isoformat(timespec="seconds") if _twice(local) else "",
        fold=local.fold,
    )
    return TemplateResponse(request, "streams/why.html", context)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    """A moment as a form or a link tells it. Raises `ValueError`."""
    at = datetime.fromisoformat(text)
    if at.year not in YEARS:
        raise ValueError(f"{at.year} is out of reach.")
    if at.tzinfo is not None:
        return at
    return moment(at.date(), at.time(), zone)


def _twice(local: datetime) -> bool:
    """Whether the channel's clock shows this time twice."""
    first, second = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second
