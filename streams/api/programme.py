"""The programme in the API: blocks over the base playlist, and a channel's hours."""

from __future__ import annotations

from datetime import date, time, timedelta
from enum import StrEnum
from typing import Any

from django.contrib.admin.models import ADDITION
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Router, Schema, Status
from pydantic import Field

from streams.api.channels import Name, the_channel
from streams.calendar import edit as weeks
from streams.models import Block, Channel, OnAirHours
from streams.models.programme import MOST_PRIORITY, Span, clock
from streams.programme.model import Order, Start
from streams.wake import wake_supervisor
from streamsite.api.crud import (
    Body,
    Clock,
    Day,
    Id,
    Page,
    Paging,
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

blocks = Router(tags=["programme"])
hours = Router(tags=["programme"])

#: Of one channel: a week's, and some for holidays.
MOST_HOURS = 100


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
    """In the channel's time zone. An end that is not after the start is the next day's."""

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
    """What is left out stays as it is."""

    name: Name = may_be_left_out()
    playlist_id: Id = may_be_left_out()
    order: Order = may_be_left_out()
    priority: int = may_be_left_out(ge=-MOST_PRIORITY, le=MOST_PRIORITY)
    start: Start = may_be_left_out()
    fit: bool = may_be_left_out()
    max_rating: Small | None = may_be_left_out()
    enabled: bool = may_be_left_out()


class NewBlock(BlockChange):
    """Without `days` it is on every day."""

    channel: Slug
    name: Name
    playlist_id: Id
    starts: Clock
    ends: Clock


class BlockFilter(Paging):
    channel: str = Field("", max_length=80, description="A channel's slug.")
    playlist_id: Id | None = None
    enabled: bool | None = None


@blocks.get("", response=Page[BlockDetail], summary="Blocks, by id")
def listed(request: HttpRequest, asked: Query[BlockFilter]) -> dict[str, Any]:
    rows = Block.objects.select_related("channel", "playlist")
    if asked.channel:
        rows = rows.filter(channel__slug=asked.channel)
    if asked.playlist_id is not None:
        rows = rows.filter(playlist=asked.playlist_id)
    if asked.enabled is not None:
        rows = rows.filter(enabled=asked.enabled)
    return paged(rows, "id", asked)


@blocks.post("", response={201: BlockDetail}, summary="A new block of a channel")
def create(request: HttpRequest, asked: NewBlock) -> Status[Block]:
    fields = asked.given()
    fields["channel"] = the_channel(fields["channel"])
    return Status(201, added(request, Block(**fields), then=wake_supervisor))


@blocks.get("/{id}", response=BlockDetail, summary="One block")
def block(request: HttpRequest, id: Id) -> Block:
    return get_object_or_404(Block.objects.select_related("channel", "playlist"), pk=id)


@blocks.patch("/{id}", response=BlockDetail, summary="Change it")
def change(request: HttpRequest, id: Id, asked: BlockChange) -> Block:
    return edited(request, Block.objects.all(), id, asked.given(), then=wake_supervisor)


@blocks.delete("/{id}", response={204: None}, summary="Delete it")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, Block.objects.all(), pk=id, then=wake_supervisor)
    return Status(204, None)


# ---- a week of blocks ------------------------------------------------------------------------
class WeekAsked(Body):
    """Any day of the week to copy, and of the week to copy it to; weeks begin on Monday."""

    week: Day
    to: Day


class CopiedWeek(Schema):
    """Those that were made: what was in that week already is not made twice."""

    blocks: list[BlockDetail]


@hours.post(
    "/{slug:slug}/copy-week",
    response={201: CopiedWeek},
    summary="The blocks of one week in another",
    description="Those whose dates lie inside the week; others are in every week anyway.",
)
def copy_week(request: HttpRequest, slug: str, asked: WeekAsked) -> Status[dict[str, Any]]:
    week, to = (day - timedelta(days=day.weekday()) for day in (asked.week, asked.to))
    with transaction.atomic():
        rows = weeks.copy_week(the_channel(slug), week, to)
        for row in rows:
            noted(request, row, "Copied from another week.", ADDITION)
    return Status(201, {"blocks": rows})


# ---- hours -----------------------------------------------------------------------------------
class NewSpan(SpanChange):
    """Without `days` it is every day."""

    starts: Clock
    ends: Clock


class Hours(Body):
    hours: list[NewSpan] = Field(max_length=MOST_HOURS)


class HoursDetail(Schema):
    """Empty: it is started and stopped by people alone."""

    hours: list[SpanDetail]


@hours.get("/{slug:slug}/hours", response=HoursDetail, summary="When it is on by itself")
def on_air_hours(request: HttpRequest, slug: str) -> dict[str, Any]:
    return {"hours": list(the_channel(slug).hours.all())}


@hours.put("/{slug:slug}/hours", response=HoursDetail, summary="Other hours, all of them")
def replace_hours(request: HttpRequest, slug: str, asked: Hours) -> dict[str, Any]:
    with transaction.atomic():
        channel = get_object_or_404(Channel.objects.select_for_update(), slug=slug)
        channel.hours.all().delete()
        for span in asked.hours:
            made(OnAirHours(channel=channel, **span.given()))
        # They stop it from now on, not before.
        Channel.objects.filter(pk=channel.pk).update(hours_changed_at=timezone.now())
        noted(request, channel, "Changed hours.")
        transaction.on_commit(wake_supervisor)
    return {"hours": list(channel.hours.all())}
