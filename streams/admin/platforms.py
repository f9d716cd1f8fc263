"""Admin of accounts at platforms."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from streams.admin.forms import AccountForm
from streams.admin.own_channels import OwnChannels
from streams.models import PlatformAccount
from streams.platforms import connections
from streamsite.accounts.limits import own_channels
from streamsite.api.audit import WithKeys


@admin.register(PlatformAccount)
class PlatformAccountAdmin(OwnChannels, WithKeys, ModelAdmin):
    form = AccountForm
    list_display = ("name", "kind", "channel", "connection")
    list_filter = ("kind",)
    list_select_related = ("channel", "state")
    search_fields = ("name",)
    fields = (
        *("name", "kind", "channel", "client_id", "client_secret"),
        *("may_manage_broadcasts", "may_write_titles", "daily_units"),
    )
    list_before_template = "streams/head.html"
    change_form_outer_before_template = "streams/account_before.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlatformAccount]:
        # The tokens are never loaded, so they can never be shown.
        rows: QuerySet[PlatformAccount] = super().get_queryset(request)
        return rows.select_related("state").defer(
            "state__refresh_token", "state__access_token", "state__flow_secret"
        )

    @admin.display(description="Connection")
    def connection(self, account: PlatformAccount) -> SafeString | str:
        state = getattr(account, "state", None)
        shown = f"As {state.remote_name}" if state and state.connected else "Not connected"
        fault = state.fault if state else ""
        return format_html(
            '<a class="sx-watch" href="{}">{}</a>{}',
            reverse("platform-connection", args=[account.pk]),
            shown,
            f": {fault}" if fault else "",
        )

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        field: Any = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if db_field.name == "channel" and own_channels(request) is not None:
            # An account of all channels is of more than theirs.
            field.required = True
        return field

    def save_model(
        self, request: HttpRequest, obj: PlatformAccount, form: Any, change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        connections.state_of(obj)
