"""API routes for health, components, metrics and uptime."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Schema, Status
from ninja.errors import HttpError

from streams.models import Channel, Output, visible
from streams.monitoring import components
from streams.monitoring import metrics as samples
from streams.monitoring.uptime import figures
from streams.views.pages import in_public
from streamsite.accounts.limits import own_channels
from streamsite.api.auth import Router
from streamsite.api.crud import RequestSchema as Plain
from streamsite.api.permissions import READ_ONLY, needs

router = Router(tags=["health"])


class ChannelHealth(Schema):
    slug: str
    desired_state: str
    state: str
    confirmed: bool
    since: datetime | None
    cause: str
    on_air_since: datetime | None


class Health(Schema):
    """status: ok; degraded; down: a channel that is ordered on is off the air."""

    status: str
    channels: list[ChannelHealth]
    cause: str = ""


class DetailedHealth(Schema):
    """status: ok; degraded: a component has a fault; down: nothing is known or plays."""

    status: str
    parts: list[components.Part]
    channels: list[ChannelHealth]


class Metrics(Schema):
    begins: datetime
    ends: datetime
    bucket_seconds: int
    series: list[samples.Series]


class Uptimes(Schema):
    """periods: day, week, month (of the channel's zone), 7d, 30d, 90d; or the given span."""

    channels: list[figures.ChannelUptime]


class HealthParams(Plain):
    """Times without a zone are in UTC."""

    channel: Annotated[str | None, Query(description="A channel's slug.", max_length=50)] = None
    output: Annotated[int | None, Query(description="An output's id.", ge=1, le=2**63 - 1)] = (
        None
    )


class MetricsParams(HealthParams):
    begins: Annotated[
        datetime | None, Query(alias="from", description="Default: an hour before `to`.")
    ] = None
    ends: Annotated[datetime | None, Query(alias="to", description="Default: now.")] = None
    bucket: Annotated[
        int | None, Query(description="Length of a bucket in seconds.", ge=10, le=31 * 86400)
    ] = None


class UptimeParams(HealthParams):
    begins: Annotated[
        datetime | None,
        Query(alias="from", description="Default: the standard periods."),
    ] = None
    ends: Annotated[datetime | None, Query(alias="to", description="Default: now.")] = None


def _utc(moment: datetime) -> datetime:
    """Convert to UTC. Raises `HttpError` 422 for a time outside the supported range."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise HttpError(422, "That time is outside the supported range.") from None


def _span(begins: datetime | None, ends: datetime | None) -> tuple[datetime, datetime]:
    """Returns the requested span, by default the last hour. Raises `HttpError` 422."""
    until = _utc(ends) if ends else timezone.now()
    try:
        since = _utc(begins) if begins else until - timedelta(hours=1)
    except OverflowError:
        raise HttpError(422, "That time is outside the supported range.") from None
    if since >= until:
        raise HttpError(422, "`from` must be before `to`.")
    return since, until


def _demand(request: HttpRequest, params: HealthParams) -> None:
    """Raises `HttpError` 404 if the channel, or its output, does not exist."""
    channels = visible(Channel.objects.all(), request)
    if params.channel is not None and not channels.filter(slug=params.channel).exists():
        raise HttpError(404, "There is no channel with that slug.")
    outputs = visible(Output.objects.filter(pk=params.output or 0), request)
    if params.channel is not None:
        outputs = outputs.filter(channel__slug=params.channel)
    if params.output is not None and not outputs.exists():
        raise HttpError(404, "There is no output with that id.")


@router.get(
    "",
    response={200: Health, 503: Health},
    auth=None,
    summary="Health: are the channels on the air",
)
def health(request: HttpRequest) -> Status[dict[str, Any]]:
    """Needs no key. 503 if a channel that is ordered on is off the air."""
    return Status(*in_public())


@router.get(
    "/detailed",
    response={200: DetailedHealth, 503: DetailedHealth},
    summary="The state of each component",
)
@needs(READ_ONLY, "streams.view_channel")
def detailed(request: HttpRequest) -> Status[components.Detailed]:
    """503 if nothing is known or plays, or if a channel is off the air."""
    state = components.detailed(timezone.now())
    # Without the database there are none, and no limit can be read.
    if state.channels and own_channels(request) is not None:
        own = set(visible(Channel.objects.all(), request).values_list("slug", flat=True))
        channels = tuple(one for one in state.channels if one["slug"] in own)
        state = replace(state, channels=channels)
    return Status(503 if state.status == "down" else 200, state)


@router.get(
    "/metrics",
    response=Metrics,
    summary="Measurements in buckets",
)
@needs(READ_ONLY, "streams.view_channel")
def metrics(request: HttpRequest, params: Query[MetricsParams]) -> dict[str, Any]:
    """Samples are taken every ten seconds.

    After 48 hours one per minute is kept, after 30 days one per 15 minutes: the means, and the
    worst values.
    """
    _demand(request, params)
    begins, ends = _span(params.begins, params.ends)
    own = own_channels(request)
    size = params.bucket or max(
        samples.length(begins, ends),
        samples.resolution(begins, ends, slug=params.channel, output=params.output, among=own),
    )
    try:
        series = samples.series(
            begins,
            ends,
            slug=params.channel,
            output=params.output,
            seconds=size,
            among=own,
        )
    except samples.TooFineError as error:
        raise HttpError(422, str(error)) from None
    return {
        "begins": begins,
        "ends": ends,
        "bucket_seconds": size,
        "series": series,
    }


@router.get(
    "/uptime",
    response=Uptimes,
    summary="Uptime: the share of the ordered time that was on the air",
)
@needs(READ_ONLY, "streams.view_channel")
def uptimes(request: HttpRequest, params: Query[UptimeParams]) -> dict[str, Any]:
    """For today, this week and month, the last 7, 30 and 90 days; or for the requested span."""
    _demand(request, params)
    span = _span(params.begins, params.ends) if params.begins or params.ends else None
    channels = figures.uptimes(
        timezone.now(),
        slug=params.channel,
        output=params.output,
        span=span,
        among=own_channels(request),
    )
    return {"channels": channels}
