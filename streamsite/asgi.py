"""The door for gunicorn: `python -m gunicorn --config python:streamsite.web`.

Pages and API run in threads, as WSGI: four times as fast as Django's own ASGI handler, and
connections to the database are kept. Streams run on the event loop and hold no thread.
"""

from __future__ import annotations

from typing import Any, Final, cast

# First, for it sets Django up: what comes after has models.
from streamsite.wsgi import application as django_pages  # isort: split

from django.conf import settings

from streamsite.http.wsgi_bridge import Bridge
from streamsite.realtime.endpoints import Endpoints, Receive, Scope, Send
from streamsite.realtime.hub import Hub
from streamsite.security.headers import LARGEST
from streamsite.site.api_root import TOPICS, parameters

#: Pages and calls that are answered at a time; others wait for these.
THREADS: Final = 16

# Django's handler answers with what can be iterated over, though its type does not say so.
pages: Final = Bridge(
    cast("Any", django_pages), THREADS, largest=LARGEST, folder=settings.DATA_DIR
)
# The API's first questions would make it, each in its own thread: 5 s, together.
parameters()
endpoints: Final = Endpoints(Hub(TOPICS))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    kind = scope["type"]
    if kind == "websocket":
        await endpoints.serve_socket(scope, receive, send)
    elif kind == "lifespan":
        await _live(receive, send)
    elif (target := endpoints.events(scope)) is None:
        await pages(scope, receive, send)
    else:
        await endpoints.serve_events(scope, target, receive, send)


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to begin or to end: the poller comes and goes with its listeners."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
