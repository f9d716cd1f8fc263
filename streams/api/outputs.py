"""Outputs in the API: where channels are sent. A key goes in and never comes out."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Router, Status
from pydantic import Field, StringConstraints

from streams.api.channels import Name, OutputDetail, the_channel
from streams.models import Output
from streams.outputs.platforms import MAX_SECRET_BYTES, MAX_SESSION_HOURS, Platform
from streams.wake import wake_supervisor
from streamsite.api.crud import (
    Body,
    Id,
    Page,
    Paging,
    Slug,
    added,
    edited,
    may_be_left_out,
    paged,
    removed,
)
from streamsite.security.secret import Secret

router = Router(tags=["outputs"])

#: No platform's key is nearly as long.
Key = Annotated[str, StringConstraints(max_length=500, strip_whitespace=True)]
Parameters = Annotated[
    str, StringConstraints(max_length=MAX_SECRET_BYTES, strip_whitespace=True)
]
Hours = Annotated[int, Field(ge=1, le=MAX_SESSION_HOURS)]


class OutputChange(Body):
    """What is left out stays as it is. An empty `key` forgets the one that is stored.

    So does an empty `secret_query`: what the server wants after the "?" of its address, such as
    `token=…` or, of SRT, `passphrase=…`. Neither belongs in `url`, which is shown.
    `verify_certificate`: of rtmps addresses.
    """

    name: Name = may_be_left_out()
    platform: Platform = may_be_left_out()
    url: Annotated[str, StringConstraints(max_length=500)] = may_be_left_out()
    key: Key = may_be_left_out()
    secret_query: Parameters = may_be_left_out()
    verify_certificate: bool = may_be_left_out()
    roll_over_hours: Hours | None = may_be_left_out()
    enabled: bool = may_be_left_out()

    def given(self) -> dict[str, Any]:
        fields = super().given()
        for name in {"key", "secret_query"} & fields.keys():
            fields[name] = Secret(fields[name].lstrip("?&") if name != "key" else fields[name])
        return fields


class NewOutput(OutputChange):
    channel: Slug
    name: Name


class OutputFilter(Paging):
    channel: str = Field("", max_length=80, description="A channel's slug.")
    platform: Platform | None = None
    enabled: bool | None = None


@router.get("", response=Page[OutputDetail], summary="Outputs, by id")
def outputs(request: HttpRequest, asked: Query[OutputFilter]) -> dict[str, Any]:
    rows = Output.objects.select_related("channel")
    if asked.channel:
        rows = rows.filter(channel__slug=asked.channel)
    if asked.platform:
        rows = rows.filter(platform=asked.platform.value)
    if asked.enabled is not None:
        rows = rows.filter(enabled=asked.enabled)
    return paged(rows, "id", asked)


@router.post("", response={201: OutputDetail}, summary="A new output of a channel")
def create(request: HttpRequest, asked: NewOutput) -> Status[Output]:
    fields = asked.given()
    fields["channel"] = the_channel(fields["channel"])
    return Status(201, added(request, Output(**fields), then=wake_supervisor))


@router.get("/{id}", response=OutputDetail, summary="One output")
def output(request: HttpRequest, id: Id) -> Output:
    return get_object_or_404(Output.objects.select_related("channel"), pk=id)


@router.patch("/{id}", response=OutputDetail, summary="Change it")
def change(request: HttpRequest, id: Id, asked: OutputChange) -> Output:
    return edited(request, Output.objects.all(), id, asked.given(), then=wake_supervisor)


@router.delete("/{id}", response={204: None}, summary="Delete it")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, Output.objects.all(), pk=id, then=wake_supervisor)
    return Status(204, None)
