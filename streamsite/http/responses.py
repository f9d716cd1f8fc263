"""The permissions that pages of both apps need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import permission_required
from django.http.response import HttpResponseBase

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def any_staff(view: View) -> View:
    """Staff, whatever they may. Others: to the login page."""
    return staff_member_required(login_url="admin:login")(view)


def staff(permission: str) -> Callable[[View], View]:
    """Staff with that permission. Others: to the login page, or 403."""

    def decorate(view: View) -> View:
        allowed = permission_required(permission, raise_exception=True)(view)
        return staff_member_required(login_url="admin:login")(allowed)

    return decorate
