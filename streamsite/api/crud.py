"""Parts that all routes of the API share: pages of rows, changes of rows, the audit log."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

import structlog
from django.contrib.admin.models import ADDITION, CHANGE, DELETION
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model, ProtectedError, Q, QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import FilterLookup, FilterSchema, Schema
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
)

from streamsite.api import audit
from streamsite.api.auth import caller
from streamsite.http import untrusted
from streamsite.http.problems import Kind, ProblemError
from streamsite.security.text import text_fault

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

T = TypeVar("T")
Row = TypeVar("Row", bound=Model)

#: The range of a primary key.
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
#: A whole number of no sign that every database can hold.
Small = Annotated[int, Field(ge=0, le=32_767)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
#: A time of day in the channel's zone: 20:15 or 20:15:30.
Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=80)]


def _near(value: date) -> date:
    """Far from there a change of zone has no date any more."""
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise ValueError(f"Choose a year from {_FIRST_YEAR} to {_LAST_YEAR}.")
    return value


_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2199


def _ahead(moment: datetime) -> datetime:
    if moment <= timezone.now():
        raise ValueError("That has passed: choose a later moment.")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_near)]
Later = Annotated[Moment, AfterValidator(_ahead)]
Day = Annotated[date, AfterValidator(_near)]
#: A text to filter by; an empty one is no condition.
Text = Annotated[str | None, Field(max_length=253), AfterValidator(lambda text: text or None)]
#: A filter of keys: their column is null as long as they are good.
Revoked = Annotated[
    bool | None,
    AfterValidator(lambda revoked: None if revoked is None else not revoked),
    FilterLookup("revoked_at__isnull"),
]
#: Rows of a page.
PAGE: Final = 50
LONGEST_PAGE: Final = 200


# ---- what comes in ---------------------------------------------------------------------------
class RequestSchema(Schema):
    """Base of queries and bodies. Refuses NUL characters: PostgreSQL stores none."""

    @field_validator("*", mode="after")
    @classmethod
    def _has_no_nul(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:
            raise ValueError("A NUL character is in it.")
        return value

    @field_validator("name", "label", "title", mode="after", check_fields=False)
    @classmethod
    def _is_one_line(cls, value: Any) -> Any:
        if isinstance(value, str) and (fault := text_fault(value)):
            raise ValueError(fault)
        return value


class Body(RequestSchema):
    """A misspelt field is told, not left out in silence."""

    model_config = ConfigDict(extra="forbid", use_enum_values=True)

    def given(self) -> dict[str, Any]:
        """The fields that were sent: those left out stay as they are."""
        return self.model_dump(exclude_unset=True)


def may_be_left_out(**bounds: Any) -> Any:
    """Marks a field that a change leaves out: its value stays. Null is another value."""
    return Field(default_factory=lambda: None, **bounds)


class Paging(FilterSchema, RequestSchema):
    """Parameters of lists: `next_cursor` of one response is `cursor` of the next request.

    A subclass adds filters. A column's own name needs no more; `FilterLookup` names another
    one, and None means no condition.
    """

    limit: int = Field(PAGE, ge=1, le=LONGEST_PAGE, description="Rows of one answer.")
    cursor: str = Field("", max_length=4096, description="`next_cursor` of the answer before.")

    def filter_limit(self, _: object) -> Q:
        return Q()

    filter_cursor = filter_limit


# ---- what goes out ---------------------------------------------------------------------------
class RowSchema(BaseModel):
    """Base of rows in a list. Reads attributes directly, in half the time of ninja's schemas.

    It supports no `resolve_...`: use `validation_alias` for a value that is no column.
    """

    model_config = ConfigDict(from_attributes=True)


class Accepted(Schema):
    detail: str = Field(description="What was ordered, or done.")


def _state_now(of: Any) -> Any:
    """The state now, for rows whose `state` is a method of a moment."""
    return of(timezone.now()).value if callable(of) else of


StateNow = Annotated[str, BeforeValidator(_state_now)]
#: Whether a column has a value.
Given = Annotated[bool, BeforeValidator(bool)]


class KeySchema(RowSchema):
    """A key without its value, which only the response that minted it shows."""

    id: int
    prefix: str
    state: StateNow
    expires_at: datetime | None
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    last_used_at: datetime | None
    last_address: str


class Page(Schema, Generic[T]):
    """`next_cursor` is null on the last page."""

    items: list[T]
    next_cursor: str | None


def paged(rows: QuerySet[Row], order: str, params: Paging) -> dict[str, Any]:
    """The rows behind the cursor, in the order of a column and then of the id.

    A keyset: it costs the same on each page, and a row that comes or goes moves no other.
    Only rows that match the filters of `params`. `order` is a column that is never null, with
    `-` before it for the highest first. Raises `ProblemError`.
    """
    shown = list(window(params.filter(rows), order, params))
    return page(shown, order, params)


def window(rows: QuerySet[Row], order: str, params: Paging) -> QuerySet[Row]:
    """The page's rows, and one more where there is a next page. Raises `ProblemError`."""
    name = order.lstrip("-")
    sign = "-" if order.startswith("-") else ""
    if params.cursor:
        rows = _behind(rows, name, sign, params.cursor)
    return rows.order_by(order, f"{sign}pk")[: params.limit + 1]


def page(rows: list[Row], order: str, params: Paging) -> dict[str, Any]:
    """The answer, from what `window` told."""
    shown = rows[: params.limit]
    more = len(rows) > params.limit
    following = cursor_of(shown[-1], order.lstrip("-")) if more else None
    return {"items": shown, "next_cursor": following}


def cursor_of(row: Model, name: str) -> str:
    field = row._meta.get_field(name)
    place = [field.value_to_string(row), row.pk]  # type: ignore[union-attr]  # a column has it
    return urlsafe_b64encode(json.dumps(place).encode()).decode()


def in_range(value: Any) -> Any:
    """A cursor's value that a database can compare. Raises `ValueError`, `OverflowError`."""
    if isinstance(value, datetime):
        # Another zone's first or last day has no moment in UTC.
        aware = value if value.tzinfo else timezone.make_aware(value, UTC)
        return aware.astimezone(UTC)
    if isinstance(value, str) and "\0" in value:
        raise ValueError("A NUL character is in it.")
    return value


def _behind(rows: QuerySet[Row], name: str, sign: str, cursor: str) -> QuerySet[Row]:
    field = rows.model._meta.get_field(name)
    try:
        place, pk = untrusted.place_of(cursor)
        value = in_range(field.to_python(place))  # type: ignore[union-attr]  # a column has it
    except (ValueError, TypeError, OverflowError, ValidationError):
        raise ProblemError(
            Kind.MALFORMED, "The cursor can't be read: begin without one."
        ) from None
    to, among = ("lte", "gte") if sign else ("gte", "lte")
    # Uses a range of the index first, then excludes the few rows with the same value.
    same = Q(**{name: value, f"pk__{among}": pk})
    return rows.filter(**{f"{name}__{to}": value}).exclude(same)


# ---- changes ---------------------------------------------------------------------------------
def made(row: Row) -> Row:
    """Insert it. Raises `ValidationError`."""
    row.full_clean()
    row.save(force_insert=True)
    return row


def changed(row: Row, fields: dict[str, Any]) -> Row:
    """Write these fields of it, and no others: another process may be writing those.

    Raises `ValidationError`.
    """
    for name, value in fields.items():
        setattr(row, name, value)
    row.full_clean()
    if fields:
        row.save(update_fields=sorted(fields))
    return row


def deleted(row: Model) -> None:
    """Raises `ProblemError` where something needs it."""
    try:
        row.delete()
    except ProtectedError as error:
        users = ", ".join(sorted({str(user) for user in error.protected_objects})[:5])
        raise ProblemError(
            Kind.IN_USE, f"“{row}” is used by {users}: take it out there first."
        ) from None


def noted(request: HttpRequest, row: Model, sentence: str, flag: int = CHANGE) -> None:
    """Records the caller and the change in the audit log and in the log."""
    who = caller(request)
    audit.write(who, row, sentence, flag)
    what = row._meta.label_lower
    log.info("api.changed", by=who.name, what=what, pk=row.pk, done=sentence)


# ---- a row's life, each step with a note of who took it --------------------------------------
Then = Callable[[], object]


def added(request: HttpRequest, row: Row, *, then: Then | None = None) -> Row:
    """Insert it; `then`, when that is certain. Raises `ValidationError`."""
    with transaction.atomic():
        made(row)
        _finished(request, row, "Added.", ADDITION, then)
    return row


def edited(
    request: HttpRequest,
    rows: QuerySet[Row],
    pk: int,
    fields: dict[str, Any],
    *,
    demand: Callable[[Row], object] | None = None,
    then: Then | None = None,
) -> Row:
    """Write these fields of one of the rows, and no others.

    `demand` raises where that may not be, with the row as it is. Raises `Http404`,
    `ValidationError`.
    """
    with transaction.atomic():
        row = get_object_or_404(rows.select_for_update(), pk=pk)
        if demand is not None:
            demand(row)
        changed(row, fields)
        sentence = f"Changed {', '.join(sorted(fields)) or 'nothing'}."
        _finished(request, row, sentence, CHANGE, then)
    return row


def removed(
    request: HttpRequest,
    rows: QuerySet[Row],
    *,
    demand: Callable[[Row], object] | None = None,
    then: Then | None = None,
    **which: Any,
) -> None:
    """Delete one of the rows. Raises `Http404`, and `ProblemError` where something needs it."""
    with transaction.atomic():
        row = get_object_or_404(rows.select_for_update(), **which)
        if demand is not None:
            demand(row)
        _finished(request, row, "Deleted.", DELETION, then)
        deleted(row)


def _finished(
    request: HttpRequest, row: Model, sentence: str, flag: int, then: Then | None
) -> None:
    noted(request, row, sentence, flag)
    if then is not None:
        transaction.on_commit(then)
