"""Sessions of users: what keeps them alive, and their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from streamsite.accounts.audit_log import Event, record
from streamsite.accounts.models import UserSession

#: Seconds between two notes of activity: a write a request would be dear.
NOTE_INTERVAL_S: Final = 60
_ACTIVE: Final = "active_at"


class ActivityMiddleware:
    """Extends the session of a user who does something. Pages that poll extend none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Without a cookie the session is not touched: caches keep public answers.
        if settings.SESSION_COOKIE_NAME in request.COOKIES and is_activity(request):
            session, now = request.session, time.time()
            if SESSION_KEY in session and now - session.get(_ACTIVE, 0) >= NOTE_INTERVAL_S:
                session[_ACTIVE] = int(now)
        return self.get_response(request)


def is_activity(request: HttpRequest) -> bool:
    """Whether a person caused the request: opened a page, or changed something.

    Scripts that refresh a page ask with GET for something else than a page.
    """
    reads = request.method in {"GET", "HEAD", "OPTIONS"}
    return not reads or "text/html" in request.META.get("HTTP_ACCEPT", "")


def current() -> QuerySet[UserSession]:
    """Sessions of users that are not over, the latest activity first."""
    rows = UserSession.objects.filter(expire_date__gt=timezone.now(), user__is_active=True)
    return rows.select_related("user").order_by("-seen_at", "session_key")


def end(rows: list[UserSession], by: str) -> int:
    """Ends them, and returns how many there were: each needs a new login."""
    with transaction.atomic():
        for row in rows:
            row.delete()
            if row.user is not None:
                record(Event.SESSION_ENDED, by, "Ended a session.", [row.user])
    return len(rows)
