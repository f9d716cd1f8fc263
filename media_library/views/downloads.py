"""Pages of downloads from the web: order, inspection, progress."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import F
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from media_library import formatting
from media_library.downloads import jobs
from media_library.downloads import metadata as preview
from media_library.downloads.errors import GivenUpError
from media_library.downloads.jobs import Order, OrderError
from media_library.downloads.metadata import BusyError
from media_library.downloads.options import (
    Container,
    Options,
    OptionsError,
    Quality,
    Sound,
    Subtitles,
)
from media_library.models import DownloadBatch, DownloadJob, SitePause
from streamsite.http.responses import staff, unless_seen
from streamsite.http.untrusted import json_of

ADD: Final = "media_library.add_downloadjob"
VIEW: Final = "media_library.view_downloadjob"
CHANGE: Final = "media_library.change_downloadjob"
#: Permission for addresses of sites that yt-dlp does not know.
ANY_SITE: Final = "media_library.download_from_any_site"
#: Maximum jobs on the page.
MAX_SHOWN: Final = 40
#: Digits of 2^63.
_DIGITS: Final = 19
LIST: Final = "admin:media_library_downloadjob_changelist"

_QUALITIES: Final = [
    (quality.value, f"{quality.value}p" if quality else "Best available") for quality in Quality
]
_SUBTITLES: Final = [
    (Subtitles.NONE.value, "None"),
    (Subtitles.MANUAL.value, "Made by people"),
    (Subtitles.AUTOMATIC.value, "Made by people, otherwise automatic"),
]


def in_words(options: Options) -> str:
    """Returns the options in one line."""
    parts = [f"at most {options.quality.value}p" if options.quality else "best available"]
    parts.append(f"{options.sound} only" if options.sound else options.container.upper())
    if options.subtitles is not Subtitles.NONE:
        parts.append(f"{options.subtitles} subtitles in {', '.join(options.languages)}")
    if options.translate:
        parts.append(f"translated into {', '.join(options.translate)}")
    beside = ("picture", "metadata", "chapters")
    chosen = (options.thumbnail, options.metadata, options.chapters)
    parts += [name for name, given in zip(beside, chosen, strict=True) if given]
    return ", ".join(parts)


class OptionsForm(forms.Form):
    """The options of each video."""

    quality = forms.TypedChoiceField(
        choices=_QUALITIES, coerce=int, initial=Quality.BEST.value, label="Quality"
    )
    container = forms.ChoiceField(
        choices=[
            (Container.MP4.value, "MP4 (least preparation)"),
            (Container.MKV.value, "MKV"),
            (Container.WEBM.value, "WebM"),
        ],
        label="Container",
    )
    sound = forms.ChoiceField(
        choices=[
            ("", "The whole video"),
            *((sound.value, sound.value) for sound in Sound if sound),
        ],
        required=False,
        label="Audio only",
    )
    subtitles = forms.ChoiceField(choices=_SUBTITLES, label="Subtitles")
    languages = forms.CharField(
        initial="en", required=False, max_length=100, help_text="Such as: en, pt-BR, zh-Hans"
    )
    translate = forms.CharField(
        label="Translate the subtitles into",
        required=False,
        max_length=100,
        help_text="Such as: de, fr. Machine translations, beside the original subtitles.",
    )
    thumbnail = forms.BooleanField(initial=True, required=False, label="Keep its picture")
    metadata = forms.BooleanField(initial=True, required=False, label="Write title and date")
    chapters = forms.BooleanField(initial=True, required=False, label="Write chapters")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.errors:
            return data
        try:
            data["options"] = Options.of(
                {
                    **{name: data[name] for name in ("quality", "container", "sound")},
                    "subtitles": data["subtitles"],
                    "languages": data["languages"].replace(",", " ").split(),
                    "translate": data["translate"].replace(",", " ").split(),
                    **{name: data[name] for name in ("thumbnail", "metadata", "chapters")},
                }
            )
        except OptionsError as error:
            raise forms.ValidationError(str(error)) from None
        try:
            jobs.fits(data["options"])
        except OrderError as error:
            raise forms.ValidationError(str(error)) from None
        return data


class AddForm(OptionsForm):
    urls = forms.CharField(
        label="Addresses",
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 4, "placeholder": "https://…"}),
        help_text="One per line. For a playlist or channel, press “Look first” and choose.",
    )
    cap = forms.IntegerField(
        initial=50,
        min_value=1,
        max_value=preview.MAX_ENTRIES,
        label="Maximum videos of a list",
    )
    rights = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        label="Rights",
        help_text="Permission of the rights holder, and its end. Stored with the item.",
    )
    again = forms.BooleanField(
        required=False, label="Download even if the library has the video"
    )
    field_order = ("urls", "rights")


def order_of(request: HttpRequest, *, again: bool = False, rights: str = "") -> Order:
    user = cast("User", request.user)
    return Order(
        by=user.get_username(),
        owner=f"user:{user.pk}",
        any_site=user.has_perm(ANY_SITE),
        again=again,
        rights=rights,
    )


@require_http_methods(["GET", "POST"])
@staff(ADD)
def page(request: HttpRequest) -> HttpResponseBase:
    """The form, the inspection of the first address, and the order."""
    form = AddForm(request.POST or None)
    inspected: dict[str, Any] | None = None
    if request.method == "POST" and form.is_valid():
        try:
            if "look" in request.POST:
                inspected = _inspect(request, form)
            else:
                return _ordered(request, form)
        except (OrderError, BusyError) as refusal:
            form.add_error("urls", str(refusal))
        except GivenUpError as refusal:
            form.add_error("urls", refusal.why.sentence)
    if inspected is None and "listed" in request.POST and "look" not in request.POST:
        inspected = _listed_again(request)
    context = {
        **admin.site.each_context(request),
        "title": "Download",
        "form": form,
        "inspected": inspected,
        "length": formatting.length(inspected.get("seconds")) if inspected else "",
        "any_site": request.user.has_perm(ANY_SITE),
    }
    return TemplateResponse(request, "media_library/download.html", context)


def _inspect(request: HttpRequest, form: AddForm) -> dict[str, Any]:
    data = form.cleaned_data
    first = next((line for line in data["urls"].splitlines() if line.strip()), "")
    result = preview.inspect(first, cap=data["cap"], any_site=request.user.has_perm(ANY_SITE))
    entries = [
        entry | {"length": formatting.length(entry["seconds"])} for entry in result["entries"]
    ]
    listed = json.dumps([[entry["page"], entry["title"], entry["length"]] for entry in entries])
    for entry in entries:
        entry["ticked"] = True
    return result | {"entries": entries, "url": first.strip(), "listed": listed}


def _listed_again(request: HttpRequest) -> dict[str, Any] | None:
    """Returns the list with its ticks after an error; None if it can't be read."""
    listed, chosen = request.POST["listed"], set(request.POST.getlist("entry"))
    try:
        rows = list(json_of(listed))
        entries = [
            {"page": str(page), "title": str(title), "length": str(length)}
            | {"ticked": page in chosen}
            for page, title, length in rows[: preview.MAX_ENTRIES]
        ]
    except (TypeError, ValueError):
        return None
    title = request.POST.get("list_title", "")
    return {
        "title": title,
        "url": "",
        "playlist": True,
        "entries": entries,
        "listed": listed,
    }


def _ordered(request: HttpRequest, form: AddForm) -> HttpResponseBase:
    data = form.cleaned_data
    order = order_of(request, again=data["again"], rights=data["rights"])
    # Ticked videos of a list precede the addresses above.
    chosen = request.POST.getlist("entry")
    if not chosen and "list_title" in request.POST:
        raise OrderError("No video of the list is ticked: look first, and choose.")
    urls = chosen or data["urls"].splitlines()
    name = request.POST.get("list_title", "") if chosen else ""
    batch = jobs.add_many(urls, data["options"], order, name=name)
    count = batch.jobs.count()
    messages.success(request, f"{formatting.counted(count, 'download')} ordered.")
    return redirect(LIST)


# ---- progress --------------------------------------------------------------------------------


def under_way(job: str | None = None) -> list[dict[str, Any]]:
    """Returns the jobs that are not over, running ones first; or only the given one."""
    now = timezone.now()
    left_alone = dict(SitePause.objects.filter(until__gt=now).values_list("site", "until"))
    return [as_json(job_, now, left_alone.get(job_.site)) for job_ in _going(job)]


def _going(job: str | None) -> list[DownloadJob]:
    going = DownloadJob.objects.exclude(status__in=DownloadJob.OVER).select_related("batch")
    if job is not None:
        going = going.filter(pk=job if job.isdecimal() and len(job) < _DIGITS else 0)
    # Waiting jobs have no process.
    return list(going.order_by(F("session").asc(nulls_last=True), "due_at", "pk")[:MAX_SHOWN])


def _waits(job: DownloadJob, now: datetime, paused_until: datetime | None) -> str:
    """Returns why a queued job does not start."""
    until = max(filter(None, (job.due_at, paused_until)))
    if job.status != DownloadJob.Status.QUEUED or until <= now + timedelta(minutes=1):
        return ""
    when = f"{timezone.localtime(until):%-d %B, %H:%M}"
    if paused_until == until and not job.fault:
        return f"{job.site} gets no requests until {when}."
    return f"Next try: {when}."


def as_json(
    job: DownloadJob, now: datetime, paused_until: datetime | None = None
) -> dict[str, Any]:
    """Returns the data of a job for the page, including a pause of its site."""
    why = (job.note or job.fault, _waits(job, now, paused_until))
    return {
        "id": job.pk,
        "title": str(job),
        "site": job.site,
        "status": job.status,
        "label": job.get_status_display(),
        "percent": job.percent,
        # A merge has no progress: an indeterminate bar instead of one that stands still.
        "moving": job.status in {"extracting", "processing"},
        "note": " ".join(filter(None, why)),
        "speed": f"{formatting.size(job.speed)}/s" if job.speed else "",
        "left": formatting.length(job.seconds_left) if job.seconds_left is not None else "",
        "size": formatting.size(job.bytes_total) if job.bytes_total else "",
        "batch": job.batch.name if job.batch else "",
        "cancelling": job.cancel_requested and job.running,
        "over": job.over,
        "can_retry": job.status in {"failed", "cancelled"}
        or (job.status == "queued" and any(why)),
    }


@require_GET
@staff(VIEW)
def status(request: HttpRequest) -> HttpResponseBase:
    """Returns the running jobs, or one of them; an unchanged answer costs 304 and no body."""
    state = {"jobs": under_way(request.GET.get("job"))}
    body = json.dumps(state, cls=DjangoJSONEncoder, separators=(",", ":"))
    return unless_seen(request, body.encode(), "application/json")


@require_POST
@staff(CHANGE)
def cancel(request: HttpRequest, pk: int) -> HttpResponseBase:
    job = get_object_or_404(DownloadJob, pk=pk)
    if jobs.cancel(job):
        messages.success(request, f"{job} is cancelled.")
    else:
        messages.info(request, "It was over already.")
    return redirect(LIST)


@require_POST
@staff(CHANGE)
def retry(request: HttpRequest, pk: int) -> HttpResponseBase:
    job = get_object_or_404(DownloadJob, pk=pk)
    _try(request, lambda: jobs.retry(job, end_pause=True), f"{job} will be tried again.")
    return redirect(LIST)


@require_POST
@staff(CHANGE)
def cancel_batch(request: HttpRequest, pk: int) -> HttpResponseBase:
    batch = get_object_or_404(DownloadBatch, pk=pk)
    count = jobs.cancel_batch(batch)
    messages.success(request, f"{formatting.counted(count, 'download')} cancelled.")
    return redirect("admin:media_library_downloadbatch_change", pk)


def _try(request: HttpRequest, do: Callable[[], None], well: str) -> None:
    try:
        do()
    except OrderError as refusal:
        messages.warning(request, str(refusal))
    else:
        messages.success(request, well)
