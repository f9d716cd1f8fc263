"""Webhooks in the API: who is told of what happens, and each time that they were."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import FilterLookup, Query, Status
from pydantic import Field, StringConstraints

from streamsite.api.auth import Router, caller
from streamsite.api.crud import (
    Accepted,
    Body,
    Id,
    Page,
    Paging,
    RowSchema,
    added,
    edited,
    may_be_left_out,
    noted,
    paged,
    removed,
)
from streamsite.api.permissions import ADMIN, READ_ONLY, Rule, needs
from streamsite.http.problems import Kind, ProblemError
from streamsite.webhooks import outbox
from streamsite.webhooks.models import Delivery, Endpoint, Event
from streamsite.webhooks.sender import new_secret

endpoints = Router(tags=["webhooks"])
deliveries = Router(tags=["webhooks"])

Name = Annotated[str, StringConstraints(min_length=1, max_length=80, strip_whitespace=True)]
Url = Annotated[str, StringConstraints(min_length=8, max_length=1000)]
#: As `Delivery.State` has them.
Outcome = Literal["waiting", "delivered", "failed"]
Events = Annotated[list[Event], Field(max_length=len(Event))]


class WebhookDetail(RowSchema):
    """The secret with which it is signed is told once.

    `url` is whole for those who may change it; for all others it ends behind the host.
    """

    id: int
    name: str
    url: str
    events: list[str]
    enabled: bool
    created_at: datetime


class WebhookSecret(WebhookDetail):
    """`secret_value` is told here and never again."""

    secret_value: str


class WebhookChange(Body):
    """Fields that are left out keep their value."""

    name: Name = may_be_left_out()
    url: Url = may_be_left_out()
    events: Events = may_be_left_out()
    enabled: bool = may_be_left_out()


class NewWebhook(WebhookChange):
    name: Name
    url: Url
    events: Events


class WebhookFilter(Paging):
    enabled: bool | None = None


class DeliveryDetail(RowSchema):
    """`message_id` is the same at each attempt; `status` is HTTP, of the last answer."""

    id: int
    webhook_id: int = Field(validation_alias="endpoint_id")
    event: str
    message_id: UUID
    state: Outcome
    attempts: int
    created_at: datetime
    next_at: datetime | None = Field(validation_alias="next_attempt")
    delivered_at: datetime | None
    status: int | None
    fault: str


class DeliveryFilter(Paging):
    webhook_id: Annotated[Id | None, FilterLookup("endpoint")] = None
    state: Outcome | None = None


def _with_secret(row: Endpoint) -> Endpoint:
    row.secret_value = row.secret.reveal()  # type: ignore[attr-defined]  # the schema's field
    return row


@endpoints.get("", response=Page[WebhookDetail], summary="Webhooks, by name")
@needs(READ_ONLY, "streamsite.view_endpoint")
def listed(request: HttpRequest, filters: Query[WebhookFilter]) -> dict[str, Any]:
    page = paged(Endpoint.objects.defer("secret"), "name", filters)
    return page | {"items": [_masked(request, row) for row in page["items"]]}


_MAY_CHANGE: Final = Rule(ADMIN, "streamsite.change_endpoint")


def _masked(request: HttpRequest, row: Endpoint) -> Endpoint:
    """The row as the caller may see it. It is not saved."""
    if not caller(request).may(_MAY_CHANGE):
        row.url = row.shown_url
    return row


@endpoints.post("", response={201: WebhookSecret}, summary="A new webhook")
@needs(ADMIN, "streamsite.add_endpoint")
def create(request: HttpRequest, body: NewWebhook) -> Status[Endpoint]:
    row = added(request, Endpoint(**body.given(), secret=new_secret()))
    return Status(201, _with_secret(row))


@endpoints.get("/{id}", response=WebhookDetail, summary="One webhook")
@needs(READ_ONLY, "streamsite.view_endpoint")
def one(request: HttpRequest, id: Id) -> Endpoint:
    return _masked(request, get_object_or_404(Endpoint, pk=id))


@endpoints.patch("/{id}", response=WebhookDetail, summary="Change it")
@needs(ADMIN, "streamsite.change_endpoint")
def change(request: HttpRequest, id: Id, body: WebhookChange) -> Endpoint:
    return edited(request, Endpoint.objects.all(), id, body.given())


@endpoints.delete("/{id}", response={204: None}, summary="Delete it, with what was sent")
@needs(ADMIN, "streamsite.delete_endpoint")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, Endpoint.objects.all(), pk=id)
    return Status(204, None)


@endpoints.post("/{id}/secret", response=WebhookSecret, summary="A new secret, told once")
@needs(ADMIN, "streamsite.change_endpoint")
def renew(request: HttpRequest, id: Id) -> Endpoint:
    """From now on all is signed with it, also what is sent again."""
    row = get_object_or_404(Endpoint, pk=id)
    row.secret = new_secret()
    Endpoint.objects.filter(pk=id).update(secret=row.secret)
    noted(request, row, "A new secret.")
    return _with_secret(row)


@endpoints.post("/{id}/ping", response={202: Accepted}, summary="Send a test")
@needs(ADMIN, "streamsite.change_endpoint")
def ping(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    outbox.ping(get_object_or_404(Endpoint, pk=id), timezone.now())
    return Status(202, {"detail": "On its way: deliveries tell how it went."})


@deliveries.get("", response=Page[DeliveryDetail], summary="Deliveries, the latest first")
@needs(READ_ONLY, "streamsite.view_delivery")
def sent(request: HttpRequest, filters: Query[DeliveryFilter]) -> dict[str, Any]:
    return paged(Delivery.objects.all(), "-id", filters)


@deliveries.get("/{id}", response=DeliveryDetail, summary="One delivery")
@needs(READ_ONLY, "streamsite.view_delivery")
def delivery(request: HttpRequest, id: Id) -> Delivery:
    return get_object_or_404(Delivery, pk=id)


@deliveries.post("/{id}/replay", response={202: Accepted}, summary="Send it again")
@needs(ADMIN, "streamsite.change_delivery")
def replay(request: HttpRequest, id: Id) -> Status[dict[str, str]]:
    """Under the same id: a receiver that has it already can tell."""
    row = get_object_or_404(Delivery, pk=id)
    if not outbox.replay([row.pk], timezone.now()):
        raise ProblemError(Kind.CONFLICT, "It still waits for its next attempt.")
    noted(request, row, "Sent again.")
    return Status(202, {"detail": "On its way again, under the same id."})
