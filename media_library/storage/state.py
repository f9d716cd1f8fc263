"""The storage's state, for pages and watchdogs."""

from __future__ import annotations

from typing import Final

from django.conf import settings

from media_library import storage
from streamsite.processes.refreshed import Refreshed, Result

#: Seconds for which a result is shown while there is no newer one.
MAX_RESULT_AGE_S: Final = 300.0
UNKNOWN: Final = "The storage is being checked, and has not answered yet."


def _check(_of: tuple[str, ...]) -> str:
    return storage.unreachable()


_checked: Final = Refreshed(_check, "storage-check", kept_s=MAX_RESULT_AGE_S)


def state(*, fresh_s: float, wait_s: float) -> Result[str] | None:
    """Returns the fault, empty if there is none, with its age; None while unknown.

    One check runs at a time in each process. At most two callers wait for it; the others get
    the last result.
    """
    which = ("STORAGE_PROVIDER", "MEDIA_ROOT", "STORAGE_ENDPOINT_URL", "STORAGE_BUCKET")
    of = tuple(str(getattr(settings, name)) for name in which)
    return _checked.get(of, fresh_s=fresh_s, wait_s=wait_s)


def forget() -> None:
    """Drops the cached results, for example after a change of the settings."""
    _checked.forget()
