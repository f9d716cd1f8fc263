"""Downloads in the API: ordered, watched, cancelled, tried again, fetched.

A key of level DOWNLOAD sees its own downloads; ADMIN and staff see all.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from django.db.models import Avg, Count, F, Q, QuerySet, Sum
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Header, Query, Router, Status

from media_library import storage
from media_library.api.download_schemas import (
    BatchDetail,
    Cancelled,
    DownloaderHealth,
    Info,
    InfoAsked,
    JobDetail,
    JobFilter,
    Statistics,
    Wanted,
    WantedMany,
    WantedOptions,
)
from media_library.downloads import health, jobs, metadata
from media_library.downloads.errors import GivenUpError
from media_library.downloads.jobs import Order
from media_library.downloads.metadata import BusyError
from media_library.downloads.options import Options, OptionsError
from media_library.location import LocalFile
from media_library.models import DownloadBatch, DownloadJob
from streamsite.api.auth import Caller, caller
from streamsite.api.crud import Id, Page, noted, paged
from streamsite.api.permissions import API, KeyPermission, rule_of
from streamsite.http.problems import Kind, ProblemError

router = Router(tags=["downloads"])

#: Staff may download from any site with it; keys from level ADMIN on.
ANY_SITE = "media_library.download_from_any_site"


def order_of(who: Caller, *, again: bool = False, rights: str = "") -> Order:
    if who.key is not None:
        owner, any_site = f"key:{who.key.pk}", who.key.may.includes(KeyPermission.ADMIN)
    elif who.user is not None:
        owner = f"user:{who.user.pk}"
        any_site = who.user.has_perm(ANY_SITE)  # type: ignore[attr-defined]
    else:
        raise TypeError("Nobody asks.")
    return Order(by=who.name, owner=owner, any_site=any_site, again=again, rights=rights)


def seen_by(who: Caller) -> QuerySet[DownloadJob]:
    if who.key is not None and not who.key.may.includes(KeyPermission.ADMIN):
        return DownloadJob.objects.filter(owner=f"key:{who.key.pk}")
    return DownloadJob.objects.all()


def _shown(request: HttpRequest, job: DownloadJob) -> DownloadJob:
    """As the caller may see it, not to be saved: only those who may order see tokens."""
    rule = rule_of("POST", f"{API}retry/{{id}}")
    if rule is None or not caller(request).may(rule):
        job.url = job.shown_url
    return job


@router.post(
    "/download", response={202: JobDetail, 200: JobDetail}, summary="Download one video"
)
def download(
    request: HttpRequest,
    asked: Wanted,
    idempotency_key: Annotated[str, Header(max_length=128)] = "",
) -> Status[DownloadJob]:
    """With an `Idempotency-Key` of yours, asking again is answered with the same job (200)."""
    options = _options(asked)
    if "\0" in idempotency_key:
        raise ProblemError(Kind.MALFORMED, "A NUL character is in the Idempotency-Key.")
    order = order_of(caller(request), again=asked.again, rights=asked.rights)
    known = bool(idempotency_key) and (
        DownloadJob.objects.filter(owner=order.owner, asked_key=idempotency_key).exists()
    )
    job = jobs.add(asked.url, options, order, asked_key=idempotency_key)
    if not known:
        noted(request, job, "Ordered.")
    return Status(200 if known else 202, job)


@router.post("/download/batch", response={202: BatchDetail}, summary="Download many videos")
def download_many(request: HttpRequest, asked: WantedMany) -> Status[dict[str, Any]]:
    """`/jobs?batch=` tells how far they are; one call cancels them all."""
    options = _options(asked)
    order = order_of(caller(request), again=asked.again, rights=asked.rights)
    batch = jobs.add_many(asked.urls, options, order, name=asked.name)
    noted(request, batch, "Ordered.")
    ids = list(batch.jobs.order_by("pk").values_list("pk", flat=True))
    return Status(202, {"id": batch.pk, "name": batch.name, "jobs": ids})


def _options(asked: WantedOptions) -> Options:
    told = asked.model_dump(mode="json", include=set(WantedOptions.model_fields))
    try:
        return Options.of(told)
    except OptionsError as error:
        raise ProblemError(Kind.REFUSED, str(error)) from None


@router.get("/status/{id}", response=JobDetail, summary="How far a download is")
def status(request: HttpRequest, id: Id) -> DownloadJob:
    return _shown(request, get_object_or_404(seen_by(caller(request)), pk=id))


@router.get("/jobs", response=Page[JobDetail], summary="Downloads, the newest first")
def listed(request: HttpRequest, asked: Query[JobFilter]) -> dict[str, Any]:
    found = seen_by(caller(request))
    if asked.status is not None:
        found = found.filter(status=asked.status.value)
    if asked.site:
        found = found.filter(site=asked.site)
    if asked.batch is not None:
        found = found.filter(batch=asked.batch)
    if asked.made_since is not None:
        found = found.filter(made_at__gte=asked.made_since)
    page = paged(found, "-made_at", asked)
    return page | {"items": [_shown(request, job) for job in page["items"]]}


@router.get("/info", response=Info, summary="What is at an address")
def info(request: HttpRequest, asked: Query[InfoAsked]) -> dict[str, Any]:
    """Asked again within five minutes, the answer is the same and the site is not asked."""
    order = order_of(caller(request))
    try:
        return metadata.look(asked.url, cap=asked.cap, any_site=order.any_site)
    except GivenUpError as error:
        raise ProblemError(Kind.REFUSED, error.why.sentence, code=error.why.code) from None
    except BusyError as error:
        raise ProblemError(Kind.UNAVAILABLE, str(error)) from None


@router.get("/downloads/health", response=DownloaderHealth, summary="Can downloads work?")
def downloads_health(
    request: HttpRequest, days: Annotated[int, Query(ge=1, le=90)] = 7
) -> health.Report:
    """yt-dlp as it really runs on this machine, and how sites took it in the last `days`."""
    return health.report(timezone.now(), days=days)


@router.post("/retry/{id}", response={202: JobDetail}, summary="Try again, from where it was")
def retry(request: HttpRequest, id: Id) -> Status[DownloadJob]:
    """Of a key, it waits until its site may be asked again, if that wants to be left alone."""
    job = get_object_or_404(seen_by(caller(request)), pk=id)
    jobs.retry(job, lift=caller(request).key is None)
    noted(request, job, "Another try ordered.")
    return Status(202, job)


@router.post("/cancel/{id}", response={202: JobDetail}, summary="Stop it")
def cancel(request: HttpRequest, id: Id) -> Status[DownloadJob]:
    """What runs is gone within a second; nothing of it is kept."""
    job = get_object_or_404(seen_by(caller(request)), pk=id)
    if not jobs.cancel(job):
        raise ProblemError(Kind.CONFLICT, "It is over: there is nothing to cancel.")
    noted(request, job, "Cancelled.")
    return Status(202, job)


@router.post("/cancel/batch/{id}", response={202: Cancelled}, summary="Stop many at once")
def cancel_batch(request: HttpRequest, id: Id) -> Status[dict[str, int]]:
    """All of it that is not over."""
    seen = seen_by(caller(request)).filter(batch=id)
    batch = get_object_or_404(DownloadBatch.objects.filter(jobs__in=seen).distinct(), pk=id)
    count = jobs.cancel_batch(batch)
    noted(request, batch, "Cancelled.")
    return Status(202, {"cancelled": count})


@router.get("/jobs/{id}/file", summary="The file that came", response={200: None, 302: None})
def file(request: HttpRequest, id: Id) -> HttpResponse | FileResponse:
    """The bytes, or where they are: an address of the bucket, good for an hour."""
    job = get_object_or_404(seen_by(caller(request)), pk=id, status=DownloadJob.Status.DONE)
    place = storage.locate(job.key, seconds=3600)
    if isinstance(place, LocalFile):
        name = job.key.rpartition("/")[2]
        try:
            return FileResponse(place.path.open("rb"), as_attachment=True, filename=name)
        except FileNotFoundError:
            raise Http404 from None
    # The bucket is not asked, for the answer may take long: the last sync has.
    if job.item is not None and job.item.missing_since is not None:
        raise Http404
    answer = HttpResponseRedirect(place.url.reveal())
    # Whoever has the address has the film: no proxy keeps it.
    answer["Cache-Control"] = "no-store"
    return answer


@router.get("/statistics", response=Statistics, summary="How many, how much, how well")
def statistics(request: HttpRequest, days: Annotated[int, Query(ge=1, le=366)] = 30) -> Any:
    seen = seen_by(caller(request))
    found = seen.filter(made_at__gte=timezone.now() - timedelta(days=days))
    counts = dict(found.order_by().values_list("status").annotate(Count("pk")))
    done = found.filter(status=DownloadJob.Status.DONE, duplicate=False)
    whole = done.aggregate(bytes=Sum("size_bytes"), each=Avg(F("ended_at") - F("started_at")))
    over = Count("pk", filter=Q(status=DownloadJob.Status.DONE))
    wrong = Count("pk", filter=Q(status=DownloadJob.Status.FAILED))
    sites = found.order_by().values("site").annotate(done=over, failed=wrong)
    return {
        "days": days,
        **{name: counts.get(name, 0) for name in ("queued", "done", "failed", "cancelled")},
        "running": sum(counts.get(each.value, 0) for each in DownloadJob.RUNNING),
        "bytes": whole["bytes"] or 0,
        "seconds_each": whole["each"] and whole["each"].total_seconds(),
        "sites": [
            each | {"success": _share(each["done"], each["failed"])}
            for each in sites.order_by("-done", "site")[:100]
        ],
    }


def _share(done: int, failed: int) -> float | None:
    return round(done / (done + failed), 3) if done + failed else None
