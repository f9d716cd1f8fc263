"""Webhooks: set up, tried, looked into and sent again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from streamsite.api.audit import ReadOnly, WithKeys
from streamsite.webhooks import outbox
from streamsite.webhooks.models import Delivery, Endpoint, Event
from streamsite.webhooks.sender import new_secret

_COLOURS = {
    Delivery.State.WAITING.value: "info",
    Delivery.State.DELIVERED.value: "success",
    Delivery.State.FAILED.value: "danger",
}


def _masked(names: Iterable[str]) -> tuple[str, ...]:
    return tuple("shown_url" if name == "url" else name for name in names)


class EndpointForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    events = forms.MultipleChoiceField(
        choices=Event.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = Endpoint
        fields = ("name", "url", "events", "enabled")


@admin.register(Endpoint)
class EndpointAdmin(WithKeys, ModelAdmin):
    form = EndpointForm
    list_display = ("name", "url", "event_list", "enabled", "created_at")
    actions = ("send_ping", "renew_secret")

    # A user who may not change it sees the host alone: the rest of an address may be a secret.
    def get_list_display(self, request: HttpRequest) -> Any:
        names: Any = super().get_list_display(request)
        return names if self.has_change_permission(request) else _masked(names)

    def get_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> Any:
        names: Any = super().get_fields(request, obj)
        may = obj is None or self.has_change_permission(request, obj)
        return names if may else _masked(names)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # A filter that is typed into the page's address would find it letter by letter.
        if lookup.partition("__")[0] == "url" and not self.has_change_permission(request):
            return False
        allowed: bool = super().lookup_allowed(lookup, value, request)
        return allowed

    @admin.display(description="Address")
    def shown_url(self, endpoint: Endpoint) -> str:
        return endpoint.shown_url

    @admin.display(description="Events")
    def event_list(self, endpoint: Endpoint) -> str:
        return ", ".join(endpoint.events)

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        if not change:
            obj.secret = new_secret()
            super().save_model(request, obj, form, change)
        else:
            # These alone: the secret is not in the form.
            chosen = {name: form.cleaned_data[name] for name in form.fields}
            Endpoint.objects.filter(pk=obj.pk).update(**chosen)

    def response_add(
        self, request: HttpRequest, obj: Endpoint, post_url_continue: str | None = None
    ) -> HttpResponseBase:
        return self._shown(request, obj)

    def _shown(self, request: HttpRequest, endpoint: Endpoint) -> HttpResponseBase:
        """The secret, on this page and never again."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"The secret of {endpoint.name}",
            "secret": endpoint.secret.reveal(),
            "back": reverse("admin:streamsite_endpoint_changelist"),
        }
        answer = TemplateResponse(request, "streamsite/webhook_secret.html", context).render()
        answer["Cache-Control"] = "no-store"
        return answer

    @admin.action(description="Send a test to the selected webhooks", permissions=["change"])
    def send_ping(self, request: HttpRequest, queryset: QuerySet[Endpoint]) -> None:
        for endpoint in queryset:
            outbox.ping(endpoint, timezone.now())
        messages.success(request, "On its way: Webhooks sent tells how it went.")

    @admin.action(description="Give the selected webhook a new secret", permissions=["change"])
    def renew_secret(
        self, request: HttpRequest, queryset: QuerySet[Endpoint]
    ) -> HttpResponseBase | None:
        rows = list(queryset[:2])
        if len(rows) != 1:
            messages.error(request, "Select one: its new secret is shown once.")
            return None
        (endpoint,) = rows
        endpoint.secret = new_secret()
        Endpoint.objects.filter(pk=endpoint.pk).update(secret=endpoint.secret)
        self.log_change(request, endpoint, "A new secret.")
        return self._shown(request, endpoint)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, WithKeys, ModelAdmin):
    list_display = (
        *("created_at", "event", "endpoint", "condition", "attempts", "status", "fault"),
        *("next_attempt", "delivered_at"),
    )
    list_filter = ("endpoint", "state", "event")
    list_select_related: ClassVar = ["endpoint"]
    show_full_result_count = False
    actions = ("replay",)

    @display(description="State", label=_COLOURS)
    def condition(self, delivery: Delivery) -> tuple[str, str]:
        return delivery.state, str(Delivery.State(delivery.state).label)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("streamsite.change_delivery")

    @admin.action(description="Replay the selected deliveries", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        again = outbox.replay(list(queryset.values_list("pk", flat=True)), timezone.now())
        if again:
            messages.success(request, f"{again} on the way again, under the same id.")
        else:
            messages.warning(request, "All of these still wait for their next attempt.")
