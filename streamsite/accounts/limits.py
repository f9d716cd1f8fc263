"""Limits of users and API keys to channels of their own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest

from streamsite.accounts.models import ChannelLimit

#: Rows of these apps belong to the whole site: nobody limited to channels may see them.
_SITE_APPS: Final = frozenset({"auth", "axes", "django_q", "streamsite"})
#: Nor may they do this: it would make rows beyond their channels.
_SITE_WIDE: Final = frozenset({"streams.add_channel", "streams.add_broadcaster"})


#: Nor see these rows of other apps: a receiver of alerts may be of all channels.
_SITE_ROWS: Final = ("_alertreceiver", "_alertmessage")


def is_site_wide(permission: str) -> bool:
    app = permission.partition(".")[0]
    return app in _SITE_APPS or permission in _SITE_WIDE or permission.endswith(_SITE_ROWS)


def own_channels(who: object) -> frozenset[int] | None:
    """The ids of the channels that they are limited to. None: they are not limited.

    `who`: a user, an API key, the API's caller, or the request of one of them. The answer holds
    for the life of that user's or key's object, which is that of a request.
    """
    caller = getattr(who, "auth", None) or who
    holder: Any = getattr(caller, "key", None) or getattr(caller, "user", caller)
    if isinstance(holder, AnonymousUser) or getattr(holder, "is_superuser", False):
        return None
    if not hasattr(holder, "own_channels"):
        name = "user" if isinstance(holder, AbstractBaseUser) else "key"
        limits = ChannelLimit.objects.filter(**{name: holder.pk})
        rows = list(limits.values_list("channels", flat=True))
        # A limit without channels is one row, with none.
        holder.own_channels = frozenset(pk for pk in rows if pk) if rows else None
    own: frozenset[int] | None = holder.own_channels
    return own


def limit_key(key: Any, slugs: Collection[str]) -> None:
    """Limits a new API key to these channels. Raises `ValidationError`."""
    rows = channel_rows().filter(slug__in=slugs)
    if missing := sorted(set(slugs) - set(rows.values_list("slug", flat=True))):
        raise ValidationError({"channels": f"There is no channel {', '.join(missing)}."})
    limit = ChannelLimit.objects.create(key=key)
    limit.channels.set(rows)


def channel_rows() -> QuerySet[Any]:
    """All channels. Their app stands above this one, which knows them by this table alone."""
    model: Any = ChannelLimit._meta.get_field("channels").related_model
    rows: QuerySet[Any] = model.objects.all()
    return rows


class OwnChannelsBackend:
    """Keeps what is of the whole site from users who are limited to channels.

    It logs nobody in, and has no `get_user`: Django would take it for one that does.
    """

    def authenticate(self, request: HttpRequest | None, **_: Any) -> None:  # noqa: ARG002 - Django's signature
        return None

    def has_perm(self, user_obj: Any, perm: str, obj: object = None) -> bool:  # noqa: ARG002 - Django's signature
        """Raises `PermissionDenied`, which no other backend overrules."""
        if is_site_wide(perm) and own_channels(user_obj) is not None:
            raise PermissionDenied
        return False
