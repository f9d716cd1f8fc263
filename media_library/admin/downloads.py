"""Admin of downloads: the list with running ones above it, batches, and cookies of sites."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from media_library import formatting
from media_library.downloads import cookies
from media_library.downloads.options import Options, Subtitles
from media_library.models import DownloadBatch, DownloadJob, SiteCookies
from streamsite.api.audit import ReadOnly, WithKeys

_COLOURS = {
    "queued": "default",
    **{status.value: "info" for status in DownloadJob.RUNNING},
    "done": "success",
    "failed": "danger",
    "cancelled": "warning",
}


def _may_order(request: HttpRequest) -> bool:
    may: bool = request.user.has_perm("media_library.change_downloadjob")
    return may


def _in_words(options: Options) -> str:
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


@admin.register(DownloadJob)
class DownloadJobAdmin(ReadOnly, WithKeys, ModelAdmin):
    list_display = ("named", "state", "site", "size", "requested_by", "made_at")
    list_filter = ("status", "code", "site")
    search_fields = ("title", "url")
    list_per_page = 30
    list_select_related = ("batch", "item")
    empty_value_display = formatting.NOTHING
    list_before_template = "media_library/downloads_before.html"
    change_form_outer_before_template = "media_library/download_job_before.html"
    fields = (
        *(
            "shown_url",
            "shown_page",
            "became",
            "note",
            "fault",
            "warned",
            "percent",
            "got",
            "size",
        ),
        *("item_link", "kept", "extractor", "video_id", "uploader", "licence", "rights"),
        *("batch", "schedule", "requested_by", "made_at", "started_at", "ended_at", "attempts"),
        *("tool_version", "options_text"),
    )
    readonly_fields = (
        "shown_url",
        "shown_page",
        "became",
        "warned",
        "size",
        "item_link",
        "kept",
        "options_text",
    )

    def get_fields(self, request: HttpRequest, obj: DownloadJob | None = None) -> Any:
        """Returns the fields with a value: most jobs have neither warnings nor a licence."""
        names = [name for name in self.fields if obj is None or self._has_value(obj, name)]
        # Complete addresses only for users who may retry.
        whole = {"shown_url": "url", "shown_page": "page"} if _may_order(request) else {}
        return [whole.get(name, name) for name in names]

    def get_search_fields(self, request: HttpRequest) -> Any:
        # A searchable text can be found out letter by letter.
        return self.search_fields if _may_order(request) else ("title",)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        if lookup.partition("__")[0] in {"url", "page"} and not _may_order(request):
            return False
        allowed: bool = super().lookup_allowed(lookup, value, request)
        return allowed

    @admin.display(description="Address")
    def shown_url(self, job: DownloadJob) -> str:
        return job.shown_url

    @admin.display(description="Page")
    def shown_page(self, job: DownloadJob) -> str:
        return job.shown_page

    def _has_value(self, job: DownloadJob, name: str) -> bool:
        if name == "shown_page" and job.page == job.url:
            return False
        value = getattr(self, name)(job) if name in self.readonly_fields else getattr(job, name)
        return bool(value) and value != formatting.NOTHING

    @admin.display(description="Options")
    def options_text(self, job: DownloadJob) -> str:
        return _in_words(Options.of(job.options))

    @admin.display(description="Video", ordering="title")
    def named(self, job: DownloadJob) -> SafeString:
        # An untitled video is listed by its address; and people look for the fault.
        lines = (job.shown_url if job.title else "", job.fault)
        more = format_html_join(
            "", '<span class="lib-key">{}</span>', ((line,) for line in lines if line)
        )
        return format_html('<span class="lib-title">{}</span>{}', job, more)

    @display(description="State", ordering="status", label=_COLOURS)
    def state(self, job: DownloadJob) -> tuple[str, str]:
        return job.status, self.became(job)

    @admin.display(description="State")
    def became(self, job: DownloadJob) -> str:
        label = str(job.get_status_display())
        return f"{label} (existed)" if job.duplicate else label

    @admin.display(description="Size", ordering="size_bytes")
    def size(self, job: DownloadJob) -> str:
        return formatting.size(job.size_bytes)

    @admin.display(description="Item")
    def item_link(self, job: DownloadJob) -> SafeString | str:
        if job.item is None:
            return formatting.NOTHING
        url = reverse("admin:media_library_mediaitem_change", args=[job.item.pk])
        return format_html('<a class="dl-to" href="{}">{}</a>', url, job.item)

    @admin.display(description="In the storage")
    def kept(self, job: DownloadJob) -> SafeString | str:
        names = [(job.key,), *((extra["key"],) for extra in job.extras)]
        if not job.key:
            return formatting.NOTHING
        return format_html(
            '<ul class="lib-problems">{}</ul>', format_html_join("", "<li>{}</li>", names)
        )

    @admin.display(description="Warnings")
    def warned(self, job: DownloadJob) -> SafeString | str:
        lines = format_html_join("", "<li>{}</li>", ((warning,) for warning in job.warnings))
        if not lines:
            return formatting.NOTHING
        return format_html('<ul class="lib-problems">{}</ul>', lines)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        allowed: bool = ModelAdmin.has_delete_permission(self, request, obj)
        # A running job is cancelled first: its worker would lose the row.
        return allowed and not (isinstance(obj, DownloadJob) and not obj.over)


@admin.register(DownloadBatch)
class DownloadBatchAdmin(ReadOnly, ModelAdmin):
    list_display = ("name", "progress", "made_by", "made_at")
    fields = ("name", "made_by", "made_at", "progress", "videos")
    readonly_fields = ("progress", "videos")
    change_form_outer_before_template = "media_library/download_batch_before.html"

    @admin.display(description="Over")
    def progress(self, batch: DownloadBatch) -> str:
        count = batch.jobs.count()
        return f"{count - batch.left:,} of {count:,}"

    @admin.display(description="Videos")
    def videos(self, batch: DownloadBatch) -> SafeString:
        rows = (
            (
                reverse("admin:media_library_downloadjob_change", args=[job.pk]),
                job,
                str(job.get_status_display()).lower(),
                f" {job.fault}" if job.fault else "",
            )
            for job in batch.jobs.order_by("pk")
        )
        lines = format_html_join("", '<li><a class="dl-to" href="{}">{}</a>: {}.{}</li>', rows)
        return format_html('<ul class="lib-problems">{}</ul>', lines)


class SiteCookiesForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The form never shows the cookies: an empty field keeps them."""

    new = forms.CharField(
        label="Cookies",
        required=False,
        max_length=1_000_000,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6, "autocomplete": "off"}),
        help_text="As exported by a browser's add-on (Netscape's cookies.txt). Use an account "
        "made for this: sites close accounts that download much. Empty: unchanged.",
    )

    class Meta:
        model = SiteCookies
        fields = ("domain",)

    def clean_domain(self) -> str:
        return str(self.cleaned_data["domain"]).strip().lower().lstrip(".")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        new, domain = data.get("new", ""), data.get("domain", "")
        if not new and not self.instance.pk:
            self.add_error("new", "Paste the site's cookies here.")
        if new and domain:
            try:
                data["new"] = cookies.checked(new, domain)
            except cookies.CookiesError as error:
                self.add_error("new", str(error))
        return data


@admin.register(SiteCookies)
class SiteCookiesAdmin(WithKeys, ModelAdmin):
    form = SiteCookiesForm
    list_display = ("domain", "set_at", "used_at")
    fields = ("domain", "new", "set_at", "used_at")
    readonly_fields = ("set_at", "used_at")
    empty_value_display = formatting.NOTHING

    def get_fields(self, request: HttpRequest, obj: SiteCookies | None = None) -> Any:
        return self.fields if obj is not None else ("domain", "new")

    def save_model(
        self, request: HttpRequest, obj: SiteCookies, form: Any, change: bool
    ) -> None:
        changed: dict[str, Any] = {"domain": obj.domain}
        if form.cleaned_data["new"]:
            obj.text = form.cleaned_data["new"]
            obj.set_at = timezone.now()
            changed |= {"text": obj.text, "set_at": obj.set_at}
        if not change:
            obj.save(force_insert=True)
            return
        # A worker writes the site's changes into the same row.
        SiteCookies.objects.filter(pk=obj.pk).update(**changed)
