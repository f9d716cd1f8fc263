"""Syncs: start and progress, and the test of the storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from django.contrib import admin, messages
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from media_library import storage
from media_library.models import SyncRun
from media_library.sync import runner
from media_library.sync.empty_guard import emptied
from streamsite.http.responses import staff, unless_seen

ADD: Final = "media_library.add_syncrun"


def as_json(run: SyncRun) -> dict[str, Any]:
    """Returns the data of a sync for the page. Percent of the library's items at its start."""
    ended = run.ended_at or timezone.now()
    return {
        "id": run.pk,
        "status": run.status,
        "label": run.get_status_display(),
        "dry": run.dry,
        "started_at": run.started_at,
        "started_by": run.started_by,
        # While it runs, the page counts on, so that the answer stays unchanged.
        "seconds": round((ended - run.started_at).total_seconds()) if run.ended_at else None,
        "percent": min(99, 100 * run.seen // run.items_before) if run.items_before else None,
        **{name: getattr(run, name) for name in _COUNTS},
        "fault": run.fault,
    }


_COUNTS: Final = (
    *("items_before", "seen", "added", "changed", "absent", "gone", "unchanged", "other_kinds"),
    *("left_out", "growing"),
)


@require_GET
@staff("media_library.view_syncrun")
def status(request: HttpRequest) -> HttpResponseBase:
    """Returns the newest sync; an unchanged answer costs 304 and no body."""
    run = SyncRun.objects.first()
    body = json.dumps(
        {"sync": as_json(run) if run else None}, cls=DjangoJSONEncoder, separators=(",", ":")
    )
    return unless_seen(request, body.encode(), "application/json")


@require_POST
@staff(ADD)
def start(request: HttpRequest, dry: bool) -> HttpResponseBase:
    return _start(request, dry=dry)


@require_POST
@staff(ADD)
def accept_gone(request: HttpRequest) -> HttpResponseBase:
    """Accepts missing and changed items after the deletion guard. Asks unless `confirmed`."""
    if request.POST.get("confirmed") == "1":
        return _start(request, accept_gone=True)
    context = {**admin.site.each_context(request), "title": "Accept the storage's changes?"}
    context["run"] = SyncRun.objects.filter(status=SyncRun.Status.STOPPED).first()
    return TemplateResponse(request, "media_library/sync_confirm.html", context)


def _start(
    request: HttpRequest, *, dry: bool = False, accept_gone: bool = False
) -> HttpResponseBase:
    try:
        runner.start(by=request.user.get_username(), dry=dry, accept_gone=accept_gone)
    except runner.SyncError as refusal:
        messages.warning(request, str(refusal))
    else:
        messages.success(
            request, "The changes are being determined." if dry else "The sync begins."
        )
    return redirect("admin:media_library_syncrun_changelist")


@require_POST
@staff("media_library.view_syncrun")
def test_connection(request: HttpRequest) -> HttpResponseBase:
    """Tests all operations that streamsite needs in the storage."""
    context = {
        **admin.site.each_context(request),
        "title": "Connection to the storage",
        "results": [*storage.examine(), *_emptied()],
    }
    return TemplateResponse(request, "media_library/connection.html", context)


def _emptied() -> Iterator[storage.CheckResult]:
    if fault := emptied():
        yield storage.CheckResult("Content", ok=False, sentence=fault)
