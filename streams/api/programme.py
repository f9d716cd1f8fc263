"""API routes for blocks over the base playlist, and for a channel's on-air hours."""

from __future__ import annotations

from datetime import date, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

from django.contrib.admin.models import ADDITION
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Schema, Status
from pydantic import Field, StringConstraints

from streams.api.channels import Name, OfChannel, the_channel
from streams.calendar import edit as weeks
from streams.models import Block, Channel, OnAirHours, visible
from streams.models.programme import MAX_PRIORITY, Span, clock
from streams.planning import occurrences
from streams.programme.model import Order, Start
from streams.wake import wake_supervisor
from streamsite.api.auth import Router
from streamsite.api.crud import (
    Accepted,
    Body,
    Clock,
    Day,
    Id,
    Page,
    Paging,
    RequestSchema,
    Slug,
    Small,
    added,
    edited,
    made,
    may_be_left_out,
    noted,
    paged,
    removed,
)
from streamsite.api.permissions import ADMIN, READ_ONLY, needs
from streamsite.http.problems import Kind, ProblemError

blocks = Router(tags=["programme"])
hours = Router(tags=["programme"])

#: Days that the calendar may ask for at once: a month's view has six weeks.
MAX_DAYS: Final = 42
#: Seconds. A larger shift is an error, such as milliseconds.
Shift = Annotated[int, Field(ge=-7 * 24 * 3600, le=7 * 24 * 3600)]
#: On-air hours of one channel: enough for a week and holidays.
MAX_HOURS = 100


class Weekday(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_WEEKDAYS = list(Weekday)


class SpanDetail(Schema):
    """In the channel's time zone. An end that is not after the start is on the next day."""

    days: list[Weekday]
    starts: str
    ends: str
    first_day: date | None
    last_day: date | None

    @staticmethod
    def resolve_days(row: Any) -> list[Weekday]:
        return [_WEEKDAYS[day] for day in sorted(row.weekdays)]

    @staticmethod
    def resolve_starts(row: Any) -> str:
        return clock(row.starts)

    @staticmethod
    def resolve_ends(row: Any) -> str:
        return clock(row.ends)


class BlockDetail(SpanDetail):
    id: int
    channel: str
    name: str
    playlist_id: int
    playlist: str
    order: str
    priority: int
    start: str
    fit: bool
    max_rating: int | None
    enabled: bool

    @staticmethod
    def resolve_channel(row: Any) -> str:
        return str(row.channel.slug)

    @staticmethod
    def resolve_playlist(row: Any) -> str:
        return str(row.playlist.name)


class SpanChange(Body):
    days: list[Weekday] = may_be_left_out(min_length=1, max_length=7)
    starts: Clock = may_be_left_out()
    ends: Clock = may_be_left_out()
    first_day: Day | None = may_be_left_out()
    last_day: Day | None = may_be_left_out()

    def given(self) -> dict[str, Any]:
        fields = super().given()
        if "days" in fields:
            fields["days"] = Span.of_weekdays(map(_WEEKDAYS.index, fields["days"]))
        for name in {"starts", "ends"} & fields.keys():
            fields[name] = time.fromisoformat(fields[name])
        return fields


class BlockChange(SpanChange):
    """A partial change: omitted fields stay unchanged."""

    name: Name = may_be_left_out()
    playlist_id: Id = may_be_left_out()
    order: Order = may_be_left_out()
    priority: int = may_be_left_out(ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    start: Start = may_be_left_out()
    fit: bool = may_be_left_out()
    max_rating: Small | None = may_be_left_out()
    enabled: bool = may_be_left_out()


class NewBlock(BlockChange):
    """Without `days` the block is on every day."""

    channel: Slug
    name: Name
    playlist_id: Id
    starts: Clock
    ends: Clock


class BlockFilter(Paging):
    channel: OfChannel = None
    playlist_id: Id | None = None
    enabled: bool | None = None


def _rows(request: HttpRequest) -> QuerySet[Block]:
    return visible(Block.objects.all(), request)


@blocks.get("", response=Page[BlockDetail], summary="Blocks, by id")
@needs(READ_ONLY, "streams.view_block")
def listed(request: HttpRequest, filters: Query[BlockFilter]) -> dict[str, Any]:
    return paged(_rows(request).select_related("channel", "playlist"), "id", filters)


@blocks.post("", response={201: BlockDetail}, summary="Create a block of a channel")
@needs(ADMIN, "streams.add_block")
def create(request: HttpRequest, body: NewBlock) -> Status[Block]:
    fields = body.given()
    fields["channel"] = the_channel(request, fields["channel"])
    return Status(201, added(request, Block(**fields), then=wake_supervisor))


@blocks.get("/{id}", response=BlockDetail, summary="Get a block")
@needs(READ_ONLY, "streams.view_block")
def block(request: HttpRequest, id: Id) -> Block:
    return get_object_or_404(_rows(request).select_related("channel", "playlist"), pk=id)


@blocks.patch("/{id}", response=BlockDetail, summary="Change a block")
@needs(ADMIN, "streams.change_block")
def change(request: HttpRequest, id: Id, body: BlockChange) -> Block:
    return edited(request, _rows(request), id, body.given(), then=wake_supervisor)


@blocks.delete("/{id}", response={204: None}, summary="Delete a block")
@needs(ADMIN, "streams.delete_block")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, _rows(request), pk=id, then=wake_supervisor)
    return Status(204, None)


# ---- the calendar ----------------------------------------------------------------------------
class CalendarParams(RequestSchema):
    """From `first` up to, but without, `last`: at most six weeks."""

    first: Day
    last: Day


class OccurrenceDetail(Schema):
    """A block on one day, in the channel's time, without an offset.

    `clashes`: with another block of the same priority. `seen`: for `/blocks/{id}/move`.
    """

    block_id: int
    name: str
    day: date
    begins: str
    ends: str
    start: str
    fit: bool
    priority: int
    clashes: bool
    seen: str


class Calendar(Schema):
    """`overlaps` and `clock_changes` are sentences. `dated`: blocks that `copy-week` copies."""

    occurrences: list[OccurrenceDetail]
    overlaps: list[str]
    clock_changes: list[str]
    dated: list[str]


class Move(Body):
    """The occurrence of that `day`, or its edges, moved by so many seconds.

    `seen`: as the calendar returned it. A block on several days moves on all of them, so it
    needs `confirmed`.
    """

    day: Day
    starts_by: Shift
    ends_by: Shift
    seen: Annotated[str, StringConstraints(max_length=100)]
    confirmed: bool = False


@hours.get("/{slug:slug}/calendar", response=Calendar, summary="Blocks of some days")
@needs(READ_ONLY, "streams.view_channel")
def calendar(request: HttpRequest, slug: str, params: Query[CalendarParams]) -> dict[str, Any]:
    days = (params.last - params.first).days
    if not 0 < days <= MAX_DAYS:
        raise ProblemError(
            Kind.INVALID, f"Ask for 1 to {MAX_DAYS} days, the end after the start."
        )
    channel = the_channel(request, slug)
    outline = occurrences.outline(channel)
    begins, ends = occurrences.span(params.first, days, outline.zone)
    seen = {row.pk: weeks.times_of(row).token for row in channel.blocks.all()}
    return {
        "occurrences": [
            {
                "block_id": (block := one.slot.block).pk,
                "name": block.name,
                "day": one.day,
                "begins": one.begins.isoformat(),
                "ends": one.ends.isoformat(),
                "start": block.start.value,
                "fit": block.fit,
                "priority": block.priority,
                "clashes": one.clashes,
                "seen": seen.get(block.pk, ""),
            }
            for one in occurrences.occurrences(outline, begins, ends)
        ],
        "overlaps": occurrences.overlaps(outline, begins, ends),
        "clock_changes": occurrences.clock_changes(params.first, days, outline.zone),
        "dated": [row.name for row in weeks.in_week(channel, _monday(params.first))],
    }


@blocks.post("/{id}/move", response=Accepted, summary="Move a block, or its edges")
@needs(ADMIN, "streams.change_block")
def move(request: HttpRequest, id: Id, body: Move) -> dict[str, str]:
    row = get_object_or_404(_rows(request), pk=id)
    times = weeks.times_of(row)
    then = weeks.moved(
        times, body.day, timedelta(seconds=body.starts_by), timedelta(seconds=body.ends_by)
    )
    before = row.in_words
    if times.occurrences != [body.day] and not body.confirmed:
        after = Block(
            starts=then.starts,
            ends=then.ends,
            days=Block.of_weekdays(then.days),
            first_day=then.first_day,
            last_day=then.last_day,
        )
        raise ProblemError(
            Kind.UNCONFIRMED,
            f"“{row.name}” has one time for all its days, so all of them change: from {before} "
            f"to {after.in_words}. To change a single day, add a block for that day only, with "
            "a higher priority.",
        )
    weeks.move(row, then, seen=body.seen)
    row.refresh_from_db()
    noted(request, row, f"Moved in the calendar from {before} to {row.in_words}.")
    return {"detail": f"“{row.name}” is moved: {row.in_words}."}


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


# ---- a week of blocks ------------------------------------------------------------------------
class CopyWeekBody(Body):
    """`week`: any day of the week to copy; `to`: any day of the target week, from Monday."""

    week: Day
    to: Day


class CopiedWeek(Schema):
    """The created blocks. Blocks that exist in the target week are not copied again."""

    blocks: list[BlockDetail]


@hours.post(
    "/{slug:slug}/copy-week",
    response={201: CopiedWeek},
    summary="Copy the blocks of a week to another week",
    description="Copies blocks whose dates are within the week; the others recur every week.",
)
@needs(ADMIN, "streams.add_block")
def copy_week(request: HttpRequest, slug: str, body: CopyWeekBody) -> Status[dict[str, Any]]:
    week, to = _monday(body.week), _monday(body.to)
    with transaction.atomic():
        rows = weeks.copy_week(the_channel(request, slug), week, to)
        for row in rows:
            noted(request, row, "Copied from another week.", ADDITION)
    return Status(201, {"blocks": rows})


# ---- hours -----------------------------------------------------------------------------------
class NewSpan(SpanChange):
    """Without `days` the hours hold every day."""

    starts: Clock
    ends: Clock


class Hours(Body):
    hours: list[NewSpan] = Field(max_length=MAX_HOURS)


class HoursDetail(Schema):
    """Empty: only people and programs start and stop the channel."""

    hours: list[SpanDetail]


@hours.get("/{slug:slug}/hours", response=HoursDetail, summary="Get the on-air hours")
@needs(READ_ONLY, "streams.view_channel")
def on_air_hours(request: HttpRequest, slug: str) -> dict[str, Any]:
    return {"hours": list(the_channel(request, slug).hours.all())}


@hours.put("/{slug:slug}/hours", response=HoursDetail, summary="Replace the on-air hours")
@needs(ADMIN, "streams.change_channel")
def replace_hours(request: HttpRequest, slug: str, body: Hours) -> dict[str, Any]:
    with transaction.atomic():
        rows = visible(Channel.objects.select_for_update(), request)
        channel = get_object_or_404(rows, slug=slug)
        channel.hours.all().delete()
        for span in body.hours:
            made(OnAirHours(channel=channel, **span.given()))
        # The hours take effect from now on.
        Channel.objects.filter(pk=channel.pk).update(hours_changed_at=timezone.now())
        noted(request, channel, "Changed hours.")
        transaction.on_commit(wake_supervisor)
    return {"hours": list(channel.hours.all())}
