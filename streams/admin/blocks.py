"""Admin of blocks, which replace the base playlist at certain times."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from unfold.admin import ModelAdmin

from streams.admin.forms import BlockForm
from streams.admin.own_channels import OwnChannels, OwnRelatedFilter
from streams.models import Block
from streams.models.programme import WEEKDAYS, clock
from streams.wake import wake_supervisor
from streamsite.api.audit import WithKeys


class OnWeekday(admin.SimpleListFilter):
    title = "weekday"
    parameter_name = "weekday"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(day), name) for day, name in enumerate(WEEKDAYS)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Block]) -> QuerySet[Block]:
        if self.value() not in {str(day) for day in range(7)}:
            return queryset
        bit = 1 << int(self.value() or 0)
        return queryset.annotate(on_it=F("days").bitand(bit)).filter(on_it=bit)


@admin.register(Block)
class BlockAdmin(OwnChannels, WithKeys, ModelAdmin):
    form = BlockForm
    list_display = (
        "name",
        "channel",
        "when",
        "dates",
        "playlist",
        "priority",
        "start",
        "fit",
        "enabled",
        "calendar",
    )
    list_filter = (("channel", OwnRelatedFilter), OnWeekday, "start", "fit", "enabled")
    list_select_related = ("channel", "playlist")
    search_fields = ("name", "channel__name", "playlist__name")
    autocomplete_fields = ("channel", "playlist")
    list_before_template = "streams/blocks_before.html"
    change_form_outer_before_template = "streams/block_before.html"
    change_form_before_template = "streams/seen.html"
    fieldsets: ClassVar = (
        (None, {"fields": ("channel", "name", "playlist", "order", "enabled")}),
        (
            "When",
            {
                "fields": ("days", ("starts", "ends"), ("first_day", "last_day")),
                "description": "In the channel's time zone.",
            },
        ),
        (
            "How",
            {"fields": (("start", "fit"), ("priority", "max_rating"))},
        ),
    )

    # ---- columns -----------------------------------------------------------------------------

    @admin.display(description="When", ordering="starts")
    def when(self, block: Block) -> SafeString:
        return format_html(
            "{}<br>{}",
            capfirst(block.days_in_words),
            block.times_in_words,
        )

    @admin.display(description="Dates", ordering="first_day")
    def dates(self, block: Block) -> str:
        return block.dates_in_words or "–"

    @admin.display(description="Calendar")
    def calendar(self, block: Block) -> SafeString:
        return format_html(
            '<a class="sx-watch" href="{}">Show</a>',
            reverse("calendar", args=[block.channel.slug]),
        )

    # ---- writing -----------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Block, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.starts == obj.ends:
            messages.warning(
                request,
                f"“{obj.name}” is on for 24 hours, from {clock(obj.starts)} to the same time "
                "of the next day.",
            )
        transaction.on_commit(wake_supervisor)

    def delete_model(self, request: HttpRequest, obj: Block) -> None:
        super().delete_model(request, obj)
        transaction.on_commit(wake_supervisor)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Block]) -> None:
        super().delete_queryset(request, queryset)
        transaction.on_commit(wake_supervisor)

    # ---- after saving: back to the calendar if the form was opened from it

    def response_post_save_add(self, request: HttpRequest, obj: Block) -> HttpResponseBase:
        page: HttpResponseBase = super().response_post_save_add(request, obj)
        return _back(request, obj) or page

    def response_post_save_change(self, request: HttpRequest, obj: Block) -> HttpResponseBase:
        page: HttpResponseBase = super().response_post_save_change(request, obj)
        return _back(request, obj) or page


def _back(request: HttpRequest, block: Block) -> HttpResponseBase | None:
    if "calendar" not in request.GET:
        return None
    page = reverse("calendar", args=[block.channel.slug])
    return redirect(f"{page}?{urlencode({'week': request.GET['calendar']})}")
