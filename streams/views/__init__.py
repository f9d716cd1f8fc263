"""Pages of the admin, and public data. They read rows and write orders."""

from streams.views.drills import drills
from streams.views.live import live_streams, mint_key, revoke_key
from streams.views.orders import order
from streams.views.pages import health, monitor, panels
from streams.views.public import as_run_csv, now_next, xmltv

__all__ = [
    "as_run_csv",
    "drills",
    "health",
    "live_streams",
    "mint_key",
    "monitor",
    "now_next",
    "order",
    "panels",
    "revoke_key",
    "xmltv",
]
