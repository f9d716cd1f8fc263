"""API routes for channels: their settings, and the report that the pages show."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import FilterLookup, Query, Schema, Status
from pydantic import Field, StringConstraints

from streams.control.on_air_schedule import outlooks
from streams.models import Channel, visible
from streams.monitoring.preflight import unverified
from streams.monitoring.report import IncidentReport, NowReport, OutputReport, RunReport, report
from streams.programme.model import Order, Return
from streams.wake import wake_supervisor
from streamsite.accounts.limits import own_channels
from streamsite.api.auth import Router
from streamsite.api.crud import (
    Body,
    Id,
    Page,
    Paging,
    RequestSchema,
    Slug,
    Small,
    Text,
    added,
    changed,
    may_be_left_out,
    noted,
    paged,
    removed,
)
from streamsite.api.permissions import ADMIN, READ_ONLY, needs
from streamsite.http.problems import Kind, ProblemError
from streamsite.security.secret import Unreadable

router = Router(tags=["channels"])
statuses = Router(tags=["channels"])

#: Changing these fields while the channel is on air would break its stream.
HOUSE_FIELDS = {"width", "height", "fps", "video_bitrate", "audio_bitrate"}
#: A filter by the channel of a row.
OfChannel = Annotated[
    Text,
    FilterLookup("channel__slug"),
    Field(description="A channel's slug."),
]
NameOrSlug = Annotated[
    Text,
    FilterLookup(["name__icontains", "slug__icontains"]),
    Field(description="Part of the name or slug."),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]


# ---- responses -------------------------------------------------------------------------------
OnFlaw = Literal["ignore", "report", "skip", "filler"]
OnLate = Literal["report", "renew"]


class ChannelStatus(Schema):
    """state: off, starting, on_air, degraded, failing, stopping; `label`: for people.

    It is presumed unless `confirmed`.
    """

    slug: str
    name: str
    desired_state: str
    state: str
    label: str
    preview: bool
    confirmed: bool
    since: datetime | None
    cause: str
    supervised: bool
    on_air_since: datetime | None
    bitrate: int | None
    run: RunReport | None
    now: NowReport | None
    next: str
    outputs: list[OutputReport]
    incidents: list[IncidentReport]
    last_incident: IncidentReport | None


class Watched(ChannelStatus):
    """`outlook`: what the on-air hours will do next; empty without hours."""

    outlook: str


class Statuses(Schema):
    channels: list[Watched]


class StatusFilter(RequestSchema):
    channel: str = Field("", max_length=80, description="A channel's slug. Default: all.")


class OutputDetail(Schema):
    """The stream key and the secret parameters are never returned: see `has_...`.

    `verify_certificate`: whether the certificates of rtmps servers are verified. `warning` is a
    sentence if they are not, else empty.

    `key_readable`: false if no key of FIELD_KEYS decrypts the stored key. The output can't be
    used until the key is entered again.
    """

    id: int
    channel: str
    name: str
    platform: str
    url: str
    address: str
    roll_over_hours: int | None
    second_node: bool
    account: int | None = Field(validation_alias="account_id")
    watch_url: str
    title_template: str
    description_template: str
    category: str
    enabled: bool
    has_key: bool
    key_readable: bool
    has_secret_query: bool
    verify_certificate: bool
    warning: str

    @staticmethod
    def resolve_has_secret_query(output: Any) -> bool:
        return bool(output.secret_query)

    @staticmethod
    def resolve_warning(output: Any) -> str:
        return unverified(output) if output.unverified else ""

    @staticmethod
    def resolve_channel(output: Any) -> str:
        return str(output.channel.slug)

    @staticmethod
    def resolve_has_key(output: Any) -> bool:
        return bool(output.key)

    @staticmethod
    def resolve_key_readable(output: Any) -> bool:
        return bool(output.key) and not isinstance(output.key, Unreadable)


class ChannelDetail(Schema):
    """Bit rates in bit/s, sizes in pixels, `max_rating` in years, `logo_width` in percent.

    `live_debounce` and `live_hold`: seconds, for takeovers.
    """

    slug: str
    name: str
    desired_state: str
    playlist_id: int | None
    playlist: str | None
    playlist_order: str
    filler_id: int | None
    time_zone: str
    max_rating: int | None
    on_return: str
    preview: bool
    public_guide: bool
    public_status: bool
    test_channel: bool
    if_black: OnFlaw
    if_still: OnFlaw
    if_silent: OnFlaw
    if_late: OnLate
    width: int
    height: int
    fps: int
    video_bitrate: int
    audio_bitrate: int
    logo: str
    logo_corner: str
    logo_width: int
    live_debounce: int
    live_hold: int
    live_order: str
    outputs: list[OutputDetail]
    status: ChannelStatus

    @staticmethod
    def resolve_playlist(channel: Any) -> str | None:
        return channel.playlist.name if channel.playlist else None


# ---- requests --------------------------------------------------------------------------------
class ChannelChange(Body):
    """A partial change: omitted fields stay unchanged."""

    name: Name = may_be_left_out()
    slug: Slug = may_be_left_out()
    playlist_id: Id | None = may_be_left_out()
    filler_id: Id | None = may_be_left_out()
    playlist_order: Order = may_be_left_out()
    time_zone: str = may_be_left_out()
    max_rating: Small | None = may_be_left_out()
    on_return: Return = may_be_left_out()
    preview: bool = may_be_left_out()
    public_guide: bool = may_be_left_out()
    public_status: bool = may_be_left_out()
    test_channel: bool = may_be_left_out()
    if_black: OnFlaw = may_be_left_out()
    if_still: OnFlaw = may_be_left_out()
    if_silent: OnFlaw = may_be_left_out()
    if_late: OnLate = may_be_left_out()
    width: Small = may_be_left_out()
    height: Small = may_be_left_out()
    fps: Small = may_be_left_out()
    video_bitrate: int = may_be_left_out(ge=50_000, le=51_000_000)
    audio_bitrate: int = may_be_left_out(ge=32_000, le=320_000)
    logo_corner: Literal["tl", "tr", "bl", "br"] = may_be_left_out()
    logo_width: Small = may_be_left_out()
    live_debounce: Small = may_be_left_out()
    live_hold: Small = may_be_left_out()


class NewChannel(ChannelChange):
    """Omitted fields get the defaults of the admin's form."""

    name: Name
    slug: Slug


class ChannelFilter(Paging):
    desired_state: Literal["on", "off"] | None = Field(
        None, description="Whether it is ordered on or off."
    )
    q: NameOrSlug = None


# ---- routes ----------------------------------------------------------------------------------
def channel_rows(request: HttpRequest) -> QuerySet[Channel]:
    rows = Channel.objects.select_related("playlist").prefetch_related("outputs")
    return visible(rows, request)


def the_channel(request: HttpRequest, slug: str) -> Channel:
    """Returns the caller's channel. Raises `Http404`."""
    return get_object_or_404(visible(Channel.objects.all(), request), slug=slug)


def id_of(request: HttpRequest, slug: str) -> int:
    """Returns the id of the caller's channel. Raises `Http404`."""
    rows = visible(Channel.objects.filter(slug=slug), request)
    for pk in rows.order_by().values_list("pk", flat=True):
        return pk
    raise Http404


def _with_status(rows: list[Channel]) -> list[Channel]:
    """Add the status to each channel, from a single report."""
    slug = rows[0].slug if len(rows) == 1 else None
    details = {
        channel.slug: channel.detail() for channel in report(timezone.now(), slug=slug).channels
    }
    for row in rows:
        row.status = details[row.slug]  # type: ignore[attr-defined]  # the schema's field
    return rows


def detail(request: HttpRequest, slug: str) -> Channel:
    """Returns the channel with its status. Raises `Http404`."""
    return _with_status([get_object_or_404(channel_rows(request), slug=slug)])[0]


def refuse_on_air(channel: Channel, what: str) -> None:
    """Raises `ProblemError` if the channel is on air."""
    if channel.runs.filter(ended_at=None).exists():
        raise ProblemError(
            Kind.ON_AIR, f"{channel.name} is on air. Stop it first, then {what}."
        )


@router.get("", response=Page[ChannelDetail], summary="Channels, by name")
@needs(READ_ONLY, "streams.view_channel")
def channels(request: HttpRequest, filters: Query[ChannelFilter]) -> dict[str, Any]:
    page = paged(channel_rows(request), "name", filters)
    return page | {"items": _with_status(page["items"])}


@router.post("", response={201: ChannelDetail}, summary="Create a channel")
@needs(ADMIN, "streams.add_channel")
def create(request: HttpRequest, body: NewChannel) -> Status[Channel]:
    channel = added(request, Channel(**body.given()), then=wake_supervisor)
    return Status(201, detail(request, channel.slug))


@router.get("/{slug:slug}", response=ChannelDetail, summary="Get a channel")
@needs(READ_ONLY, "streams.view_channel")
def channel(request: HttpRequest, slug: str) -> Channel:
    return detail(request, slug)


@router.patch("/{slug:slug}", response=ChannelDetail, summary="Change a channel")
@needs(ADMIN, "streams.change_channel")
def change(request: HttpRequest, slug: str, body: ChannelChange) -> Channel:
    fields = body.given()
    with transaction.atomic():
        rows = visible(Channel.objects.select_for_update(), request)
        row = get_object_or_404(rows, slug=slug)
        if any(getattr(row, name) != fields[name] for name in HOUSE_FIELDS & fields.keys()):
            refuse_on_air(row, "change its house format")
        if "time_zone" in fields and fields["time_zone"] != row.time_zone:
            # This shifts its on-air hours: they take effect from now on.
            fields["hours_changed_at"] = timezone.now()
        changed(row, fields)
        noted(request, row, f"Changed {', '.join(sorted(fields)) or 'nothing'}.")
        transaction.on_commit(wake_supervisor)
    return detail(request, row.slug)


@router.delete("/{slug:slug}", response={204: None}, summary="Delete a channel and its history")
@needs(ADMIN, "streams.delete_channel")
def delete(request: HttpRequest, slug: str) -> Status[None]:
    removed(
        request,
        visible(Channel.objects.all(), request),
        slug=slug,
        demand=lambda row: refuse_on_air(row, "delete it"),
        then=wake_supervisor,
    )
    return Status(204, None)


@statuses.get("", response=Statuses, summary="The status of all channels")
@needs(READ_ONLY, "streams.view_channel")
def all_statuses(request: HttpRequest, filters: Query[StatusFilter]) -> dict[str, Any]:
    """Answers with 304 to an If-None-Match, so that it may be asked for every second."""
    slug, now = filters.channel or None, timezone.now()
    among = own_channels(request)
    channels = [channel.detail() for channel in report(now, slug=slug, among=among).channels]
    if slug and not channels:
        raise Http404
    hours = outlooks(now, slug=slug)
    for channel in channels:
        outlook = hours.get(channel["slug"])
        channel["outlook"] = outlook.sentence if outlook else ""
    return {"channels": channels}


@router.get("/{slug:slug}/status", response=ChannelStatus, summary="The status of a channel")
@needs(READ_ONLY, "streams.view_channel")
def status(request: HttpRequest, slug: str) -> dict[str, Any]:
    return status_of(request, slug)


def status_of(request: HttpRequest, slug: str) -> dict[str, Any]:
    """Returns the status of a channel. Raises `Http404`."""
    among = own_channels(request)
    reports = report(timezone.now(), slug=slug, among=among).channels
    if not reports:
        raise Http404
    return reports[0].detail()
