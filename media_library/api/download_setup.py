"""Settings of downloads in the API: schedules, cookies of sites, and yt-dlp itself."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Status
from pydantic import StringConstraints

from media_library.api.download_schemas import DownloadOptions, Url
from media_library.api.downloads import seen_by
from media_library.downloads import cookies, jobs, ytdlp_versions
from media_library.downloads.cookies import CookiesError
from media_library.downloads.options import Options, OptionsError
from media_library.models import DownloadJob, DownloadSchedule, SiteCookies
from media_library.views.downloads import order_of
from streamsite.api.auth import Router, caller
from streamsite.api.crud import (
    Accepted,
    Body,
    Id,
    Page,
    Paging,
    RowSchema,
    Small,
    added,
    edited,
    may_be_left_out,
    paged,
    removed,
)
from streamsite.api.permissions import ADMIN, needs
from streamsite.http.problems import Kind, ProblemError
from streamsite.processes.task_queue import UNREACHABLE
from streamsite.security.secret import Secret

schedules = Router(tags=["downloads"])
site_cookies = Router(tags=["downloads"])
rest = Router(tags=["downloads"])

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, strip_whitespace=True)]
Domain = Annotated[
    str, StringConstraints(pattern=r"^\.?[A-Za-z0-9][A-Za-z0-9.-]*$", max_length=253)
]
CookiesText = Annotated[str, StringConstraints(min_length=1, max_length=1_000_000)]


# ---- schedules -------------------------------------------------------------------------------
class ScheduleDetail(RowSchema):
    """`every_hours` 0: once. New videos among the newest `cap` are downloaded.

    `made_by` changed it last: their quota is used. `ordered`: videos ordered so far.
    """

    id: int
    name: str
    url: str
    every_hours: int
    cap: int
    enabled: bool
    rights: str
    options: dict[str, Any]
    made_by: str
    next_at: datetime
    checked_at: datetime | None
    ordered: int
    fault: str


class ScheduleChange(Body):
    """Omitted fields stay unchanged; `options` replaces all options."""

    name: Name = may_be_left_out()
    url: Url = may_be_left_out()
    every_hours: Small = may_be_left_out()
    cap: int = may_be_left_out(ge=1, le=500)
    enabled: bool = may_be_left_out()
    rights: Annotated[str, StringConstraints(max_length=10_000)] = may_be_left_out()
    options: DownloadOptions = may_be_left_out()


class NewSchedule(ScheduleChange):
    name: Name
    url: Url


def _written(request: HttpRequest, body: ScheduleChange) -> dict[str, Any]:
    """Returns the columns. Raises `ProblemError`, `OrderError`."""
    fields = body.given()
    if "url" in fields:
        fields["url"] = jobs.cleaned(fields["url"])
    if "options" in fields:
        try:
            options = Options.of(body.options.model_dump(mode="json"))
        except OptionsError as error:
            raise ProblemError(Kind.REFUSED, str(error)) from None
        jobs.fits(options)
        fields["options"] = options.as_json()
    # The last editor is responsible: their quota, and their right to unknown sites.
    order = order_of(caller(request))
    return fields | {"owner": order.owner, "made_by": order.by, "any_site": order.any_site}


@schedules.get("", response=Page[ScheduleDetail], summary="Schedules of downloads, by name")
@needs(ADMIN, "media_library.view_downloadschedule")
def listed(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return paged(DownloadSchedule.objects.all(), "name", paging)


@schedules.post("", response={201: ScheduleDetail}, summary="A new schedule")
@needs(ADMIN, "media_library.add_downloadschedule")
def create(request: HttpRequest, body: NewSchedule) -> Status[DownloadSchedule]:
    return Status(201, added(request, DownloadSchedule(**_written(request, body))))


@schedules.get("/{id}", response=ScheduleDetail, summary="One schedule")
@needs(ADMIN, "media_library.view_downloadschedule")
def schedule(request: HttpRequest, id: Id) -> DownloadSchedule:
    return get_object_or_404(DownloadSchedule, pk=id)


@schedules.patch("/{id}", response=ScheduleDetail, summary="Change a schedule")
@needs(ADMIN, "media_library.change_downloadschedule")
def change(request: HttpRequest, id: Id, body: ScheduleChange) -> DownloadSchedule:
    return edited(request, DownloadSchedule.objects.all(), id, _written(request, body))


@schedules.delete("/{id}", response={204: None}, summary="Delete it; its downloads stay")
@needs(ADMIN, "media_library.delete_downloadschedule")
def delete(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, DownloadSchedule.objects.all(), pk=id)
    return Status(204, None)


# ---- cookies ---------------------------------------------------------------------------------
class SiteCookiesDetail(RowSchema):
    """The cookies themselves are never returned.

    `readable`: false if no key of FIELD_KEYS decrypts them; downloads from there fail.
    """

    id: int
    domain: str
    readable: bool
    set_at: datetime
    used_at: datetime | None


class OtherCookies(Body):
    """`text`: a cookies.txt, as exported by a browser's add-on."""

    text: CookiesText


class NewCookies(OtherCookies):
    """Cookies for the domain and its subdomains."""

    domain: Domain


def _checked(text: str, domain: str) -> str:
    """Returns the checked cookies. Raises `ProblemError`, without their content."""
    try:
        return cookies.checked(text, domain)
    except CookiesError as error:
        raise ProblemError(Kind.REFUSED, str(error)) from None


@site_cookies.get("", response=Page[SiteCookiesDetail], summary="Sites with cookies, by domain")
@needs(ADMIN, "media_library.view_sitecookies")
def cookies_listed(request: HttpRequest, paging: Query[Paging]) -> dict[str, Any]:
    return paged(SiteCookies.objects.all(), "domain", paging)


@site_cookies.post("", response={201: SiteCookiesDetail}, summary="Cookies of a site")
@needs(ADMIN, "media_library.add_sitecookies")
def lend(request: HttpRequest, body: NewCookies) -> Status[SiteCookies]:
    domain = body.domain.lower().lstrip(".")
    row = SiteCookies(domain=domain, text=Secret(_checked(body.text, domain)))
    return Status(201, added(request, row))


@site_cookies.put("/{id}", response=SiteCookiesDetail, summary="Replace them")
@needs(ADMIN, "media_library.change_sitecookies")
def replace(request: HttpRequest, id: Id, body: OtherCookies) -> SiteCookies:
    row = get_object_or_404(SiteCookies.objects.defer("text"), pk=id)
    fields = {"text": Secret(_checked(body.text, row.domain)), "set_at": timezone.now()}
    return edited(request, SiteCookies.objects.all(), id, fields)


@site_cookies.delete("/{id}", response={204: None}, summary="Delete them")
@needs(ADMIN, "media_library.delete_sitecookies")
def forget(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, SiteCookies.objects.all(), pk=id)
    return Status(204, None)


# ---- one download, and the tool --------------------------------------------------------------
def _refuse_running(job: DownloadJob) -> None:
    """Raises `ProblemError` for a running job: its worker would lose the row."""
    if not job.over:
        raise ProblemError(Kind.CONFLICT, "It is not over: cancel it first.")


@rest.delete("/jobs/{id}", response={204: None}, summary="Delete it; its results stay")
@needs(ADMIN, "media_library.delete_downloadjob")
def forget_job(request: HttpRequest, id: Id) -> Status[None]:
    removed(request, seen_by(caller(request)), pk=id, demand=_refuse_running)
    return Status(204, None)


@rest.post("/downloads/update", response={202: Accepted}, summary="Update yt-dlp")
@needs(ADMIN, "media_library.update_downloader")
def update(request: HttpRequest) -> Status[dict[str, str]]:
    """Installs a newer yt-dlp, tests it, and switches to it; see `downloads/health`."""
    if not ytdlp_versions.order():
        raise ProblemError(Kind.UNAVAILABLE, UNREACHABLE)
    return Status(202, {"detail": "The update begins: see /api/v1/downloads/health."})


@rest.post("/downloads/roll-back", response=Accepted, summary="Use the previous yt-dlp")
@needs(ADMIN, "media_library.update_downloader")
def roll_back(request: HttpRequest) -> dict[str, str]:
    return {"detail": ytdlp_versions.roll_back(timezone.now())}
