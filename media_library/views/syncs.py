"""Syncs: ordered here, watched here. And the trial of the storage."""

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


def told(run: SyncRun) -> dict[str, Any]:
    """What the page shows of a sync. Percent: of what the library had when it began."""
    ended = run.ended_at or timezone.now()
    return {
        "id": run.pk,
        "status": run.status,
        "label": run.get_status_display(),
        "dry": run.dry,
        "started_at": run.started_at,
        "started_by": run.started_by,
        # While it runs the page counts on by itself, so that an unchanged answer stays equal.
        "seconds": round((ended - run.started_at).total_seconds()) if run.ended_at else None,
        "percent": min(99, 100 * run.seen // run.known) if run.known else None,
        **{name: getattr(run, name) for name in _COUNTS},
        "fault": run.fault,
    }


_COUNTS: Final = (
    *("known", "seen", "added", "changed", "absent", "gone", "unchanged", "other_kinds"),
    *("left_out", "growing"),
)


@require_GET
@staff("media_library.view_syncrun")
def status(request: HttpRequest) -> HttpResponseBase:
    """The newest sync, polled: the same answer costs 304 and no bytes."""
    run = SyncRun.objects.first()
    body = json.dumps(
        {"sync": told(run) if run else None}, cls=DjangoJSONEncoder, separators=(",", ":")
    )
    return unless_seen(request, body.encode(), "application/json")


@require_POST
@staff(ADD)
def start(request: HttpRequest, dry: bool) -> HttpResponseBase:
    return _start(request, dry=dry)


@require_POST
@staff(ADD)
def accept_gone(request: HttpRequest) -> HttpResponseBase:
    """After a brake: take what is gone or changed for true. Asks back unless `confirmed`."""
    if request.POST.get("confirmed") == "1":
        return _start(request, accept_gone=True)
    context = {**admin.site.each_context(request), "title": "Accept what the storage has now?"}
    context["run"] = SyncRun.objects.filter(status=SyncRun.Status.BRAKED).first()
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
            request, "It is being looked up what would change." if dry else "The sync begins."
        )
    return redirect("admin:media_library_syncrun_changelist")


@require_POST
@staff("media_library.view_syncrun")
def test_connection(request: HttpRequest) -> HttpResponseBase:
    """Each thing that the storage must let us do, tried now."""
    context = {
        **admin.site.each_context(request),
        "title": "Connection to the storage",
        "results": [*storage.examine(), *_emptied()],
    }
    return TemplateResponse(request, "media_library/connection.html", context)


def _emptied() -> Iterator[storage.Examined]:
    if fault := emptied():
        yield storage.Examined("Content", ok=False, sentence=fault)
