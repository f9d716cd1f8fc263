"""Whether the storage can be used, as pages and watchdogs show it."""

from __future__ import annotations

from typing import Final

from django.conf import settings

from media_library import storage
from streamsite.processes.refreshed import Refreshed, Result

#: Seconds for which a result is shown while the storage gives no newer one.
KEPT_S: Final = 300.0
UNKNOWN: Final = "The storage is being checked, and has not answered so far."


def _check(_of: tuple[str, ...]) -> str:
    return storage.unreachable()


_checked: Final = Refreshed(_check, "storage-check", kept_s=KEPT_S)


def state(*, fresh_s: float, wait_s: float) -> Result[str] | None:
    """Why it can't be used, empty when it can, with its age; None: not known so far.

    One check runs at a time in each process. Two callers wait for it at most; the others get
    the last result.
    """
    which = ("STORAGE_PROVIDER", "MEDIA_ROOT", "STORAGE_ENDPOINT_URL", "STORAGE_BUCKET")
    of = tuple(str(getattr(settings, name)) for name in which)
    return _checked.get(of, fresh_s=fresh_s, wait_s=wait_s)


def forget() -> None:
    """Drop what is known, as after a change of the settings."""
    _checked.forget()
