"""Syncs with the storage in the API, and the test of the storage."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Query, Schema, Status
from pydantic import Field

from media_library import storage
from media_library.models import SyncRun
from media_library.sync import runner
from media_library.sync.empty_guard import emptied
from streamsite.api.auth import Router, caller
from streamsite.api.crud import Body, Id, Page, Paging, RowSchema, noted, paged
from streamsite.api.permissions import ADMIN, READ_ONLY, needs

router = Router(tags=["media"])
trial = Router(tags=["media"])

#: As `SyncRun.Status` has them.
Outcome = Literal["running", "done", "stopped", "failed"]


class SyncDetail(RowSchema):
    """`items_before`: items before it; `seen`: objects listed so far; `gone`: missed twice.

    `other_kinds`: other files, such as subtitles; `left_out`: hidden, in a trash or similar;
    `growing`: changed within half a minute, added by a later sync. `differences`: the first
    ones, each with verdict and key.
    """

    id: int
    status: Outcome
    dry: bool
    started_at: datetime
    started_by: str
    ended_at: datetime | None
    items_before: int
    seen: int
    added: int
    changed: int
    absent: int
    gone: int
    unchanged: int
    other_kinds: int
    left_out: int
    growing: int
    fault: str
    differences: list[list[str]]


class NewSync(Body):
    """`dry`: only returns the changes. `accept_gone`: accepts missing and changed items."""

    dry: bool = False
    accept_gone: bool = False


class SyncFilter(Paging):
    status: Outcome | None = None


class CheckDetail(Schema):
    check: str
    ok: bool
    sentence: str


class Trial(Schema):
    ok: bool
    checks: list[CheckDetail] = Field(
        description="All operations that streamsite needs in the storage."
    )


@router.get("", response=Page[SyncDetail], summary="Syncs, the latest first")
@needs(READ_ONLY, "media_library.view_syncrun")
def listed(request: HttpRequest, filters: Query[SyncFilter]) -> dict[str, Any]:
    return paged(SyncRun.objects.all(), "-id", filters)


@router.post(
    "",
    response={202: SyncDetail},
    summary="Compare the storage with the library",
    description="409 while one is running.",
)
@needs(ADMIN, "media_library.add_syncrun")
def start(request: HttpRequest, body: NewSync) -> Status[SyncRun]:
    run = runner.start(by=caller(request).name, dry=body.dry, accept_gone=body.accept_gone)
    noted(request, run, "Ordered.")
    return Status(202, run)


@router.get("/{id}", response=SyncDetail, summary="One sync")
@needs(READ_ONLY, "media_library.view_syncrun")
def one(request: HttpRequest, id: Id) -> SyncRun:
    return get_object_or_404(SyncRun, pk=id)


@trial.post("/test", response=Trial, summary="Test the storage now")
@needs(ADMIN, "media_library.add_syncrun")
def test(request: HttpRequest) -> dict[str, Any]:
    """Tests all operations that streamsite needs, which takes some seconds."""
    checks = list(storage.examine())
    if fault := emptied():
        checks.append(storage.CheckResult("Content", ok=False, sentence=fault))
    return {"ok": all(check.ok for check in checks), "checks": checks}
