"""Paths that the first designs had, for programs that know them: the same functions."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest
from ninja import Query, Router, Schema, Status
from pydantic import Field

from streams.api import air
from streams.api.channels import ChannelStatus, status_of, the_channel
from streams.api.live import StreamDetail, stream
from streams.ingest import report
from streams.models import Channel
from streamsite.api.crud import RequestSchema
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["first designs"])


class Which(RequestSchema):
    channel: str = Field("", max_length=80, description="A slug; empty: the only channel.")

    def slug(self) -> str:
        """Raises `Http404` where there is none, `ProblemError` where there are several."""
        if self.channel:
            return self.channel
        slugs = list(Channel.objects.values_list("slug", flat=True)[:2])
        if not slugs:
            raise Http404
        if len(slugs) > 1:
            raise ProblemError(
                Kind.REFUSED, "There are several channels: say which, as ?channel=demo."
            )
        return slugs[0]


class FirstStatus(ChannelStatus):
    """`rtmp_addresses` of the enabled outputs, without their keys."""

    rtmp_addresses: list[str]


class FirstStreams(Schema):
    streams: list[StreamDetail]
    fault: str


@router.post("/start", response={202: air.Taken})
def start(request: HttpRequest, which: Query[Which]) -> Status[dict[str, str]]:
    return air.order(request, which.slug(), "start")


@router.post("/stop", response={202: air.Taken})
def stop(request: HttpRequest, which: Query[Which]) -> Status[dict[str, str]]:
    return air.order(request, which.slug(), "stop")


@router.get("/status", response=FirstStatus)
def status(request: HttpRequest, which: Query[Which]) -> dict[str, Any]:
    channel = the_channel(which.slug())
    sent_to = [output.address for output in channel.outputs.all() if output.enabled]
    return status_of(channel.slug) | {"rtmp_addresses": sent_to}


@router.get("", response=FirstStreams)
def streams(request: HttpRequest) -> dict[str, Any]:
    """All that is live now, the longest first. `fault` says why it may be out of date."""
    return {"streams": [report.told(row) for row in report.live()], "fault": report.fault()}


router.get("/{id}", response=StreamDetail)(stream)
