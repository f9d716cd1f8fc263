"""API routes for outputs. A stream key is accepted, but never returned."""

from __future__ import annotations

from typing import Annotated, Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Status
from pydantic import Field, StringConstraints

from streams.api.channels import Name, OfChannel, OutputDetail, the_channel
from streams.models import Output, PlatformAccount, visible
from streams.outputs.platforms import MAX_SECRET_BYTES, MAX_SESSION_HOURS, Platform
from streams.wake import wake_supervisor
from streamsite.api.auth import Router
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
from streamsite.api.permissions import ADMIN, READ_ONLY, needs
from streamsite.security.secret import Secret

router = Router(tags=["outputs"])

#: Longer than any platform's key.
Key = Annotated[str, StringConstraints(max_length=500, strip_whitespace=True)]
Parameters = Annotated[
    str, StringConstraints(max_length=MAX_SECRET_BYTES, strip_whitespace=True)
]
Hours = Annotated[int, Field(ge=1, le=MAX_SESSION_HOURS)]


class OutputChange(Body):
    """A partial change: omitted fields stay unchanged. An empty `key` deletes the stored one.

    `secret_query`: the parameters that the server expects after the "?" of its address, such as
    `token=…` or, for SRT, `passphrase=…`; empty deletes the stored ones. Neither secret belongs
    in `url`, which is shown. `verify_certificate`: for rtmps addresses. `second_node`: another
    node that plays the same programme sends it, if there is one. `account`: the account
    through which its platform is asked; null: none. `watch_url`: where viewers watch it. In
    `title_template` and `description_template`, {channel}, {now} and {next} stand for the
    names. `category`: Twitch's game_id.
    """

    name: Name = may_be_left_out()
    platform: Platform = may_be_left_out()
    url: Annotated[str, StringConstraints(max_length=500)] = may_be_left_out()
    key: Key = may_be_left_out()
    secret_query: Parameters = may_be_left_out()
    verify_certificate: bool = may_be_left_out()
    roll_over_hours: Hours | None = may_be_left_out()
    second_node: bool = may_be_left_out()
    account: int | None = may_be_left_out()
    watch_url: Annotated[str, StringConstraints(max_length=500)] = may_be_left_out()
    title_template: Annotated[str, StringConstraints(max_length=200)] = may_be_left_out()
    description_template: Annotated[str, StringConstraints(max_length=4000)] = may_be_left_out()
    category: Annotated[str, StringConstraints(max_length=64)] = may_be_left_out()
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
    channel: OfChannel = None
    platform: Platform | None = None
    enabled: bool | None = None


def _rows(request: HttpRequest) -> QuerySet[Output]:
    return visible(Output.objects.all(), request)


def _with_account(request: HttpRequest, fields: dict[str, Any]) -> dict[str, Any]:
    """Replace the account's id by the account, if the caller may use it."""
    if fields.get("account") is not None:
        rows = visible(PlatformAccount.objects.all(), request)
        usable = PlatformAccount.objects.filter(Q(channel=None) | Q(pk__in=rows))
        account = usable.filter(pk=fields["account"]).first()
        if account is None:
            raise ValidationError({"account": "There is no such platform account."})
        fields["account"] = account
    return fields


@router.get("", response=Page[OutputDetail], summary="Outputs, by id")
@needs(READ_ONLY, "streams.view_output")
def outputs(request: HttpRequest, filters: Query[OutputFilter]) -> dict[str, Any]:
    return paged(_rows(request).select_related("channel"), "id", filters)


@router.post("", response={201: OutputDetail}, summary="Create an output of a channel")
@needs(ADMIN, "streams.add_output")
def create(request: HttpRequest, body: NewOutput) -> Status[Output]:
    fields = body.given()
    fields["channel"] = the_channel(request, fields["channel"])
    _with_account(request, fields)
    return Status(201, added(request, Output(**fields), then=wake_supervisor))


@router.get("/{id}", response=OutputDetail, summary="Get an output")
@needs(READ_ONLY, "streams.view_output")
def output(request: HttpRequest, id: Id) -> Output:
    return get_object_or_404(_rows(request).select_related("channel"), pk=id)


@router.patch("/{id}", response=OutputDetail, summary="Change an output")
@needs(ADMIN, "streams.change_output")
def change(request: HttpRequest, id: Id, body: OutputChange) -> Output:
    fields = _with_account(request, body.given())
    return edited(request, _rows(request), id, fields, then=wake_supervisor)


@router.delete("/{id}", response={204: None}, summary="Delete an output")
@needs(ADMIN, "streams.delete_output")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, _rows(request), pk=id, then=wake_supervisor)
    return Status(204, None)
