"""The page about yt-dlp: its state, and a button to update it."""

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
    """Returns the page's tables: each row has a name, cells, a state, and a sentence."""
    return [
        {
            "name": "tool",
            "title": "yt-dlp on this machine",
            "heads": ("Check", "Value"),
            "rows": [_row(finding, finding.name, finding.value) for finding in report.findings],
        },
        {
            "name": "sites",
            "title": f"Sites in the last {report.days} days",
            "heads": ("Site", "Downloaded", "Failed"),
            "rows": [_row(site, site.site, site.done, site.failed) for site in report.sites],
            "empty": "There were no downloads.",
        },
        {
            "name": "cookies",
            "title": "Site cookies",
            "heads": ("Site", "Age in days", "Used"),
            "rows": [
                _row(row, row.domain, row.age_days, row.used_at or "never")
                for row in report.cookies
            ],
            "empty": "There are none: sites that require a login refuse.",
        },
    ]


def _row(judged: _Judged, name: str, *cells: object) -> dict[str, object]:
    return {
        "name": name,
        "cells": cells,
        "state": judged.state,
        "sentence": judged.sentence,
    }


def _order(request: HttpRequest) -> None:
    if request.POST.get("order") == "rollback":
        try:
            messages.success(request, ytdlp_versions.roll_back(timezone.now()))
        except UpdateError as refusal:
            messages.warning(request, str(refusal))
        return
    if ytdlp_versions.order():
        message = "The update begins and takes some minutes. This page shows its result."
        messages.success(request, message)
    else:
        messages.error(request, UNREACHABLE)
