"""Users and groups in the admin theme, protected against privilege escalation.

Only superusers assign permissions. Other staff with permissions on users may edit names and
passwords only of users who have no permissions beyond their own. Otherwise `change_user` alone
would amount to superuser rights: by the superuser flag, by a group, or by another user's
password.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

admin.site.unregister(User)
admin.site.unregister(Group)

#: The fields that assign permissions.
_RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")


def is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


def may_no_more(user: User, request: HttpRequest) -> bool:
    """Returns whether the user has no permission that the visitor lacks."""
    if is_superuser(request):
        return True
    if user.is_superuser or not isinstance(request.user, User):
        return False
    # Treat the user as active: a disabled user may be enabled again.
    everything = User(pk=user.pk, is_active=True)
    return everything.get_all_permissions() <= request.user.get_all_permissions()


class NewUserForm(UserCreationForm):
    """Keeps the entered passwords if another field has an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in {"password1", "password2"} & self.fields.keys():
            self.fields[name].widget.render_value = True


@admin.register(User)
class ThemedUserAdmin(UserAdmin, ModelAdmin):  # type: ignore[type-arg]  # no generic at run time
    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if is_superuser(request) else (*fields, *_RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may = super().has_change_permission(request, obj)
        return may and (obj is None or may_no_more(obj, request))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and (obj is None or may_no_more(obj, request))

    def get_actions(self, request: HttpRequest) -> Any:
        """Remove bulk deletion, which does not check the permission on each user."""
        actions = super().get_actions(request)
        if not is_superuser(request):
            actions.pop("delete_selected", None)
        return actions


@admin.register(Group)
class ThemedGroupAdmin(GroupAdmin, ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)
