"""Health in the API: is it on the air, what works, what was measured, how much was lost."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema, Status
from ninja.errors import HttpError

from streams.models import Channel, Output
from streams.monitoring import components as parts
from streams.monitoring import metrics as samples
from streams.monitoring import uptime
from streams.views.pages import in_public
from streamsite.api.crud import RequestSchema as Plain

router = Router(tags=["health"])


class ChannelHealth(Schema):
    slug: str
    order: str
    state: str
    known: bool
    since: datetime | None
    cause: str
    on_air_since: datetime | None


class Health(Schema):
    """status: ok, degraded, or down: a channel that was ordered on is off the air."""

    status: str
    channels: list[ChannelHealth]
    cause: str = ""


class PartHealth(Schema):
    """name: database, queue, storage, ffmpeg, disk, nodes."""

    name: str
    ok: bool
    sentence: str


class DetailedHealth(Schema):
    """status: ok; degraded: a part has a fault; down: nothing can be known or played."""

    status: str
    parts: list[PartHealth]
    channels: list[ChannelHealth]


class BucketOfSamples(Schema):
    """Rates in bit/s, lag in seconds, CPU in percent of one core, memory in bytes."""

    begins: datetime
    samples: int
    bitrate: float | None
    bitrate_least: int | None
    fps: float | None
    speed: float | None
    speed_least: float | None
    lag_most: float | None
    cpu_percent: float | None
    memory_most: int | None


class SeriesOfSamples(Schema):
    """role: player, hub, pusher; output: of a pusher, its id."""

    channel: str
    output: int | None
    role: str
    buckets: list[BucketOfSamples]


class Metrics(Schema):
    begins: datetime
    ends: datetime
    bucket_seconds: int
    series: list[SeriesOfSamples]


class UptimeOfPeriod(Schema):
    """percent: of the ordered seconds of which something is known, the part on the air."""

    begins: datetime
    ends: datetime
    percent: float | None
    ordered_seconds: float
    on_air_seconds: float
    off_air_seconds: float
    degraded_seconds: float
    planned_seconds: float
    unknown_seconds: float
    incidents: int
    longest_seconds: float
    mean_time_to_recovery_seconds: float | None


class UptimeOfOutput(Schema):
    id: int
    name: str
    periods: dict[str, UptimeOfPeriod]


class UptimeOfChannel(Schema):
    """periods: day, week, month (in the channel's zone), 7d, 30d; or span, where asked for."""

    slug: str
    name: str
    zone: str
    periods: dict[str, UptimeOfPeriod]
    outputs: list[UptimeOfOutput]


class Uptimes(Schema):
    channels: list[UptimeOfChannel]


class Asked(Plain):
    """Moments without a zone are UTC."""

    channel: Annotated[str | None, Query(description="A channel's slug.", max_length=50)] = None
    output: Annotated[int | None, Query(description="An output's id.", ge=1, le=2**63 - 1)] = (
        None
    )


class AskedMetrics(Asked):
    begins: Annotated[
        datetime | None, Query(alias="from", description="Without it: an hour before `to`.")
    ] = None
    ends: Annotated[datetime | None, Query(alias="to", description="Without it: now.")] = None
    bucket: Annotated[
        int | None, Query(description="Seconds of a bucket.", ge=10, le=31 * 86400)
    ] = None


class AskedUptime(Asked):
    begins: Annotated[
        datetime | None,
        Query(alias="from", description="Without it: the usual periods are told."),
    ] = None
    ends: Annotated[datetime | None, Query(alias="to", description="Without it: now.")] = None


def _utc(moment: datetime) -> datetime:
    """Raises `HttpError` 422 for one at the ends of time, which no clock can shift."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise HttpError(422, "That moment is beyond what can be counted.") from None


def _span(begins: datetime | None, ends: datetime | None) -> tuple[datetime, datetime]:
    """What was asked for; by itself the last hour. Raises `HttpError` 422."""
    until = _utc(ends) if ends else timezone.now()
    try:
        since = _utc(begins) if begins else until - timedelta(hours=1)
    except OverflowError:
        raise HttpError(422, "That moment is beyond what can be counted.") from None
    if since >= until:
        raise HttpError(422, "`from` must be before `to`.")
    return since, until


def _demand(asked: Asked) -> None:
    """Raises `HttpError` 404 where there is no such channel, or no such output of it."""
    if asked.channel is not None and not Channel.objects.filter(slug=asked.channel).exists():
        raise HttpError(404, "There is no channel by that name.")
    outputs = Output.objects.filter(pk=asked.output or 0)
    if asked.channel is not None:
        outputs = outputs.filter(channel__slug=asked.channel)
    if asked.output is not None and not outputs.exists():
        raise HttpError(404, "There is no output of that number there.")


@router.get("", response={200: Health, 503: Health}, auth=None, summary="Is it on the air")
def health(request: HttpRequest) -> Status[dict[str, Any]]:
    """Needs no key. 503 where a channel that was ordered on is off the air."""
    return Status(*in_public())


@router.get(
    "/detailed",
    response={200: DetailedHealth, 503: DetailedHealth},
    summary="Each part of the machinery, with a sentence",
)
def detailed(request: HttpRequest) -> Status[dict[str, Any]]:
    """503 where nothing can be known or played, or a channel is off the air."""
    told = parts.detailed(timezone.now())
    return Status(503 if told.status == "down" else 200, told.told())


@router.get(
    "/metrics",
    response=Metrics,
    summary="What was measured, in buckets",
)
def metrics(request: HttpRequest, asked: Query[AskedMetrics]) -> dict[str, Any]:
    """Samples are taken every ten seconds; after a day one in five minutes is kept."""
    _demand(asked)
    begins, ends = _span(asked.begins, asked.ends)
    size = asked.bucket or samples.length(begins, ends)
    try:
        found = samples.series(
            begins, ends, slug=asked.channel, output=asked.output, seconds=size
        )
    except samples.TooFineError as error:
        raise HttpError(422, str(error)) from None
    return {
        "begins": begins,
        "ends": ends,
        "bucket_seconds": size,
        "series": [asdict(one) for one in found],
    }


@router.get(
    "/uptime",
    response=Uptimes,
    summary="How much of the ordered time was on the air",
)
def uptimes(request: HttpRequest, asked: Query[AskedUptime]) -> dict[str, Any]:
    """For today, this week and month, and the last 7 and 30 days; or for the span asked for."""
    _demand(asked)
    span = _span(asked.begins, asked.ends) if asked.begins or asked.ends else None
    found = uptime.uptimes(timezone.now(), slug=asked.channel, output=asked.output, span=span)
    return {"channels": [asdict(one) for one in found]}
