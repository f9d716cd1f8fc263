"""A file shows that downloads work. Apart, for the cluster's own process reads it."""

from __future__ import annotations

from typing import Final

from django.conf import settings

#: In RUN_DIR; touched as long as the downloads' cluster works.
ALIVE_FILE: Final = "downloads.alive"


def touch_alive_file() -> None:
    settings.RUN_DIR.mkdir(parents=True, exist_ok=True)
    (settings.RUN_DIR / ALIVE_FILE).touch()
