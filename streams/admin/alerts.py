"""Admin of receivers of alerts: a picker of services, their fields, and a test."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from streams.admin.forms import SecretInput
from streams.alerts import sender, services
from streams.models import AlertMessage, AlertReceiver
from streamsite.api.audit import ReadOnly, WithKeys
from streamsite.http.untrusted import number_or_none
from streamsite.security.secret import Secret

_COLOURS = {
    AlertMessage.State.WAITING.value: "info",
    AlertMessage.State.DELIVERED.value: "success",
    AlertMessage.State.FAILED.value: "danger",
}
#: Verbose names of the rows that are deleted with a receiver.
GOES_ALONG = {"alert message"}
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            for name in _FIELDS.keys() & self.fields.keys():
                attrs = self.fields[name].widget.attrs
                attrs["placeholder"] = "Stored. Leave all of them empty to keep them."

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
    change_form_outer_before_template = "streams/alert_receiver_before.html"
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

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Its messages are read-only, and go with it.
        listed, counts, needed, protected = super().get_deleted_objects(objs, request)
        return listed, counts, needed - GOES_ALONG, protected

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
        rows: QuerySet[AlertReceiver] = super().get_queryset(request)
        return rows.prefetch_related("channels")

    def get_urls(self) -> list[URLPattern]:
        test = path(
            "<int:pk>/test/",
            self.admin_site.admin_view(require_POST(self.test)),
            name="test-alert-receiver",
        )
        return [test, *super().get_urls()]

    def test(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Send a test, outside of any transaction: it waits for the receiver's answer."""
        receiver = get_object_or_404(AlertReceiver, pk=pk)
        if not self.has_change_permission(request, receiver):
            raise PermissionDenied
        taken, sentence = sender.test(receiver)
        (messages.success if taken else messages.error)(request, sentence)
        self.log_change(request, receiver, "Sent a test.")
        return redirect(reverse("admin:streams_alertreceiver_change", args=[pk]))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponseBase:
        pk = number_or_none(object_id)
        sent = AlertMessage.objects.filter(receiver=pk) if pk is not None else None
        context = {"last_message": sent and sent.first(), **(extra_context or {})}
        page: HttpResponseBase = super().change_view(request, object_id, form_url, context)
        return page


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
