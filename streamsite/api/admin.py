"""Keys of the API: minted, listed and revoked; never shown again, never deleted."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, PermissionsMixin
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from streamsite.accounts import limits
from streamsite.api import keys
from streamsite.api.audit import ReadOnly, WithKeys
from streamsite.api.models import ApiKey, KeyChange, checked_networks
from streamsite.api.permissions import KeyPermission, django_permissions_of
from streamsite.security.secret import Secret

_COLOURS = {
    ApiKey.State.ACTIVE.value: "success",
    ApiKey.State.EXPIRED.value: "warning",
    ApiKey.State.REVOKED.value: "danger",
}


class NetworksField(forms.CharField):
    """A list of networks, typed with spaces or commas between."""

    def clean(self, value: Any) -> Any:
        networks = super().clean(value).replace(",", " ").split()
        checked_networks(networks)
        return networks


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    allowed_addresses = NetworksField(
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "203.0.113.7 10.0.0.0/8"}),
        help_text="Addresses and networks it is taken from, with spaces between. Empty: from "
        "everywhere.",
    )

    channels = forms.ModelMultipleChoiceField(
        limits.channel_rows(),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="The key is good for these channels only, and for nothing of the whole site. "
        "Empty: for all channels.",
    )

    class Meta:
        model = ApiKey
        fields = (
            "name",
            "permissions",
            "expires_at",
            "allowed_addresses",
            "requests_per_minute",
            "concurrent_downloads",
            "bytes_per_day",
        )

    #: The user who mints; set by the admin.
    user: AbstractBaseUser | AnonymousUser | None = None

    def clean_permissions(self) -> str:
        """Refuses a key that may do more than the user who mints it."""
        chosen = KeyPermission(self.cleaned_data["permissions"])
        lacking = set[str]()
        if isinstance(self.user, PermissionsMixin):
            lacking = {
                name for name in django_permissions_of(chosen) if not self.user.has_perm(name)
            }
        if lacking:
            raise forms.ValidationError(
                f"A key of {chosen} may do what you may not: {', '.join(sorted(lacking)[:3])}"
                f"{' and more' if len(lacking) > 3 else ''}. Choose fewer."  # noqa: PLR2004 - three are enough to read
            )
        return chosen.value

    def clean_expires_at(self) -> Any:
        chosen = self.cleaned_data["expires_at"]
        if chosen and chosen <= timezone.now():
            raise forms.ValidationError("That moment has passed.")
        return chosen


@admin.register(ApiKey)
class ApiKeyAdmin(WithKeys, ModelAdmin):
    form = ApiKeyForm
    list_display = (
        *("shown", "name", "permissions", "condition", "expires_at", "addresses"),
        *("last_used_at", "last_address", "created_at", "created_by", "revoking"),
    )
    list_filter = ("permissions",)
    search_fields = ("name", "prefix")
    show_full_result_count = False
    list_before_template = "streamsite/head.html"
    exclude = ("digest",)
    fields: ClassVar = [*ApiKeyForm.Meta.fields, "channels"]

    @admin.display(description="Key", ordering="prefix")
    def shown(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @display(description="State", label=_COLOURS)
    def condition(self, key: ApiKey) -> tuple[str, str]:
        state = key.state(timezone.now())
        return state.value, str(state.label)

    @admin.display(description="Taken from")
    def addresses(self, key: ApiKey) -> str:
        return ", ".join(key.allowed_addresses) or "everywhere"

    @admin.display(description="")
    def revoking(self, key: ApiKey) -> SafeString | str:
        if key.revoked_at:
            return ""
        url = reverse("admin:streamsite_apikey_revoke", args=[key.pk])
        return format_html('<a class="sx-link" href="{}">Revoke</a>', url)

    # ---- a key is minted, looked at and revoked ----------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def may_revoke(self, request: HttpRequest) -> bool:
        return request.user.has_perm("streamsite.change_apikey")

    def get_urls(self) -> list[URLPattern]:
        revoke = self.admin_site.admin_view(self.revoke_view)
        own = path("<int:pk>/revoke/", revoke, name="streamsite_apikey_revoke")
        return [own, *super().get_urls()]

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, **kwargs)
        form.user = request.user
        return form

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        typed = dict(form.cleaned_data)
        typed["channels"] = [row.slug for row in typed["channels"]]
        row, key = keys.mint(
            typed.pop("name"),
            KeyPermission(typed.pop("permissions")),
            by=request.user.get_username(),
            now=timezone.now(),
            **typed,
        )
        # The page that answers, and the admin's history, are about the row that was made.
        obj.__dict__.update(row.__dict__)
        request.minted = key  # type: ignore[attr-defined]  # noted on the request

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponseBase:
        """The key, on this page and never again."""
        key: Secret = request.minted  # type: ignore[attr-defined]  # noted on the request
        context = {
            **self.admin_site.each_context(request),
            "title": f"An API key for {obj.name}",
            "row": obj,
            "key": key.reveal(),
            "may": f"may do what {obj.permissions} allows",
            "back": reverse("admin:streamsite_apikey_changelist"),
            "back_name": "the keys",
        }
        answer = TemplateResponse(request, "streamsite/key_minted.html", context).render()
        answer["Cache-Control"] = "no-store"
        return answer

    def revoke_view(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Asks back, then revokes."""
        back = redirect("admin:streamsite_apikey_changelist")
        if not self.may_revoke(request):
            messages.error(request, "You have no permission to revoke keys.")
            return back
        row = get_object_or_404(ApiKey, pk=pk)
        if request.method != "POST":
            context = {
                **self.admin_site.each_context(request),
                "title": f"Revoke the key {row}?",
                "row": row,
                "back": back.url,
            }
            return TemplateResponse(request, "streamsite/key_revoke.html", context)
        if keys.revoke(row, by=request.user.get_username(), now=timezone.now()):
            self.log_change(request, row, "Revoked.")
            messages.success(request, f"The key {row} is revoked.")
        return back


@admin.register(KeyChange)
class KeyChangeAdmin(ReadOnly, ModelAdmin):
    """Changes by keys. Each object's own history shows them too. Append-only."""

    list_display = ("at", "key", "content_type", "named", "sentence")
    list_display_links = None
    list_filter = ("key", ("content_type", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("key", "content_type")
    search_fields = ("object_name", "sentence")
    list_before_template = "streamsite/head.html"
    show_full_result_count = False

    @admin.display(description="What", ordering="object_name")
    def named(self, change: KeyChange) -> SafeString | str:
        kind = change.content_type
        try:
            url = reverse(
                f"admin:{kind.app_label}_{kind.model}_change", args=[change.object_id]
            )
        except NoReverseMatch:
            return change.object_name
        return format_html('<a class="sx-link" href="{}">{}</a>', url, change.object_name)
