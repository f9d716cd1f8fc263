"""Whether downloads can work, and a newer yt-dlp by a button."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from media_library.downloads import health, ytdlp_versions
from media_library.downloads.ytdlp_versions import UpdateError
from streamsite.http.responses import staff
from streamsite.processes.task_queue import UNREACHABLE

VIEW: Final = "media_library.view_downloadjob"
UPDATE: Final = "media_library.update_downloader"
_Judged = health.Finding | health.Site | health.Cookies


@require_http_methods(["GET", "POST"])
@staff(VIEW)
def page(request: HttpRequest) -> HttpResponseBase:
    if request.method == "POST":
        if not request.user.has_perm(UPDATE):
            raise PermissionDenied
        _order(request)
        return redirect("media-download-tool")
    report = health.report(timezone.now())
    context = {
        **admin.site.each_context(request),
        "title": "Download tool",
        "report": report,
        "tables": tables(report),
    }
    return TemplateResponse(request, "media_library/download_tool.html", context)


def tables(report: health.Report) -> list[dict[str, Any]]:
    """What the page shows: each row has a name, cells, a state, and what that means."""
    return [
        {
            "name": "tool",
            "title": "yt-dlp on this machine",
            "heads": ("What", "Found"),
            "rows": [_row(each, each.name, each.value) for each in report.findings],
        },
        {
            "name": "sites",
            "title": f"Sites in the last {report.days} days",
            "heads": ("Site", "Came", "Failed"),
            "rows": [_row(each, each.site, each.done, each.failed) for each in report.sites],
            "empty": "Nothing was downloaded.",
        },
        {
            "name": "cookies",
            "title": "Site cookies",
            "heads": ("Site", "Age in days", "Used"),
            "rows": [
                _row(each, each.domain, each.age_days, each.used_at or "never")
                for each in report.cookies
            ],
            "empty": "There are none: sites that want a login refuse.",
        },
    ]


def _row(found: _Judged, name: str, *cells: object) -> dict[str, object]:
    return {
        "name": name,
        "cells": cells,
        "state": found.state,
        "sentence": found.sentence,
    }


def _order(request: HttpRequest) -> None:
    if request.POST.get("order") == "rollback":
        try:
            messages.success(request, ytdlp_versions.roll_back(timezone.now()))
        except UpdateError as refusal:
            messages.warning(request, str(refusal))
        return
    if ytdlp_versions.order():
        said = "The update begins. It takes some minutes: what came of it is told here."
        messages.success(request, said)
    else:
        messages.error(request, UNREACHABLE)
