"""Admin of channels and outputs."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, StackedInline, TabularInline

from media_library.views.csp import allow_storage
from streams.admin.forms import ChannelForm, HoursForm, OutputForm
from streams.admin.own_channels import OwnChannels
from streams.control.on_air_schedule import outlooks, overrun
from streams.models import (
    Channel,
    OnAirHours,
    Output,
    PlatformAccount,
    TakeoverRight,
    visible,
)
from streams.monitoring.preflight import unverified
from streams.monitoring.report import report
from streams.templatetags.monitor import buttons
from streams.wake import wake_supervisor
from streamsite.api.audit import WithKeys
from streamsite.security.secret import Unreadable

#: Changing these fields while the channel is on air would break its stream.
HOUSE_FIELDS = ("width", "height", "fps", "video_bitrate", "audio_bitrate")
#: The id of the form on the list's page to which its buttons belong.
ORDER_FORM = "sx-order-form"
#: Verbose names, as on Django's deletion page, of the rows deleted with a channel.
HISTORY = {
    "run",
    "as-run entry",
    "incident",
    "alert message",
    "sample",
    "thinned sample",
    "log line",
    "channel state",
    "output state",
    "upcoming problem",
    "takeover",
    "drill",
}


def _on_air(channel: Channel) -> str:
    """Returns why the channel can't be deleted now, or an empty text."""
    if channel.runs.filter(ended_at=None).exists():
        return f"{channel.name} is on air. Stop it first."
    return ""


class OutputInline(OwnChannels, TabularInline):
    model = Output
    form = OutputForm
    # Deleting a key or trusting any certificate is rare: it is on the output's own page.
    fields = ("name", "platform", "url", "key", "secret_query", "enabled")
    extra = 0
    show_change_link = True


class TakeoverInline(OwnChannels, TabularInline):
    model = TakeoverRight
    fields = ("broadcaster", "rank")
    autocomplete_fields = ("broadcaster",)
    extra = 0


class HoursInline(OwnChannels, StackedInline):
    model = OnAirHours
    form = HoursForm
    fields = ("days", ("starts", "ends"), ("first_day", "last_day"))
    extra = 0


@admin.register(Channel)
class ChannelAdmin(OwnChannels, WithKeys, ModelAdmin):
    form = ChannelForm
    list_display = ("name", "air", "orders", "live", "programme", "playlist", "house_format")
    list_select_related = ("playlist",)
    search_fields = ("name", "slug")
    prepopulated_fields: ClassVar = {"slug": ("name",)}
    autocomplete_fields = ("playlist", "filler")
    inlines = (OutputInline, TakeoverInline, HoursInline)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    *("name", "slug", "preview", "public_guide", "public_status"),
                    "test_channel",
                )
            },
        ),
        (
            "Programme",
            {
                "fields": (
                    ("playlist", "playlist_order"),
                    "filler",
                    ("time_zone", "max_rating"),
                    "on_return",
                ),
                "description": "The playlist plays when no block is on. Blocks are edited in "
                "the channel's calendar.",
            },
        ),
        (
            "Live takeover",
            {
                "fields": (("live_debounce", "live_hold"),),
                "description": "The broadcasters who may take the channel over are listed "
                "below.",
            },
        ),
        (
            "Watch",
            {
                "fields": (("if_black", "if_still"), ("if_silent", "if_late")),
                "description": "Video and audio that are sent are checked every ten seconds. "
                "At most three items an hour are skipped: more than that needs a person.",
            },
        ),
        (
            "House format",
            {
                "fields": (("width", "height", "fps"), ("video_bitrate", "audio_bitrate")),
                "description": "Every item is prepared in this format once. It can't be "
                "changed while the channel is on air.",
            },
        ),
        (
            "Logo",
            {
                "fields": (("logo_corner", "logo_width"),),
                "description": "The logo itself is at the end of this page. It is burnt into "
                "every item, so all items are prepared again. Until then they play with the "
                "old logo.",
            },
        ),
    )
    # HTML forms can't be nested: the buttons' form is outside the list's own form.
    list_before_template = "streams/list_before.html"
    change_form_outer_before_template = "streams/change_before.html"
    change_form_before_template = "streams/seen.html"
    change_form_outer_after_template = "streams/logo.html"

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Add the report to each row of the list, from a single report."""
        listed: ChangeList = super().get_changelist_instance(request)
        reports = {one.slug: one for one in report(timezone.now()).channels}
        hours = outlooks(timezone.now())
        may = request.user.has_perm("streams.operate_channel")
        for channel in listed.result_list:
            channel.report = reports.get(channel.slug)
            channel.may_operate = may
            channel.outlook = hours.get(channel.slug)
        return listed

    # ---- columns -----------------------------------------------------------------------------

    @admin.display(description="Live")
    def live(self, channel: Channel) -> SafeString:
        return format_html(
            '<a class="sx-watch" href="{}">Watch</a>', reverse("monitor", args=[channel.slug])
        )

    @admin.display(description="Programme")
    def programme(self, channel: Channel) -> SafeString:
        return format_html(
            '<a class="sx-watch" href="{}">Calendar</a>',
            reverse("calendar", args=[channel.slug]),
        )

    @admin.display(description="State")
    def air(self, channel: Any) -> str:
        return render_to_string("streams/badge.html", {"report": channel.report})

    @admin.display(description="House format")
    def house_format(self, channel: Channel) -> str:
        return f"{channel.width}×{channel.height}, {channel.fps} fps"

    @admin.display(description="Orders")
    def orders(self, channel: Any) -> str:
        context = buttons(
            channel.report,
            ORDER_FORM,
            may=channel.may_operate,
            quiet=True,
            outlook=channel.outlook,
        )
        return render_to_string("streams/orders.html", context)

    # ---- writing -----------------------------------------------------------------------------

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return allow_storage(super().changeform_view(request, *args, **kwargs))

    def get_readonly_fields(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        return HOUSE_FIELDS if obj is not None and _on_air(obj) else ()

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        # Save only the form's fields: the save must not undo an order given meanwhile.
        fields = form.cleaned_data.keys() - {"seen"}
        obj.save(update_fields=sorted(fields) if change else None)

    def save_related(
        self, request: HttpRequest, form: Any, formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        hours = [formset for formset in formsets if formset.model is OnAirHours]
        if "time_zone" in form.changed_data or any(formset.has_changed() for formset in hours):
            self._hours_changed(request, form.instance)
        transaction.on_commit(wake_supervisor)

    def _hours_changed(self, request: HttpRequest, channel: Channel) -> None:
        now = timezone.now()
        Channel.objects.filter(pk=channel.pk).update(hours_changed_at=now)
        if warning := overrun(Channel.objects.get(pk=channel.pk), now):
            messages.warning(request, warning)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponseBase:
        channel = self.get_object(request, object_id)
        if channel is not None and (refusal := _on_air(channel)):
            messages.error(request, refusal)
            return redirect(channel.get_absolute_url())
        page: HttpResponseBase = super().delete_view(request, object_id, extra_context)
        return page

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """For the list's "delete selected": channels on air count as protected."""
        listed, counts, needed, protected = super().get_deleted_objects(objs, request)
        held = [refusal for channel in objs if (refusal := _on_air(channel))]
        # The history is deleted with the channel, without permissions on its rows.
        return listed, counts, needed - HISTORY, [*protected, *held]


@admin.register(Output)
class OutputAdmin(OwnChannels, WithKeys, ModelAdmin):
    form = OutputForm
    list_display = (
        *("name", "channel", "platform", "address", "has_key", "certificate", "enabled"),
    )
    list_filter = ("platform", "enabled")
    list_select_related = ("channel",)
    search_fields = ("name", "channel__name")
    fields = (
        "channel",
        "name",
        "platform",
        "url",
        "key",
        "forget_key",
        "secret_query",
        "forget_secret_query",
        "verify_certificate",
        "roll_over_hours",
        "second_node",
        "enabled",
        "account",
        "watch_url",
        "title_template",
        "description_template",
        "category",
    )
    change_form_outer_before_template = "streams/output_before.html"

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Offer the accounts of the visitor's channels, and those of all channels."""
        field: Any = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "account":
            field.queryset = PlatformAccount.objects.filter(
                Q(channel=None) | Q(pk__in=visible(PlatformAccount.objects.all(), request))
            )
        return field

    @admin.display(description="Key", boolean=True)
    def has_key(self, output: Output) -> bool | None:
        """Returns None if a stored secret can't be decrypted."""
        stored = (output.key, output.secret_query)
        return None if any(isinstance(s, Unreadable) for s in stored) else any(stored)

    @admin.display(description="Certificate")
    def certificate(self, output: Output) -> str:
        if not output.encrypted:
            return "—"
        return "Not verified" if output.unverified else "Verified"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        output = kwargs.get("obj")
        if output is not None and output.unverified and request.method == "GET":
            messages.warning(request, unverified(output))
        page: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return page

    def save_model(self, request: HttpRequest, obj: Output, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        transaction.on_commit(wake_supervisor)
