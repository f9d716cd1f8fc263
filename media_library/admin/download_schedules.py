"""Addresses that are looked at again and again."""

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
from streamsite.security.urls import without_secrets

#: What people write; a worker writes the rest of the row at the same time.
PEOPLES = ("name", "url", "every_hours", "cap", "enabled", "rights")


class ScheduleForm(OptionsForm, forms.ModelForm):  # type: ignore[type-arg]
    """The schedule, and what is wanted of each video."""

    url = forms.URLField(
        label="Address",
        max_length=jobs.LONGEST_URL,
        assume_scheme="https",
        widget=UnfoldAdminURLInputWidget(),
        help_text="Of a channel, a playlist, or one video.",
    )

    class Meta:
        model = DownloadSchedule
        fields = PEOPLES
        labels: ClassVar = {"every_hours": "Hours between two looks", "cap": "Videos"}

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        wanted = Options.of(self.instance.options).told()
        for name in ("languages", "translate"):
            wanted[name] = " ".join(wanted.get(name, ()))
        for name in WANTED:
            self.initial.setdefault(name, wanted[name])
            field = self.fields[name]
            # As the theme draws its own.
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


WANTED = tuple(OptionsForm.base_fields)


@admin.register(DownloadSchedule)
class DownloadScheduleAdmin(WithKeys, ModelAdmin):  # type: ignore[misc]
    form = ScheduleForm
    list_display = (
        "name",
        "shown_url",
        "every",
        "enabled",
        "looked_at",
        "next_at",
        "found",
        "fault",
    )
    list_filter = ("enabled",)
    empty_value_display = formatting.NOTHING
    readonly_fields = ("looked_at", "next_at", "found", "fault")
    fieldsets = (
        (None, {"fields": PEOPLES}),
        ("Of each video", {"fields": WANTED}),
        ("What came of it", {"fields": ("looked_at", "next_at", "found", "fault")}),
    )

    def get_fieldsets(self, request: HttpRequest, obj: DownloadSchedule | None = None) -> Any:
        """Of a new one nothing can have come yet."""
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
        order = order_of(request)
        obj.options = form.cleaned_data["options"].told()
        # Whoever changes it answers for it: their quota, and their right to any site.
        obj.owner, obj.made_by, obj.any_site = order.owner, order.by, order.any_site
        if not change:
            obj.save(force_insert=True)
            return
        names = (*PEOPLES, "options", "owner", "made_by", "any_site")
        obj.save(update_fields=names)
