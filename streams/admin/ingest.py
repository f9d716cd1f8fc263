"""Admin of broadcasters, their stream keys and streams."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display

from streams.admin.history import StillOpen
from streams.admin.own_channels import OwnChannels, OwnRelatedFilter
from streams.models import Broadcaster, LiveStream, StreamKey
from streams.monitoring import formatting
from streamsite.api.audit import ReadOnly, WithKeys
from streamsite.http.untrusted import number_or_none

_COLOURS = {
    StreamKey.State.ACTIVE.value: "success",
    StreamKey.State.IN_USE.value: "info",
    StreamKey.State.USED_UP.value: "warning",
    StreamKey.State.EXPIRED.value: "warning",
    StreamKey.State.REVOKED.value: "danger",
}
#: Verbose names, as on Django's deletion page, of the rows deleted with a broadcaster.
GOES_ALONG = {"stream key"}


def _is_live(broadcaster: Broadcaster) -> str:
    """Returns why the broadcaster can't be deleted now, or an empty text."""
    if broadcaster.streams.filter(ended_at=None).exists():
        return f"{broadcaster.name} is live. Revoke the key or disable the broadcaster first."
    return ""


@admin.register(Broadcaster)
class BroadcasterAdmin(OwnChannels, WithKeys, ModelAdmin):
    list_display = ("name", "path", "live", "keys_active", "enabled")
    list_filter = ("enabled",)
    search_fields = ("name", "slug")
    fields = ("name", "slug", "enabled", "note")
    prepopulated_fields = {"slug": ("name",)}  # noqa: RUF012 - the parent's type
    change_form_outer_before_template = "streams/broadcaster_before.html"

    @admin.display(description="Path")
    def path(self, broadcaster: Broadcaster) -> str:
        return broadcaster.path

    @admin.display(description="Live", boolean=True)
    def live(self, broadcaster: Broadcaster) -> bool:
        return bool(_is_live(broadcaster))

    @admin.display(description="Keys")
    def keys_active(self, broadcaster: Broadcaster) -> int:
        """Returns the number of keys that are not revoked."""
        return broadcaster.keys.filter(revoked_at=None).count()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponseBase:
        rows = (
            StreamKey.objects.filter(broadcaster=pk)
            if (pk := number_or_none(object_id)) is not None
            else ()
        )
        now = timezone.now()
        context = {
            "stream_keys": [{"row": row, "state": row.state(now)} for row in rows],
            **(extra_context or {}),
        }
        page: HttpResponseBase = super().change_view(request, object_id, form_url, context)
        return page

    def get_readonly_fields(self, request: HttpRequest, obj: Broadcaster | None = None) -> Any:
        # A live stream would continue at the old path.
        return ("slug",) if obj is not None and _is_live(obj) else ()

    def get_prepopulated_fields(
        self, request: HttpRequest, obj: Broadcaster | None = None
    ) -> Any:
        return {} if obj is not None else self.prepopulated_fields

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponseBase:
        broadcaster = self.get_object(request, object_id)
        if broadcaster is not None and (refusal := _is_live(broadcaster)):
            messages.error(request, refusal)
            return redirect(broadcaster)
        page: HttpResponseBase = super().delete_view(request, object_id, extra_context)
        return page

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """For the list's "delete selected": live broadcasters count as protected."""
        listed, counts, needed, protected = super().get_deleted_objects(objs, request)
        held = [refusal for one in objs if (refusal := _is_live(one))]
        return listed, counts, needed - GOES_ALONG, [*protected, *held]


@admin.register(StreamKey)
class StreamKeyAdmin(OwnChannels, ReadOnly, ModelAdmin):
    list_display = (
        *("shown", "broadcaster", "label", "condition", "expires_at", "single_use"),
        *("last_used_at", "last_address", "created_at", "created_by"),
    )
    list_filter = (("broadcaster", OwnRelatedFilter), "single_use")
    list_select_related = ("broadcaster",)
    search_fields = ("prefix", "label", "broadcaster__name")
    show_full_result_count = False
    exclude = ("digest",)

    @admin.display(description="Key", ordering="prefix")
    def shown(self, key: StreamKey) -> str:
        return f"{key.prefix}…"

    @display(description="State", label=_COLOURS)
    def condition(self, key: StreamKey) -> tuple[str, str]:
        state = key.state(timezone.now())
        return state.value, str(state.label)


@admin.register(LiveStream)
class LiveStreamAdmin(OwnChannels, ReadOnly, ModelAdmin):
    list_display = (
        "started_at",
        "path",
        "broadcaster",
        "length",
        "source_type",
        "address",
        "end",
    )
    list_filter = (("broadcaster", OwnRelatedFilter), StillOpen)
    list_select_related = ("broadcaster",)
    search_fields = ("path",)

    @admin.display(description="Length")
    def length(self, stream: LiveStream) -> str:
        return formatting.duration(stream.started_at, stream.ended_at)

    @admin.display(description="Ended", ordering="ended_at")
    def end(self, stream: LiveStream) -> SafeString | str:
        if stream.ended_at:
            return f"{timezone.localtime(stream.ended_at):%d %b %H:%M:%S}"
        return format_html('<a href="{}">Live now</a>', reverse("live-streams"))
