"""Admin of receivers of alerts: a picker of services, their fields, and a test."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextInputWidget

from streams.admin.forms import SecretInput
from streams.alerts import sender, services
from streams.models import AlertMessage, AlertReceiver
from streamsite.api.audit import ReadOnly, WithKeys
from streamsite.security.secret import Secret

_COLOURS = {
    AlertMessage.State.WAITING.value: "info",
    AlertMessage.State.DELIVERED.value: "success",
    AlertMessage.State.FAILED.value: "danger",
}
#: By name, all fields of all services.
_FIELDS = {field.name: field for fields in services.FIELDS.values() for field in fields}


def _input(field: services.Field) -> forms.CharField:
    if field.secret:
        return SecretInput(label=field.label, help_text=field.help)
    return forms.CharField(
        label=field.label,
        help_text=field.help,
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
    )


class ReceiverForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    class Meta:
        model = AlertReceiver
        fields = (
            *("name", "kind", "channels", "lowest", "opened", "repeat_minutes", "closed"),
            *("problems", "group_seconds", "quiet_from", "quiet_until", "time_zone", "urgent"),
            "enabled",
        )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        kind = cleaned.get("kind")
        if not kind:
            return cleaned
        typed = {
            field.name: str(cleaned.get(field.name) or "") for field in services.FIELDS[kind]
        }
        kept = self.instance.pk and "kind" not in self.changed_data
        if kept and not any(typed.values()):
            return cleaned
        try:
            # `construct_instance` leaves it alone: it is in no field of the form.
            self.instance.address = Secret(services.address(kind, typed))
        except services.FieldError as error:
            self.add_error(error.name, str(error))
        return cleaned


# Declared here, for unfold shows those of the chosen service alone.
ReceiverForm.declared_fields = {name: _input(field) for name, field in _FIELDS.items()}
ReceiverForm.base_fields |= ReceiverForm.declared_fields


@admin.register(AlertReceiver)
class AlertReceiverAdmin(WithKeys, ModelAdmin):
    form = ReceiverForm
    list_display = ("name", "kind", "severity", "scope", "last", "enabled")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)
    filter_horizontal = ("channels",)
    actions_detail = ("test",)
    conditional_fields: ClassVar = {
        field.name: f"kind == '{kind}'"
        for kind, fields in services.FIELDS.items()
        for field in fields
    }
    fieldsets = (
        (None, {"fields": ("name", "kind", *_FIELDS, "enabled")}),
        (
            "What it gets",
            {
                "fields": (
                    "channels",
                    "lowest",
                    "opened",
                    "repeat_minutes",
                    "closed",
                    "problems",
                )
            },
        ),
        (
            "When",
            {
                "fields": (
                    *("group_seconds", "quiet_from", "quiet_until", "time_zone", "urgent"),
                )
            },
        ),
    )

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)
        if obj is not None:
            for name in _FIELDS:
                if name in form.base_fields:
                    attrs = form.base_fields[name].widget.attrs
                    attrs["placeholder"] = "Stored. Leave all of them empty to keep them."
        return form

    @admin.display(description="From")
    def severity(self, receiver: AlertReceiver) -> str:
        return str(receiver.get_lowest_display())

    @admin.display(description="Channels")
    def scope(self, receiver: AlertReceiver) -> str:
        return ", ".join(channel.name for channel in receiver.channels.all()) or "All"

    @display(description="Last alert", label=_COLOURS)
    def last(self, receiver: AlertReceiver) -> tuple[str, str] | str:
        newest = receiver.messages.first()
        if newest is None:
            return "—"
        return newest.state, str(AlertMessage.State(newest.state).label)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertReceiver]:
        return super().get_queryset(request).prefetch_related("channels")

    def has_test_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self.has_change_permission(request)

    @action(description="Send a test", permissions=["test"], icon="send")
    def test(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        receiver = self.get_object(request, object_id)
        if receiver is None:
            return redirect(reverse("admin:streams_alertreceiver_changelist"))
        taken, sentence = sender.test(receiver)
        (messages.success if taken else messages.error)(request, sentence)
        self.log_change(request, receiver, "Sent a test.")
        return redirect(reverse("admin:streams_alertreceiver_change", args=[receiver.pk]))


@admin.register(AlertMessage)
class AlertMessageAdmin(ReadOnly, ModelAdmin):
    list_display = (
        *("created_at", "receiver", "stage", "incident", "condition", "attempts", "fault"),
        *("next_at", "delivered_at"),
    )
    list_filter = ("receiver", "state", "stage")
    list_select_related: ClassVar = ["receiver", "incident"]
    show_full_result_count = False

    @display(description="State", label=_COLOURS)
    def condition(self, message: AlertMessage) -> tuple[str, str]:
        return message.state, str(AlertMessage.State(message.state).label)
