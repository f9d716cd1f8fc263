"""The API asked with a key, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.test import Client
from django.utils import timezone

from streamsite.api import keys
from streamsite.api.permissions import KeyPermission

#: Asks with method, path (below /api/v1/ unless it begins with a slash) and body, which is
#: JSON unless it is bytes: status, and what was answered, JSON or bytes.
ApiCall = Callable[..., tuple[int, Any]]


def api_caller(client: Client, level: KeyPermission = KeyPermission.FULL_ACCESS) -> ApiCall:
    """With a new key of that level, named Robot."""
    _, key = keys.mint("Robot", level, by="ada", now=timezone.now())

    def call(method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        url = path if path.startswith("/") else f"/api/v1/{path}"
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body)
        reported = {"X-API-Key": key.reveal(), **headers}
        answer: Any = client.generic(method, url, sent, kind, headers=reported)
        streamed = getattr(answer, "streaming_content", None)
        content = b"".join(streamed) if streamed is not None else answer.content
        kind = answer.get("Content-Type", "")
        if content and kind.startswith(("application/json", "application/problem+json")):
            return answer.status_code, answer.json()
        return answer.status_code, content or None

    return call
