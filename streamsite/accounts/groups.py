"""The roles as groups of Django's, kept in step with their table at each migration."""

from __future__ import annotations

from typing import Any

from django.apps import apps as registry
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction

from streamsite.accounts.roles import Role, permissions_of


def keep_in_step(using: str = "default", apps: Any = registry, **_: Any) -> None:
    """Gives each role's group what the table says. Receives `post_migrate`.

    Does nothing where only some apps are migrated yet, without tables of permissions.
    """
    try:
        apps.get_model("auth", "Permission")
    except LookupError:
        return
    existing = {
        f"{app}.{codename}": pk
        for pk, app, codename in Permission.objects.using(using).values_list(
            "pk", "content_type__app_label", "codename"
        )
    }
    groups = Group.objects.using(using).prefetch_related("permissions")
    shipped = {group.name: group for group in groups.filter(name__in=list(Role))}
    with transaction.atomic(using=using):
        for role in Role:
            group = shipped.get(role) or Group.objects.using(using).create(name=role.value)
            # An app whose migrations are still to come has its turn after them.
            given = {existing[name] for name in permissions_of(role) & existing.keys()}
            if {row.pk for row in group.permissions.all()} != given:
                group.permissions.set(given)


def is_shipped(group: Group) -> bool:
    """Whether it is the group of a role, which nobody edits."""
    return group.name in set(Role)


def role_of(user: User) -> Role | None:
    """The highest role among the user's groups; superusers are admins. None: no role."""
    if user.is_superuser:
        return Role.ADMIN
    # `all()` and not `filter()`, for lists that have prefetched the groups.
    names = {group.name for group in user.groups.all()}
    return next((role for role in reversed(Role) if role in names), None)


def assign(user: User, role: Role) -> None:
    """Gives the user that role in place of another one. Own groups and permissions stay."""
    withdraw(user)
    user.is_staff, user.is_superuser = True, role is Role.ADMIN
    user.save(update_fields=["is_staff", "is_superuser"])
    user.groups.add(Group.objects.get(name=role.value))


def withdraw(user: User) -> None:
    """Takes any role from the user. Own groups and permissions stay."""
    user.groups.remove(*Group.objects.filter(name__in=list(Role)))
    user.is_superuser = False
    user.save(update_fields=["is_superuser"])
