"""Read-only admin of the history, which is append-only."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy
from unfold.admin import ModelAdmin, TabularInline

from streams.admin.own_channels import OwnChannels, OwnRelatedFilter
from streams.calendar import preview
from streams.models import (
    AsRun,
    Block,
    Channel,
    Incident,
    Run,
    Takeover,
    UpcomingProblem,
    visible,
)
from streams.monitoring import formatting
from streamsite.api.audit import ReadOnly
from streamsite.http.untrusted import number_or_none


class StillOpen(admin.SimpleListFilter):
    title = gettext_lazy("state")
    parameter_name = "open"
    #: The field that is empty while the row is open.
    ended: ClassVar = "ended_at"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Open"), ("no", "Ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(**{f"{self.ended}__isnull": self.value() == "yes"})


class OpenIncident(StillOpen):
    ended: ClassVar = "closed_at"


class OpenProblem(StillOpen):
    ended: ClassVar = "cleared_at"


class AsRunInline(ReadOnly, TabularInline):
    model = AsRun
    fields = ("started_at", "title", "kind", "length", "ending", "cause")
    readonly_fields = fields
    per_page = 50
    extra = 0

    @admin.display(description="Length")
    def length(self, entry: AsRun) -> str:
        return formatting.duration(entry.started_at, entry.ended_at)


@admin.register(Run)
class RunAdmin(OwnChannels, ReadOnly, ModelAdmin):
    list_display = ("started_at", "channel", "length", "started_by", "ended_at", "end_reason")
    list_filter = (("channel", OwnRelatedFilter), StillOpen)
    list_select_related = ("channel",)
    inlines = (AsRunInline,)

    @admin.display(description="Length")
    def length(self, run: Run) -> str:
        return formatting.span(run.seconds(timezone.now()))


@admin.register(AsRun)
class AsRunAdmin(OwnChannels, ReadOnly, ModelAdmin):
    list_display = (
        *("started_at", "channel", "title", "kind", "by_rule", "into", "length", "ending"),
        "cause",
    )
    list_filter = (("run__channel", OwnRelatedFilter), "kind", "ending")
    list_select_related = ("run__channel",)
    search_fields = ("title",)
    list_before_template = "streams/as_run_before.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        chosen = request.GET.get("run__channel__id__exact", "")
        context = {
            "export_channels": visible(Channel.objects.only("slug", "name"), request),
            "export_chosen": number_or_none(chosen),
            **(extra_context or {}),
        }
        page: HttpResponseBase = super().changelist_view(request, context)
        return page

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Add the rule's name to each row of the list, with a single query."""
        listed: ChangeList = super().get_changelist_instance(request)
        names = dict(Block.objects.values_list("pk", "name"))
        for entry in listed.result_list:
            entry.rule_in_words = preview.in_words(entry.rule, names)
        return listed

    @admin.display(description="Channel")
    def channel(self, entry: AsRun) -> str:
        return entry.run.channel.name

    @admin.display(description="Rule", ordering="rule")
    def by_rule(self, entry: Any) -> str:
        return str(entry.rule_in_words)

    @admin.display(description="In-point", ordering="in_point")
    def into(self, entry: AsRun) -> str:
        return formatting.span(entry.in_point) if entry.in_point else formatting.NOTHING

    @admin.display(description="Length")
    def length(self, entry: AsRun) -> str:
        return formatting.duration(entry.started_at, entry.ended_at)


@admin.register(Incident)
class IncidentAdmin(OwnChannels, ReadOnly, ModelAdmin):
    list_display = (
        "opened_at",
        "channel",
        "output",
        "severity",
        "cause",
        "lasted_for",
        "closed_at",
    )
    list_filter = (("channel", OwnRelatedFilter), "severity", OpenIncident)
    list_select_related = ("channel", "output__channel")
    search_fields = ("cause", "subject")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        # The stills are not needed for the list.
        rows: QuerySet[Incident] = super().get_queryset(request)
        return rows.select_related("evidence").defer("evidence__still")

    def get_readonly_fields(
        self, request: HttpRequest, obj: Incident | None = None
    ) -> list[str]:
        return [*super().get_readonly_fields(request, obj), "on_air"]

    @admin.display(description="On air at its beginning")
    def on_air(self, incident: Incident) -> str:
        try:
            kept = incident.evidence
        except ObjectDoesNotExist:
            return formatting.NOTHING
        address = f"/api/v1/channels/{incident.channel.slug}/incidents/{incident.pk}"
        clip = ""
        if kept.clip:
            clip = format_html(
                '<br><a class="underline" href="{}/clip.ts">Ten seconds of video</a>, '
                "kept on node {}",
                address,
                kept.node,
            )
        return format_html(
            '<img src="{}/still.jpg" alt="The picture that was on air" width="480">{}',
            address,
            clip,
        )

    @admin.display(description="Lasted")
    def lasted_for(self, incident: Incident) -> str:
        return formatting.span(incident.lasted(timezone.now()).total_seconds())


@admin.register(Takeover)
class TakeoverAdmin(OwnChannels, ReadOnly, ModelAdmin):
    list_display = (
        *(
            "requested_at",
            "channel",
            "broadcaster",
            "on_air_after",
            "lasted",
            "ended_at",
            "cause",
        ),
    )
    list_filter = (("channel", OwnRelatedFilter), ("broadcaster", OwnRelatedFilter))
    list_select_related = ("channel", "broadcaster")

    @admin.display(description="On air after")
    def on_air_after(self, takeover: Takeover) -> str:
        seconds = takeover.transition
        return formatting.NOTHING if seconds is None else f"{seconds:.1f} s"

    @admin.display(description="Lasted")
    def lasted(self, takeover: Takeover) -> str:
        if takeover.on_air_at is None:
            return formatting.NOTHING
        return formatting.duration(takeover.on_air_at, takeover.ended_at)


@admin.register(UpcomingProblem)
class UpcomingProblemAdmin(OwnChannels, ReadOnly, ModelAdmin):
    list_display = (
        "airs_at",
        "channel",
        "urgency",
        "sentence",
        "detected_at",
        "notified_at",
        "cleared_at",
    )
    list_filter = (("channel", OwnRelatedFilter), OpenProblem, "soft")
    list_select_related = ("channel",)
    search_fields = ("sentence",)

    @admin.display(description="Urgency", ordering="soft")
    def urgency(self, warning: UpcomingProblem) -> str:
        return "On air with limitations" if warning.soft else "Urgent"
