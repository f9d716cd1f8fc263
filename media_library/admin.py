"""The library in the admin: items, their prepared copies, playlists."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest
from django_q.tasks import async_task
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from media_library.actions import request_prepare
from media_library.house import House
from media_library.models import MediaItem, Playlist, PlaylistEntry, PreparedCopy

_COLOURS = {"new": "info", "probed": "info", "preparing": "warning", "ready": "success"}
_COLOURS |= {"fault": "danger"}


def length(seconds: float | None) -> str:
    """Seconds as 4:05 or 3:04:05."""
    if seconds is None:
        return "–"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _houses(item: MediaItem) -> Iterable[House]:
    """The formats in which channels play the item; the usual one where none does yet."""
    playlists = Playlist.objects.filter(entries__item=item).distinct()
    houses = {channel.house for playlist in playlists for channel in playlist.channels.all()}
    return houses or {House()}


class PreparedCopyInline(TabularInline):  # type: ignore[misc]
    model = PreparedCopy
    fields = ("house", "status", "percent", "frames", "made_at", "fault")
    readonly_fields = fields
    extra = 0

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(MediaItem)
class MediaItemAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = (
        "title",
        "status_label",
        "duration",
        "picture",
        "sound",
        "fault",
        "added_at",
    )
    list_filter = ("status",)
    search_fields = ("title", "key")
    inlines = (PreparedCopyInline,)
    actions = ("prepare", "look_again")
    # What the file is was read from it; people give it a name.
    readonly_fields = (
        "status",
        "fault",
        "size_bytes",
        "duration",
        "picture",
        "sound",
        "added_at",
        "probed_at",
    )
    fieldsets = (
        (None, {"fields": ("title", "key")}),
        ("What it is", {"fields": readonly_fields}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: MediaItem | None = None) -> Any:
        return self.readonly_fields if obj is None else ("key", *self.readonly_fields)

    def get_inlines(self, request: HttpRequest, obj: MediaItem | None) -> Any:
        return () if obj is None else self.inlines

    def get_fieldsets(self, request: HttpRequest, obj: MediaItem | None = None) -> Any:
        return self.fieldsets[:1] if obj is None else self.fieldsets

    @display(  # type: ignore[untyped-decorator]
        description="Status", ordering="status", label=_COLOURS
    )
    def status_label(self, item: MediaItem) -> tuple[str, str]:
        return item.status, item.get_status_display()

    @admin.display(description="Length", ordering="duration_seconds")
    def duration(self, item: MediaItem) -> str:
        return length(item.duration_seconds)

    @admin.display(description="Picture")
    def picture(self, item: MediaItem) -> str:
        if not item.width:
            return "–"
        parts = (
            f"{item.width}×{item.height}",
            item.fps and f"{item.fps} fps",
            item.video_codec,
        )
        return ", ".join(part for part in parts if part)

    @admin.display(description="Sound")
    def sound(self, item: MediaItem) -> str:
        rate = f", {item.sample_rate / 1000:g} kHz" if item.sample_rate else ""
        return f"{item.audio_codec}{rate}" if item.audio_codec else "–"

    def save_model(self, request: HttpRequest, obj: MediaItem, form: Any, change: bool) -> None:
        # Only what the form holds: jobs write the rest of the row at the same time.
        obj.save(update_fields=list(form.cleaned_data) if change else None)
        if not change:
            _look_into([obj])

    @action(  # type: ignore[untyped-decorator]
        description="Prepare for the channels that play it", permissions=["change"]
    )
    def prepare(self, request: HttpRequest, items: QuerySet[MediaItem]) -> None:
        ready = [item for item in items if item.status != MediaItem.Status.FAULT]
        for item in ready:
            for house in _houses(item):
                request_prepare(item, house, again=True)
        messages.success(request, f"{len(ready)} of {len(items)} items are queued.")

    @action(  # type: ignore[untyped-decorator]
        description="Look into the file again", permissions=["change"]
    )
    def look_again(self, request: HttpRequest, items: QuerySet[MediaItem]) -> None:
        _look_into(items)
        messages.success(request, f"{len(items)} files will be looked into.")


def _look_into(items: Iterable[MediaItem]) -> None:
    for item in items:
        transaction.on_commit(partial(async_task, "media_library.tasks.probe_item", item.pk))


class PlaylistEntryInline(TabularInline):  # type: ignore[misc]
    model = PlaylistEntry
    fields = ("position", "item", "duration")
    readonly_fields = ("duration",)
    autocomplete_fields = ("item",)
    ordering_field = "position"
    hide_ordering_field = False
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlaylistEntry]:
        entries: QuerySet[PlaylistEntry] = super().get_queryset(request)
        return entries.select_related("item")

    @admin.display(description="Length")
    def duration(self, entry: PlaylistEntry) -> str:
        return length(entry.item.duration_seconds) if entry.pk else "–"


@admin.register(Playlist)
class PlaylistAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ("name", "count", "total")
    search_fields = ("name",)
    fields = ("name", "total")
    readonly_fields = ("total",)
    inlines = (PlaylistEntryInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Playlist]:
        playlists: QuerySet[Playlist] = super().get_queryset(request)
        return playlists.annotate(
            entry_count=Count("entries"),
            unmeasured=Count("entries", filter=Q(entries__item__duration_seconds=None)),
            seconds=Sum("entries__item__duration_seconds"),
        )

    @admin.display(description="Items", ordering="entry_count")
    def count(self, playlist: Any) -> int:
        return int(playlist.entry_count)

    @admin.display(description="Total length", ordering="seconds")
    def total(self, playlist: Any) -> str:
        if playlist.pk is None:
            return "–"
        unmeasured = (
            f" and {playlist.unmeasured} of unknown length" if playlist.unmeasured else ""
        )
        return length(playlist.seconds or 0) + unmeasured
