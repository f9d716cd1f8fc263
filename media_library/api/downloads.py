"""Downloads in the API: order, status, cancel, retry, file.

A key with DOWNLOAD sees its own downloads; ADMIN and staff see all.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from django.db.models import Avg, Count, F, Q, QuerySet, Sum
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Header, Query, Status

from media_library import storage
from media_library.api.download_schemas import (
    BatchDetail,
    Cancelled,
    DownloadOptions,
    Info,
    InfoQuery,
    JobDetail,
    JobFilter,
    NewDownload,
    NewDownloads,
    Statistics,
)
from media_library.downloads import health, jobs, metadata
from media_library.downloads.errors import GivenUpError
from media_library.downloads.metadata import BusyError
from media_library.downloads.options import Options, OptionsError
from media_library.location import LocalFile
from media_library.models import DownloadBatch, DownloadJob, SitePause
from media_library.views.downloads import order_of
from streamsite.api.auth import Caller, Router, caller
from streamsite.api.crud import Id, Page, noted, paged
from streamsite.api.permissions import ADMIN, DOWNLOAD, KeyPermission, Rule, needs
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["downloads"])

_MAY_RETRY: Final = Rule(DOWNLOAD, "media_library.change_downloadjob")


def seen_by(who: Caller) -> QuerySet[DownloadJob]:
    if who.key is not None and not who.key.may.includes(KeyPermission.ADMIN):
        return DownloadJob.objects.filter(owner=f"key:{who.key.pk}")
    return DownloadJob.objects.all()


def _shown(request: HttpRequest, jobs_: list[DownloadJob]) -> list[DownloadJob]:
    """Adds how long they wait, and hides tokens in the address from callers who may not order.

    Not to be saved.
    """
    now, whole = timezone.now(), caller(request).may(_MAY_RETRY)
    pauses = dict(SitePause.objects.filter(until__gt=now).values_list("site", "until"))
    for job in jobs_:
        if not whole:
            job.url = job.shown_url
        until = max(job.due_at, pauses.get(job.site, now))
        waits = job.status == DownloadJob.Status.QUEUED and until > now
        job.waits_until = until if waits else None  # type: ignore[attr-defined]  # the schema's field
    return jobs_


@router.post(
    "/download", response={202: JobDetail, 200: JobDetail}, summary="Download one video"
)
@needs(DOWNLOAD, "media_library.add_downloadjob")
def download(
    request: HttpRequest,
    body: NewDownload,
    idempotency_key: Annotated[str, Header(max_length=128)] = "",
) -> Status[DownloadJob]:
    """A repeated request with the same `Idempotency-Key` returns the same job (200)."""
    options = _options(body)
    if "\0" in idempotency_key:
        raise ProblemError(Kind.MALFORMED, "The Idempotency-Key contains a NUL character.")
    order = order_of(caller(request), again=body.again, rights=body.rights)
    existing = bool(idempotency_key) and (
        DownloadJob.objects.filter(owner=order.owner, requested_key=idempotency_key).exists()
    )
    job = jobs.add(body.url, options, order, requested_key=idempotency_key)
    if not existing:
        noted(request, job, "Ordered.")
    return Status(200 if existing else 202, job)


@router.post("/download/batch", response={202: BatchDetail}, summary="Download many videos")
@needs(DOWNLOAD, "media_library.add_downloadjob")
def download_many(request: HttpRequest, body: NewDownloads) -> Status[dict[str, Any]]:
    """`/jobs?batch=` shows their progress; one call cancels them all."""
    options = _options(body)
    order = order_of(caller(request), again=body.again, rights=body.rights)
    batch = jobs.add_many(body.urls, options, order, name=body.name)
    noted(request, batch, "Ordered.")
    ids = list(batch.jobs.order_by("pk").values_list("pk", flat=True))
    return Status(202, {"id": batch.pk, "name": batch.name, "jobs": ids})


def _options(body: DownloadOptions) -> Options:
    values = body.model_dump(mode="json", include=set(DownloadOptions.model_fields))
    try:
        return Options.of(values)
    except OptionsError as error:
        raise ProblemError(Kind.REFUSED, str(error)) from None


@router.get("/status/{id}", response=JobDetail, summary="Progress of a download")
@needs(DOWNLOAD, "media_library.view_downloadjob")
def status(request: HttpRequest, id: Id) -> DownloadJob:
    return _shown(request, [get_object_or_404(seen_by(caller(request)), pk=id)])[0]


@router.get("/jobs", response=Page[JobDetail], summary="Downloads, the newest first")
@needs(DOWNLOAD, "media_library.view_downloadjob")
def listed(request: HttpRequest, filters: Query[JobFilter]) -> dict[str, Any]:
    jobs_ = seen_by(caller(request))
    page = paged(jobs_, "due_at" if filters.order == "due" else "-made_at", filters)
    return page | {"items": _shown(request, page["items"])}


@router.get("/info", response=Info, summary="The video or list at an address")
@needs(DOWNLOAD, "media_library.add_downloadjob")
def info(request: HttpRequest, params: Query[InfoQuery]) -> dict[str, Any]:
    """The answer is cached for five minutes, without another request to the site."""
    order = order_of(caller(request))
    try:
        return metadata.inspect(params.url, cap=params.cap, any_site=order.any_site)
    except GivenUpError as error:
        raise ProblemError(Kind.REFUSED, error.why.sentence, code=error.why.code) from None
    except BusyError as error:
        raise ProblemError(Kind.UNAVAILABLE, str(error)) from None


@router.get("/downloads/health", response=health.Report, summary="Can downloads work?")
@needs(ADMIN, "media_library.view_downloadjob")
def downloads_health(
    request: HttpRequest, days: Annotated[int, Query(ge=1, le=90)] = 7
) -> health.Report:
    """State of yt-dlp on this machine, and of the sites in the last `days`."""
    return health.report(timezone.now(), days=days)


@router.post("/retry/{id}", response={202: JobDetail}, summary="Try again and resume")
@needs(DOWNLOAD, "media_library.change_downloadjob")
def retry(request: HttpRequest, id: Id) -> Status[DownloadJob]:
    """For a key, the job waits until the pause of its site ends."""
    job = get_object_or_404(seen_by(caller(request)), pk=id)
    jobs.retry(job, end_pause=caller(request).key is None)
    noted(request, job, "Retry ordered.")
    return Status(202, job)


@router.post("/cancel/{id}", response={202: JobDetail}, summary="Cancel it")
@needs(DOWNLOAD, "media_library.change_downloadjob")
def cancel(request: HttpRequest, id: Id) -> Status[DownloadJob]:
    """A running job ends within a second; nothing of it is kept."""
    job = get_object_or_404(seen_by(caller(request)), pk=id)
    if not jobs.cancel(job):
        raise ProblemError(Kind.CONFLICT, "It is over: there is nothing to cancel.")
    noted(request, job, "Cancelled.")
    return Status(202, job)


@router.post("/cancel/batch/{id}", response={202: Cancelled}, summary="Cancel a batch")
@needs(DOWNLOAD, "media_library.change_downloadjob")
def cancel_batch(request: HttpRequest, id: Id) -> Status[dict[str, int]]:
    """Cancels all jobs of the batch that are not over."""
    seen = seen_by(caller(request)).filter(batch=id)
    batch = get_object_or_404(DownloadBatch.objects.filter(jobs__in=seen).distinct(), pk=id)
    count = jobs.cancel_batch(batch)
    noted(request, batch, "Cancelled.")
    return Status(202, {"cancelled": count})


@router.get("/jobs/{id}/file", summary="The downloaded file", response={200: None, 302: None})
@needs(DOWNLOAD, "media_library.view_downloadjob")
def file(request: HttpRequest, id: Id) -> HttpResponse | FileResponse:
    """The bytes, or a redirect to a URL of the bucket, valid for an hour."""
    job = get_object_or_404(seen_by(caller(request)), pk=id, status=DownloadJob.Status.DONE)
    location = storage.locate(job.key, seconds=3600)
    if isinstance(location, LocalFile):
        name = job.key.rpartition("/")[2]
        try:
            return FileResponse(location.path.open("rb"), as_attachment=True, filename=name)
        except FileNotFoundError:
            raise Http404 from None
    # The bucket is not queried, because it may be slow: the last sync decides.
    if job.item is not None and job.item.missing_since is not None:
        raise Http404
    answer = HttpResponseRedirect(location.url.reveal())
    # The URL gives access to the video: no proxy may store it.
    answer["Cache-Control"] = "no-store"
    return answer


@router.get("/statistics", response=Statistics, summary="Numbers, bytes and success")
@needs(DOWNLOAD, "media_library.view_downloadjob")
def statistics(request: HttpRequest, days: Annotated[int, Query(ge=1, le=366)] = 30) -> Any:
    seen = seen_by(caller(request))
    recent = seen.filter(made_at__gte=timezone.now() - timedelta(days=days))
    counts = dict(recent.order_by().values_list("status").annotate(Count("pk")))
    done = recent.filter(status=DownloadJob.Status.DONE, duplicate=False)
    whole = done.aggregate(bytes=Sum("size_bytes"), mean=Avg(F("ended_at") - F("started_at")))
    over = Count("pk", filter=Q(status=DownloadJob.Status.DONE))
    wrong = Count("pk", filter=Q(status=DownloadJob.Status.FAILED))
    sites = recent.order_by().values("site").annotate(done=over, failed=wrong)
    return {
        "days": days,
        **{name: counts.get(name, 0) for name in ("queued", "done", "failed", "cancelled")},
        "running": sum(counts.get(status_.value, 0) for status_ in DownloadJob.RUNNING),
        "bytes": whole["bytes"] or 0,
        "mean_seconds": whole["mean"] and whole["mean"].total_seconds(),
        "sites": [
            row | {"success": _share(row["done"], row["failed"])}
            for row in sites.order_by("-done", "site")[:100]
        ],
    }


def _share(done: int, failed: int) -> float | None:
    return round(done / (done + failed), 3) if done + failed else None
