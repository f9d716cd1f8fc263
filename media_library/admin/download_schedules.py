"""Admin of the download schedules."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldAdminURLInputWidget,
    UnfoldBooleanSwitchWidget,
)

from media_library import formatting
from media_library.downloads import jobs
from media_library.downloads.options import Options
from media_library.models import DownloadSchedule
from media_library.views.downloads import OptionsForm, order_of
from streamsite.api.audit import WithKeys
from streamsite.api.auth import Caller
from streamsite.security.urls import without_secrets

#: Columns written by people; a worker writes the others at the same time.
PEOPLES = ("name", "url", "every_hours", "cap", "enabled", "rights")


class ScheduleForm(OptionsForm, forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The schedule, and the options of its downloads."""

    url = forms.URLField(
        label="Address",
        max_length=jobs.MAX_URL_CHARS,
        assume_scheme="https",
        widget=UnfoldAdminURLInputWidget(),
        help_text="Address of a channel, a playlist, or one video.",
    )

    class Meta:
        model = DownloadSchedule
        fields = PEOPLES
        labels: ClassVar = {"every_hours": "Hours between two checks", "cap": "Videos"}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        options_json = Options.of(self.instance.options).as_json()
        for name in ("languages", "translate"):
            options_json[name] = " ".join(options_json.get(name, ()))
        for name in OPTIONS:
            self.initial.setdefault(name, options_json[name])
            field = self.fields[name]
            # In the theme's own style.
            if isinstance(field, forms.ChoiceField):
                field.widget = UnfoldAdminSelectWidget(choices=field.choices)
            elif isinstance(field, forms.BooleanField):
                field.widget = UnfoldBooleanSwitchWidget()
            else:
                field.widget = UnfoldAdminTextInputWidget()

    def clean_url(self) -> str:
        try:
            return jobs.cleaned(str(self.cleaned_data["url"]))
        except jobs.OrderError as error:
            raise forms.ValidationError(str(error)) from None


OPTIONS = tuple(OptionsForm.base_fields)


@admin.register(DownloadSchedule)
class DownloadScheduleAdmin(WithKeys, ModelAdmin):
    form = ScheduleForm
    list_display = (
        "name",
        "shown_url",
        "every",
        "enabled",
        "checked_at",
        "next_at",
        "ordered",
        "fault",
    )
    list_filter = ("enabled",)
    empty_value_display = formatting.NOTHING
    readonly_fields = ("checked_at", "next_at", "ordered", "fault")
    fieldsets = (
        (None, {"fields": PEOPLES}),
        ("Options of each video", {"fields": OPTIONS}),
        ("Result", {"fields": ("checked_at", "next_at", "ordered", "fault")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: DownloadSchedule | None = None) -> Any:
        """Hides the result of a new schedule."""
        if obj is None:
            return self.fieldsets[:-1]
        if self.has_change_permission(request, obj):
            return self.fieldsets
        shown = tuple("shown_url" if name == "url" else name for name in PEOPLES)
        return ((None, {"fields": shown}), *self.fieldsets[1:])

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        if lookup.partition("__")[0] == "url" and not self.has_change_permission(request):
            return False
        allowed: bool = super().lookup_allowed(lookup, value, request)
        return allowed

    @admin.display(description="Address", ordering="name")
    def shown_url(self, schedule: DownloadSchedule) -> str:
        return without_secrets(schedule.url)

    @admin.display(description="Every", ordering="every_hours")
    def every(self, schedule: DownloadSchedule) -> str:
        return f"{schedule.every_hours} h" if schedule.every_hours else "once"

    def save_model(
        self, request: HttpRequest, obj: DownloadSchedule, form: Any, change: bool
    ) -> None:
        order = order_of(Caller(user=request.user))
        obj.options = form.cleaned_data["options"].as_json()
        # The last editor is responsible: their quota, and their right to unknown sites.
        obj.owner, obj.made_by, obj.any_site = order.owner, order.by, order.any_site
        if not change:
            obj.save(force_insert=True)
            return
        names = (*PEOPLES, "options", "owner", "made_by", "any_site")
        obj.save(update_fields=names)
