"""Pages and JSON of the admin.

They read rows and write orders, without contacting processes.
"""

from streams.views.live import live_streams, mint_key, revoke_key, streams
from streams.views.orders import order
from streams.views.pages import health, log, monitor, panels, status
from streams.views.pictures import hls, logo, preview_picture
from streams.views.public import as_run_csv, now_next, xmltv

__all__ = [
    "as_run_csv",
    "health",
    "hls",
    "live_streams",
    "log",
    "logo",
    "mint_key",
    "monitor",
    "now_next",
    "order",
    "panels",
    "preview_picture",
    "revoke_key",
    "status",
    "streams",
    "xmltv",
]
