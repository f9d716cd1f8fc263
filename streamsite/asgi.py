"""The door for gunicorn: `python -m gunicorn --config python:streamsite.web`.

Pages and API run in threads, as WSGI: four times as fast as Django's own ASGI handler, and
connections to the database are kept. Streams run on the event loop and hold no thread.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, Final, cast

# First, for it sets Django up: what comes after has models.
from streamsite.wsgi import application as django_pages  # isort: split

from media_library.topics import PROGRESS
from streams.topics import CHANNELS
from streamsite import problems
from streamsite.bridge import Bridge
from streamsite.doors import Doors, Receive, RefusedError, Scope, Send
from streamsite.live import Hub

#: Pages and calls that are answered at a time; others wait for these.
THREADS: Final = 16

# Django's handler answers with what can be iterated over, though its type does not say so.
pages: Final = Bridge(cast("Any", django_pages), THREADS)
doors: Final = Doors(Hub([CHANNELS, PROGRESS]))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    kind = scope["type"]
    if kind == "websocket":
        await doors.tell_socket(scope, receive, send)
    elif kind == "lifespan":
        await _live(receive, send)
    elif (wanted := doors.events(scope)) is None:
        await pages(scope, receive, send)
    else:
        try:
            await doors.tell_events(scope, wanted, receive, send)
        except RefusedError as refusal:
            await _refuse(refusal, send)


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to begin or to end: the poller comes and goes with its listeners."""
    while True:
        said = (await receive())["type"]
        await send({"type": f"{said}.complete"})
        if said == "lifespan.shutdown":
            return


async def _refuse(refusal: RefusedError, send: Send) -> None:
    """As the API has it: RFC 9457."""
    told = problems.document(refusal.kind, str(refusal), str(uuid.uuid4()))
    body = json.dumps(told).encode()
    headers = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": told["status"], "headers": headers})
    await send({"type": "http.response.body", "body": body})
