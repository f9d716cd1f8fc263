"""The permissions of API keys and staff. Pure.

A route states them beside its function, with `needs`. `streamsite.site.permission_table`
collects them from the routes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


class KeyPermission(StrEnum):
    """The permission of a key. Each one includes those before it."""

    READ_ONLY = "READ_ONLY"
    DOWNLOAD = "DOWNLOAD"
    ADMIN = "ADMIN"
    FULL_ACCESS = "FULL_ACCESS"

    def includes(self, other: KeyPermission) -> bool:
        return _RANK[self] >= _RANK[other]


READ_ONLY, DOWNLOAD, ADMIN, FULL_ACCESS = KeyPermission
_RANK: Final = {permission: rank for rank, permission in enumerate(KeyPermission)}


@dataclass(frozen=True, slots=True)
class Rule:
    """The callers of a route: keys with that permission or a higher one, and staff."""

    key_permission: KeyPermission
    staff_permission: str

    def __post_init__(self) -> None:
        _RULES.add(self)


#: The rules of all routes that are loaded.
_RULES: Final[set[Rule]] = set()


def needs(key_permission: KeyPermission, staff_permission: str) -> Callable[[View], View]:
    """States the permissions that a route needs. `streamsite.api.auth.Router` enforces them."""

    def decorate(view: View) -> View:
        view.rule = Rule(key_permission, staff_permission)  # type: ignore[attr-defined]  # read by the router
        return view

    return decorate


def django_permissions_of(permission: KeyPermission) -> frozenset[str]:
    """The permissions that staff need to do all that such a key may do."""
    allowed = (rule for rule in _RULES if permission.includes(rule.key_permission))
    return frozenset(rule.staff_permission for rule in allowed)
