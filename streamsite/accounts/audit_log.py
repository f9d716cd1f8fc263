"""Writes the audit log, in the transaction of what it records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone

from streamsite.accounts.models import AuditEntry, UserSession
from streamsite.http import origin

Event = AuditEntry.Event


def record(event: Event, who: str, sentence: str, rows: Iterable[Model | None] = ()) -> None:
    """Adds an entry for each row, or one entry if it is about no row.

    `sentence` and the rows' names are shown to all who may see the log: no secret is in them.
    """
    came = origin.current()
    AuditEntry.objects.bulk_create(
        AuditEntry(
            event=event,
            who=who[:150],
            sentence=sentence,
            address=came.address,
            user_agent=came.user_agent,
            **_described(row),
        )
        for row in list(rows) or [None]
    )


def _described(row: Model | None) -> dict[str, Any]:
    if row is None:
        return {}
    return {
        "content_type": ContentType.objects.get_for_model(row),
        "object_id": str(row.pk)[:64],
        "object_name": str(row)[:200],
    }


def _logged_in(user: User, **_: Any) -> None:
    # Nobody else would clear sessions that are over.
    UserSession.objects.filter(expire_date__lt=timezone.now()).delete()
    record(Event.LOGIN, user.get_username(), "Logged in.")


def _logged_out(user: User | None, **_: Any) -> None:
    if user is not None:
        record(Event.LOGOUT, user.get_username(), "Logged out.")


def _login_failed(
    credentials: dict[str, Any],
    request: HttpRequest | None = None,
    **_: Any,
) -> None:
    # While axes refuses all tries from there, more of them are no news.
    if getattr(request, "axes_locked_out", False):
        return
    name = str(credentials.get("username", ""))
    # An unknown name may be a password in the wrong field.
    exists = User.objects.filter(username=name).exists()
    record(Event.LOGIN_FAILED, name if exists else "(unknown name)", "Wrong name or password.")


def connect() -> None:
    """Records logins. Called once, when models can be imported."""
    user_logged_in.connect(_logged_in, dispatch_uid="audit")
    user_logged_out.connect(_logged_out, dispatch_uid="audit")
    user_login_failed.connect(_login_failed, dispatch_uid="audit")
