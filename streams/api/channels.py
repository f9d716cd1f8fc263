"""Channels in the API: the report that every page shows, and the four orders."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Router, Schema, Status

from streams.health.report import report
from streams.models import Channel
from streams.orders import ORDERS, give
from streamsite.access import caller

router = Router(tags=["channels"])


class OutputStatus(Schema):
    """bitrate in bit/s; failures in a row."""

    id: int
    name: str
    platform: str
    enabled: bool
    state: str
    since: datetime | None
    cause: str
    failures: int
    retry_at: datetime | None
    bitrate: int | None
    fps: float | None
    speed: float | None


class IncidentStatus(Schema):
    id: int
    subject: str
    severity: str
    cause: str
    opened_at: datetime
    closed_at: datetime | None


class RunStatus(Schema):
    id: int
    started_at: datetime
    started_by: str
    on_air_at: datetime | None


class NowStatus(Schema):
    title: str
    kind: str
    since: datetime | None
    until: datetime | None


class ChannelStatus(Schema):
    """state: off, starting, on_air, degraded, failing, stopping; presumed if not `known`."""

    slug: str
    name: str
    order: str
    state: str
    known: bool
    since: datetime | None
    cause: str
    supervised: bool
    on_air_since: datetime | None
    bitrate: int | None
    run: RunStatus | None
    now: NowStatus | None
    next: str
    outputs: list[OutputStatus]
    incidents: list[IncidentStatus]
    last_incident: IncidentStatus | None


class OutputDetail(Schema):
    """The stream key is told by no answer: `has_key` says whether one is stored."""

    id: int
    name: str
    platform: str
    address: str
    enabled: bool
    has_key: bool

    @staticmethod
    def resolve_has_key(output: Any) -> bool:
        return bool(output.key)


class ChannelDetail(Schema):
    """Bit rates in bit/s, sizes in pixels."""

    slug: str
    name: str
    playlist: str | None
    preview: bool
    width: int
    height: int
    fps: int
    video_bitrate: int
    audio_bitrate: int
    outputs: list[OutputDetail]

    @staticmethod
    def resolve_playlist(channel: Any) -> str | None:
        return channel.playlist.name if channel.playlist else None


class Taken(Schema):
    """The order is written; the playout worker carries it out. `status` tells how it went."""

    detail: str
    status: str


class Finding(Schema):
    check: str
    detail: str


class Problem(Schema):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


class CantStart(Problem):
    findings: list[Finding]


@router.get("", response=list[ChannelStatus], summary="What is on air, on every channel")
def channels(request: HttpRequest) -> list[dict[str, Any]]:
    return [channel.detail() for channel in report(timezone.now()).channels]


@router.get("/{slug}", response={200: ChannelDetail, 404: Problem}, summary="How it is set up")
def channel(request: HttpRequest, slug: str) -> Channel:
    known = Channel.objects.select_related("playlist").prefetch_related("outputs")
    return get_object_or_404(known, slug=slug)


@router.get(
    "/{slug}/status", response={200: ChannelStatus, 404: Problem}, summary="What is on air"
)
def status(request: HttpRequest, slug: str) -> dict[str, Any]:
    for told in report(timezone.now(), slug=slug).channels:
        return told.detail()
    raise Http404


def _give(request: HttpRequest, slug: str, verb: str) -> Status[dict[str, str]]:
    who = caller(request)
    channel = get_object_or_404(Channel, slug=slug)
    detail = give(ORDERS[verb], channel, user=who.user, by=who.name, now=timezone.now())
    status_path = f"{request.path.rpartition('/')[0]}/status"
    return Status(202, {"detail": detail, "status": status_path})


@router.post(
    "/{slug}/start",
    response={202: Taken, 404: Problem, 409: Problem, 422: CantStart},
    summary="Put it on the air",
)
def start(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return _give(request, slug, "start")


@router.post("/{slug}/stop", response={202: Taken, 404: Problem}, summary="Take it off the air")
def stop(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return _give(request, slug, "stop")


@router.post("/{slug}/restart", response={202: Taken, 404: Problem}, summary="Off and on again")
def restart(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return _give(request, slug, "restart")


@router.post("/{slug}/skip", response={202: Taken, 404: Problem}, summary="To the next item")
def skip(request: HttpRequest, slug: str) -> Status[dict[str, str]]:
    return _give(request, slug, "skip")
