"""Downloads from the web: ordered, previewed and watched here."""

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
#: May name addresses of sites that yt-dlp does not know.
ANY_SITE: Final = "media_library.download_from_any_site"
#: Jobs that the page shows at once.
SHOWN: Final = 40
#: 2^63 has so many digits.
_DIGITS: Final = 19
LIST: Final = "admin:media_library_downloadjob_changelist"

_QUALITIES: Final = [
    (each.value, f"{each.value}p" if each else "The best there is") for each in Quality
]
_SUBTITLES: Final = [
    (Subtitles.NONE.value, "None"),
    (Subtitles.MANUAL.value, "Those that people made"),
    (Subtitles.AUTOMATIC.value, "Automatic ones where people made none"),
]


def in_words(wanted: Options) -> str:
    """What was asked for, in a line."""
    parts = [f"{wanted.quality.value}p at most" if wanted.quality else "the best there is"]
    parts.append(f"{wanted.sound} alone" if wanted.sound else wanted.container.upper())
    if wanted.subtitles is not Subtitles.NONE:
        parts.append(f"{wanted.subtitles} subtitles in {', '.join(wanted.languages)}")
    if wanted.translate:
        parts.append(f"translated into {', '.join(wanted.translate)}")
    beside = ("picture", "metadata", "chapters")
    chosen = (wanted.thumbnail, wanted.metadata, wanted.chapters)
    parts += [name for name, given in zip(beside, chosen, strict=True) if given]
    return ", ".join(parts)


class OptionsForm(forms.Form):
    """What is wanted of each video."""

    quality = forms.TypedChoiceField(
        choices=_QUALITIES, coerce=int, initial=Quality.BEST.value, label="Quality"
    )
    container = forms.ChoiceField(
        choices=[
            (Container.MP4.value, "MP4 (least work to prepare)"),
            (Container.MKV.value, "MKV"),
            (Container.WEBM.value, "WebM"),
        ],
        label="Form",
    )
    sound = forms.ChoiceField(
        choices=[("", "The whole film"), *((each.value, each.value) for each in Sound if each)],
        required=False,
        label="Sound alone",
    )
    subtitles = forms.ChoiceField(choices=_SUBTITLES, label="Subtitles")
    languages = forms.CharField(
        initial="en", required=False, max_length=100, help_text="Such as: en, pt-BR, zh-Hans"
    )
    translate = forms.CharField(
        label="Translate the subtitles into",
        required=False,
        max_length=100,
        help_text="Such as: de, fr. By a machine, beside those that came.",
    )
    thumbnail = forms.BooleanField(initial=True, required=False, label="Picture beside it")
    metadata = forms.BooleanField(initial=True, required=False, label="Title and date in it")
    chapters = forms.BooleanField(initial=True, required=False, label="Chapters in it")

    def clean(self) -> dict[str, Any]:
        told = super().clean() or {}
        if self.errors:
            return told
        try:
            told["options"] = Options.of(
                {
                    **{name: told[name] for name in ("quality", "container", "sound")},
                    "subtitles": told["subtitles"],
                    "languages": told["languages"].replace(",", " ").split(),
                    "translate": told["translate"].replace(",", " ").split(),
                    **{name: told[name] for name in ("thumbnail", "metadata", "chapters")},
                }
            )
        except OptionsError as error:
            raise forms.ValidationError(str(error)) from None
        try:
            jobs.fits(told["options"])
        except OrderError as error:
            raise forms.ValidationError(str(error)) from None
        return told


class AddForm(OptionsForm):
    urls = forms.CharField(
        label="Addresses",
        max_length=200_000,
        widget=forms.Textarea(attrs={"rows": 4, "placeholder": "https://…"}),
        help_text="One a line. Of a playlist or channel, look first: then choose.",
    )
    cap = forms.IntegerField(
        initial=50,
        min_value=1,
        max_value=preview.MOST_ENTRIES,
        label="Videos of a list that are looked at",
    )
    rights = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        label="Rights",
        help_text="Who allows it to be shown, until when. It is kept with the item.",
    )
    again = forms.BooleanField(
        required=False, label="Download even what the library has already"
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
    """The form; a look at the first address; and the order itself."""
    form = AddForm(request.POST or None)
    looked: dict[str, Any] | None = None
    if request.method == "POST" and form.is_valid():
        try:
            if "look" in request.POST:
                looked = _look(request, form)
            else:
                return _ordered(request, form)
        except (OrderError, BusyError) as refusal:
            form.add_error("urls", str(refusal))
        except GivenUpError as refusal:
            form.add_error("urls", refusal.why.sentence)
    if looked is None and "listed" in request.POST and "look" not in request.POST:
        looked = _listed_again(request)
    context = {
        **admin.site.each_context(request),
        "title": "Download",
        "form": form,
        "looked": looked,
        "length": formatting.length(looked.get("seconds")) if looked else "",
        "any_site": request.user.has_perm(ANY_SITE),
    }
    return TemplateResponse(request, "media_library/download.html", context)


def _look(request: HttpRequest, form: AddForm) -> dict[str, Any]:
    told = form.cleaned_data
    first = next((line for line in told["urls"].splitlines() if line.strip()), "")
    found = preview.look(first, cap=told["cap"], any_site=request.user.has_perm(ANY_SITE))
    entries = [
        each | {"length": formatting.length(each["seconds"])} for each in found["entries"]
    ]
    listed = json.dumps([[each["page"], each["title"], each["length"]] for each in entries])
    for each in entries:
        each["ticked"] = True
    return found | {"entries": entries, "url": first.strip(), "listed": listed}


def _listed_again(request: HttpRequest) -> dict[str, Any] | None:
    """The list with its ticks, as it was before a fault; None where it can't be read."""
    listed, chosen = request.POST["listed"], set(request.POST.getlist("entry"))
    try:
        rows = list(json_of(listed))
        entries = [
            {"page": str(page), "title": str(title), "length": str(length)}
            | {"ticked": page in chosen}
            for page, title, length in rows[: preview.MOST_ENTRIES]
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
    told = form.cleaned_data
    order = order_of(request, again=told["again"], rights=told["rights"])
    # What was ticked in a list that was looked at goes before the addresses above.
    chosen = request.POST.getlist("entry")
    if not chosen and "list_title" in request.POST:
        raise OrderError("Nothing of the list was ticked: look again, and choose.")
    urls = chosen or told["urls"].splitlines()
    name = request.POST.get("list_title", "") if chosen else ""
    batch = jobs.add_many(urls, told["options"], order, name=name)
    count = batch.jobs.count()
    messages.success(request, f"{formatting.counted(count, 'download')} ordered.")
    return redirect(LIST)


# ---- watched ---------------------------------------------------------------------------------


def under_way(job: str | None = None) -> list[dict[str, Any]]:
    """All that is not over, the running ones first; or the one with that number alone."""
    now = timezone.now()
    left_alone = dict(SitePause.objects.filter(until__gt=now).values_list("site", "until"))
    return [told(each, now, left_alone.get(each.site)) for each in _going(job)]


def _going(job: str | None) -> list[DownloadJob]:
    going = DownloadJob.objects.exclude(status__in=DownloadJob.OVER).select_related("batch")
    if job is not None:
        going = going.filter(pk=job if job.isdecimal() and len(job) < _DIGITS else 0)
    # Those that wait have no process.
    return list(going.order_by(F("session").asc(nulls_last=True), "due_at", "pk")[:SHOWN])


def _waits(job: DownloadJob, now: datetime, left_alone_until: datetime | None) -> str:
    """Why one that is queued is not begun."""
    until = max(filter(None, (job.due_at, left_alone_until)))
    if job.status != DownloadJob.Status.QUEUED or until <= now + timedelta(minutes=1):
        return ""
    when = f"{timezone.localtime(until):%-d %B, %H:%M}"
    if left_alone_until == until and not job.fault:
        return f"{job.site} wants to be left alone until {when}."
    return f"Next try: {when}."


def told(
    job: DownloadJob, now: datetime, left_alone_until: datetime | None = None
) -> dict[str, Any]:
    """What the page shows of a job; its site may have to be left alone for a while."""
    why = (job.note or job.fault, _waits(job, now, left_alone_until))
    return {
        "id": job.pk,
        "title": str(job),
        "site": job.site,
        "status": job.status,
        "label": job.get_status_display(),
        "percent": job.percent,
        # A merge tells no progress: a bar without an end, instead of one that stands still.
        "moving": job.status in {"extracting", "processing"},
        "note": " ".join(filter(None, why)),
        "speed": f"{formatting.size(job.speed)}/s" if job.speed else "",
        "left": formatting.length(job.seconds_left) if job.seconds_left is not None else "",
        "size": formatting.size(job.bytes_total) if job.bytes_total else "",
        "batch": job.batch.name if job.batch else "",
        "cancelling": job.cancel_asked and job.running,
        "over": job.over,
        "can_retry": job.status in {"failed", "cancelled"}
        or (job.status == "queued" and any(why)),
    }


@require_GET
@staff(VIEW)
def status(request: HttpRequest) -> HttpResponseBase:
    """What is under way, or one job of it; the same answer costs 304 and no bytes."""
    found = {"jobs": under_way(request.GET.get("job"))}
    body = json.dumps(found, cls=DjangoJSONEncoder, separators=(",", ":"))
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
    _try(request, lambda: jobs.retry(job, lift=True), f"{job} is tried again.")
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
