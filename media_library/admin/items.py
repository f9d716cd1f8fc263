"""Admin of the items: a list that stays fast with a million rows, and all data of each item."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from media_library import formatting
from media_library.admin import bulk
from media_library.admin.filters import FILTERS
from media_library.admin.listing import LongChangeList, LongPaginator
from media_library.jobs import enqueue
from media_library.models import MediaItem, Playlist, PreparedCopy
from media_library.search import listing
from media_library.views.csp import allow_storage
from streamsite.api.audit import WithKeys

#: Columns written by people; workers write the others at the same time.
PEOPLES: Final = ("title", "age_rating", "source", "rights")
#: Properties of the file.
FACTS: Final = (
    *("size", "duration", "picture", "colour", "sound", "loudness", "keyframes", "index"),
    *("etag", "added_at", "probed_at", "missing_since"),
)
#: The theme displays "None" as a missing value.
_NO_AUDIO: Final = "No audio"
#: Rows about an item written by workers, by the names on Django's page of deletion. They are
#: deleted with the item; nobody may delete them separately.
GOES_ALONG: Final = {"upcoming problem"}
_NO_THUMB: Final = SafeString('<span class="lib-thumb"></span>')


@admin.register(MediaItem)
class MediaItemAdmin(WithKeys, ModelAdmin):
    list_display = (*("thumbnail", "named", "state", "duration", "picture", "rating", "added"),)
    list_display_links = ("named",)
    list_filter = FILTERS
    ordering = ("-added_at", "-pk")
    #: A row takes over a millisecond to draw, and a phone shows two at a time.
    list_per_page = 30
    list_before_template = "media_library/list_before.html"
    paginator = LongPaginator
    show_full_result_count = False
    search_fields = ("title", "key")
    search_help_text = "Words of the title or of the file's name"
    autocomplete_fields = ("tags",)
    readonly_fields = FACTS
    empty_value_display = formatting.NOTHING
    actions = bulk.ACTIONS
    change_form_outer_before_template = "media_library/item_before.html"
    change_form_outer_after_template = "media_library/item_after.html"
    fieldsets = (
        (None, {"fields": ("title", "key", "tags", "age_rating", "source", "rights")}),
        ("Properties", {"fields": FACTS}),
    )
    add_fieldsets = ((None, {"fields": ("title", "key")}),)

    # ---- the list ----------------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponseBase:
        page: HttpResponseBase = super().changelist_view(request, extra_context)
        return allow_storage(page)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LongChangeList]:
        return LongChangeList

    def get_changelist_instance(self, request: HttpRequest) -> LongChangeList:
        """Returns the list, each row with the copy that is being made of it."""
        listed: LongChangeList = super().get_changelist_instance(request)
        at_work: dict[int, PreparedCopy] = {}
        if isinstance(listed.result_list, list):
            running = PreparedCopy.objects.filter(
                item__in=[item.pk for item in listed.result_list],
                status=PreparedCopy.Status.RUNNING,
            )
            at_work = {copy.item_id: copy for copy in running}
        now = timezone.now()
        for item in listed.result_list:
            copy = at_work.get(item.pk)
            item.at_work = copy
            item.left = copy and formatting.left(copy.percent, copy.claimed_at, now)
        parent = (request.GET.get("folder") or "").strip("/")
        listed.folder_path = parent
        names, listed.more_folders = listing.folders(f"{parent}/" if parent else "")
        listed.folders = [(name, f"{parent}/{name}" if parent else name) for name in names]
        return listed

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MediaItem], search_term: str
    ) -> tuple[QuerySet[MediaItem], bool]:
        return listing.searched(queryset, search_term), False

    def get_actions(self, request: HttpRequest) -> Any:
        available = super().get_actions(request)
        if not request.user.has_perm("media_library.change_playlist"):
            available.pop("to_playlist", None)
        return available

    @admin.display(description="")
    def thumbnail(self, item: MediaItem) -> SafeString:
        # Not by a template: fifty of them would take a third of the page's time.
        if not item.thumbnails:
            return _NO_THUMB
        return format_html(
            '<span class="lib-thumb"><img src="{}" alt="" loading="lazy"></span>',
            f"/api/v1/media/{item.pk}/thumb.jpg",
        )

    @admin.display(description="Title", ordering="title")
    def named(self, item: MediaItem) -> SafeString:
        folder, slash, _ = item.key.rpartition("/")
        return format_html(
            '<span class="lib-title">{}</span><span class="lib-key">{}</span>',
            item.title,
            folder + slash,
        )

    @admin.display(description="Status")
    def state(self, item: Any) -> SafeString:
        if item.at_work is None:
            return format_html(
                '<span class="lib-state" data-status="{}"><b>{}</b>{}</span>',
                item.status,
                item.get_status_display(),
                item.fault and format_html('<small class="lib-fault">{}</small>', item.fault),
            )
        return SafeString(render_to_string("media_library/state.html", {"item": item}))

    @admin.display(description="Length", ordering="duration_seconds")
    def duration(self, item: MediaItem) -> str:
        return formatting.length(item.duration_seconds)

    @admin.display(description="Age")
    def rating(self, item: MediaItem) -> str:
        return formatting.NOTHING if item.age_rating is None else f"{item.age_rating}+"

    @admin.display(description="Added", ordering="added_at")
    def added(self, item: MediaItem) -> str:
        return f"{timezone.localtime(item.added_at):%d %b %Y %H:%M}"

    # ---- the item's page ---------------------------------------------------------------------

    @admin.display(description="Size")
    def size(self, item: MediaItem) -> str:
        return formatting.size(item.size_bytes)

    @admin.display(description="Picture")
    def picture(self, item: MediaItem) -> str:
        if not item.width:
            return formatting.NOTHING
        parts = (
            f"{item.width}×{item.height}",
            item.fps and f"{float(Fraction(item.fps)):.4g} fps",
            item.video_codec,
        )
        return ", ".join(part for part in parts if part)

    @admin.display(description="Sound")
    def sound(self, item: MediaItem) -> str:
        if not item.audio_codec:
            return formatting.NOTHING if item.probed_at is None else _NO_AUDIO
        rate = f", {item.sample_rate / 1000:g} kHz" if item.sample_rate else ""
        count = f", {formatting.counted(item.channels, 'channel')}" if item.channels else ""
        return f"{item.audio_codec}{rate}{count}"

    @admin.display(description="Loudness")
    def loudness(self, item: MediaItem) -> str:
        level = item.loudness_lufs
        if item.probed_at is not None and not item.audio_codec:
            return _NO_AUDIO
        return formatting.NOTHING if level is None else f"about {level:.1f} LUFS"

    @admin.display(description="Between keyframes")
    def keyframes(self, item: MediaItem) -> str:
        most = item.keyframe_seconds
        return formatting.NOTHING if most is None else f"at most {most:.1f} s"

    def get_fieldsets(self, request: HttpRequest, obj: MediaItem | None = None) -> Any:
        if obj is None:
            return self.add_fieldsets
        if obj.missing_since is not None:
            return self.fieldsets
        facts = tuple(name for name in FACTS if name != "missing_since")
        return (*self.fieldsets[:-1], ("Properties", {"fields": facts}))

    def get_readonly_fields(self, request: HttpRequest, obj: MediaItem | None = None) -> Any:
        return () if obj is None else ("key", *self.readonly_fields)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponseBase:
        item = self.get_object(request, object_id)
        context = {**(extra_context or {}), **(_surroundings(item) if item else {})}
        page: HttpResponseBase = super().change_view(request, object_id, form_url, context)
        return allow_storage(page)

    def save_model(self, request: HttpRequest, obj: MediaItem, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=[name for name in PEOPLES if name in form.cleaned_data])
            return
        obj.save()
        transaction.on_commit(enqueue.probe)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        listed, counts, needed, protected = super().get_deleted_objects(objs, request)
        return listed, counts, needed - GOES_ALONG, protected

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponseBase:
        item = self.get_object(request, object_id)
        if item is not None and request.method == "GET":
            bulk.warn_of_deletion(request, [item.pk])
        page: HttpResponseBase = super().delete_view(request, object_id, extra_context)
        return page


def _surroundings(item: MediaItem) -> dict[str, object]:
    """Returns the data that the item's page shows below its form."""
    now = timezone.now()
    copies: list[Any] = list(item.copies.order_by("pk"))
    for copy in copies:
        copy.left = formatting.left(copy.percent, copy.claimed_at, now)
    return {
        "copies": copies,
        "faulty": item.status == MediaItem.Status.FAULT
        or any(copy.status in {"fault", "cancelled"} for copy in copies),
        "playlists": list(Playlist.objects.filter(entries__item=item).distinct()[:50]),
    }
