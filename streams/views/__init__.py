"""Pages and JSON of the admin side: they read rows and write orders, and talk to no process."""

from streams.views.orders import order
from streams.views.pages import health, log, monitor, panels, status
from streams.views.pictures import hls, logo, preview_picture

__all__ = [
    "health",
    "hls",
    "log",
    "logo",
    "monitor",
    "order",
    "panels",
    "preview_picture",
    "status",
]
