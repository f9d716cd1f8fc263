"""Compatibility paths without /api/v1, for older programs. They call the same functions."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest
from ninja import Query, Schema, Status
from pydantic import Field

from streams.api import air
from streams.api.channels import ChannelStatus, status_of, the_channel
from streams.api.live import StreamDetail, stream
from streams.ingest import report
from streams.models import Channel, visible
from streamsite.api.auth import Router
from streamsite.api.crud import RequestSchema
from streamsite.api.permissions import ADMIN, READ_ONLY, needs
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["compatibility"])


class Which(RequestSchema):
    channel: str = Field(
        "", max_length=80, description="A channel's slug. Default: the only channel."
    )

    def slug(self, request: HttpRequest) -> str:
        """Raises `Http404` without a channel, `ProblemError` if there are several."""
        if self.channel:
            return self.channel
        rows = visible(Channel.objects.all(), request)
        slugs = list(rows.values_list("slug", flat=True)[:2])
        if not slugs:
            raise Http404
        if len(slugs) > 1:
            raise ProblemError(
                Kind.REFUSED,
                "There are several channels. Choose one, for example ?channel=demo.",
            )
        return slugs[0]


class CompatibilityStatus(ChannelStatus):
    """`rtmp_addresses`: the addresses of the enabled outputs, without their keys.

    `order` is `desired_state` under the name that older programs read.
    """

    order: str

    rtmp_addresses: list[str]


class CompatibilityStreams(Schema):
    streams: list[StreamDetail]
    fault: str


@router.post("/start", response={202: air.Taken})
@needs(ADMIN, "streams.operate_channel")
def start(request: HttpRequest, which: Query[Which]) -> Status[dict[str, str]]:
    return air.order(request, which.slug(request), "start")


@router.post("/stop", response={202: air.Taken})
@needs(ADMIN, "streams.operate_channel")
def stop(request: HttpRequest, which: Query[Which]) -> Status[dict[str, str]]:
    return air.order(request, which.slug(request), "stop")


@router.get("/status", response=CompatibilityStatus)
@needs(READ_ONLY, "streams.view_channel")
def status(request: HttpRequest, which: Query[Which]) -> dict[str, Any]:
    channel = the_channel(request, which.slug(request))
    sent_to = [output.address for output in channel.outputs.all() if output.enabled]
    current = status_of(request, channel.slug)
    return current | {"order": current["desired_state"], "rtmp_addresses": sent_to}


@router.get("", response=CompatibilityStreams)
@needs(READ_ONLY, "streams.view_livestream")
def streams(request: HttpRequest) -> dict[str, Any]:
    """Streams that are live now, the longest first. `fault`: why it may be outdated."""
    return {
        "streams": [report.stream_json(row) for row in visible(report.live(), request)],
        "fault": report.fault(),
    }


router.get("/{id}", response=StreamDetail)(stream)
