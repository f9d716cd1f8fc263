"""Users and groups in the admin theme, protected against privilege escalation.

A user's form asks for a role. Groups and single permissions beside it are a superuser's to
assign. Other staff with permissions on users may edit only users who have no permissions beyond
their own, and give them no more than they have. Otherwise `change_user` alone would amount to
superuser rights: by a role, by a group, or by another user's password.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, StackedInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget

from streamsite.accounts import groups
from streamsite.accounts.models import ChannelLimit
from streamsite.accounts.roles import SUMMARIES, Role, permissions_of
from streamsite.api.audit import WithKeys

admin.site.unregister(User)
admin.site.unregister(Group)

#: The fields that assign permissions beside the role.
_RIGHTS = ("is_staff", "groups", "user_permissions")


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


def roles_to_give(request: HttpRequest) -> list[Role]:
    """The roles that may do no more than the visitor. Admins are made by superusers alone."""
    if is_superuser(request):
        return list(Role)
    own = request.user.get_all_permissions()
    return [role for role in Role if role is not Role.ADMIN and permissions_of(role) <= own]


class WithRole(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """Asks for a role; the admin sets who asks."""

    role = forms.ChoiceField(
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Each role includes those before it. Only admins manage users and API keys.",
    )
    #: The user who edits, and the roles that they may give.
    editor: ClassVar[Any] = None
    offered: ClassVar[list[Role]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.offered:
            del self.fields["role"]
            return
        field: Any = self.fields["role"]
        choices = [(role.value, f"{role}: {SUMMARIES[role]}") for role in self.offered]
        field.choices = [("", "No role"), *choices]
        if self.instance.pk:
            field.initial = groups.role_of(self.instance) or ""

    def clean_role(self) -> str:
        chosen = str(self.cleaned_data["role"])
        mine = self.instance.pk is not None and self.instance.pk == self.editor.pk
        if mine and self.editor.is_superuser and chosen != Role.ADMIN:
            raise forms.ValidationError(
                "You can't take the role Admin from yourself: ask another admin."
            )
        return chosen


class NewUserForm(WithRole, UserCreationForm):
    """Name, password and role. Keeps the entered passwords if another field has an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in {"password1", "password2"} & self.fields.keys():
            self.fields[name].widget.render_value = True
        if "role" in self.fields:
            role: Any = self.fields["role"]
            role.required = True
            role.choices = [("", "Choose a role"), *list(role.choices)[1:]]


class UserForm(WithRole, UserChangeForm):
    pass


class LimitInline(StackedInline):
    """The channels that the user is limited to."""

    model = ChannelLimit
    fields = ("channels",)
    filter_horizontal = ("channels",)
    extra = 0
    verbose_name = "Own channels (without a limit here, the user sees all)"

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_superuser(request)

    has_add_permission = has_view_permission
    has_change_permission = has_view_permission
    has_delete_permission = has_view_permission


@admin.register(User)
class ThemedUserAdmin(WithKeys, UserAdmin, ModelAdmin):  # type: ignore[type-arg, misc]  # no generic at run time; Django's own signatures
    form = UserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "role", "email", "is_active", "last_login")
    list_filter = ("is_active", "groups")
    add_fieldsets = ((None, {"fields": ("username", "password1", "password2", "role")}),)
    fieldsets = (
        (None, {"fields": ("username", "password", "role", "is_active")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        (
            "Rights beside the role",
            {
                "fields": _RIGHTS,
                "classes": ("collapse",),
                "description": "Most users need none: the role says what they may do.",
            },
        ),
        ("Dates", {"fields": ("last_login", "date_joined"), "classes": ("collapse",)}),
    )

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return (LimitInline,) if obj is not None else ()

    readonly_fields = ("last_login", "date_joined")

    @admin.display(description="Role")
    def role(self, user: User) -> str:
        return groups.role_of(user) or "No role"

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_form(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:  # type: ignore[override]  # `change` is among them
        form: Any = super().get_form(request, obj, **kwargs)
        form.editor, form.offered = request.user, roles_to_give(request)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leaves the role out for visitors who may give none."""
        sets = super().get_fieldsets(request, obj)
        may = obj is None or self.has_change_permission(request, obj)
        if roles_to_give(request) or not may:
            return sets
        return [
            (title, more | {"fields": tuple(n for n in more["fields"] if n != "role")})
            for title, more in sets
        ]

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        """Own groups only: the groups of the roles are assigned by the role."""
        if db_field.name == "groups":
            kwargs["queryset"] = Group.objects.exclude(name__in=list(Role))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def save_related(
        self, request: HttpRequest, form: Any, formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        if "role" not in form.cleaned_data:
            return
        if role := form.cleaned_data["role"]:
            groups.assign(form.instance, Role(role))
        elif "role" in form.changed_data:
            groups.withdraw(form.instance)

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
class ThemedGroupAdmin(WithKeys, GroupAdmin, ModelAdmin):  # type: ignore[misc]  # Django's own signatures
    """Groups of one's own. Those of the roles are kept in step with their table."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return is_superuser(request) and not (obj is not None and groups.is_shipped(obj))

    has_delete_permission = has_change_permission

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """For the list's "delete selected": the groups of the roles count as protected."""
        listed, counts, needed, protected = super().get_deleted_objects(objs, request)
        kept = [f"{one} is a role, which stays." for one in objs if groups.is_shipped(one)]
        return listed, counts, needed, [*protected, *kept]
