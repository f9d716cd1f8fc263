"""Sessions in the database, with who, from where and since when: SESSION_ENGINE.

A session ends when it has been idle for SESSION_COOKIE_AGE. Its name is that of Django's own
store, whose salt it shares: sessions from before this table are still good.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.contrib.sessions.backends import db
from django.utils import timezone

from streamsite.accounts.models import UserSession
from streamsite.http import origin

_BEGAN: Final = "began_at"


class SessionStore(db.SessionStore):
    """Django's store, over a table with more columns."""

    @classmethod
    def get_model_class(cls) -> Any:
        return UserSession

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        now = timezone.now()
        # Each save makes the row anew.
        began = datetime.fromisoformat(data.setdefault(_BEGAN, now.isoformat()))
        row: Any = super().create_model_instance(data)
        came = origin.current()
        row.user_id = data.get("_auth_user_id")
        row.began_at, row.seen_at = began, now
        row.address, row.user_agent = came.address, came.user_agent
        return row
