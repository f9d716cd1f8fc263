"""Twitch's Helix API: one account's calls, each with a bound."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import urlencode

from streams.platforms.answers import Ingest, TwitchStream, rows
from streams.platforms.transport import Deadline, PlatformError, call, decoded
from streamsite.security.secret import Secret

_HOST: Final = "api.twitch.tv"
#: Answers without a token.
_INGESTS: Final = "ingest.twitch.tv"


class Twitch:
    def __init__(self, client_id: str, token: Secret, deadline: Deadline) -> None:
        self._client_id = client_id
        self._token = token
        self._deadline = deadline

    def user(self) -> tuple[str, str]:
        """Return the id and the name of the account."""
        items = self._listed("users")
        if not items or not isinstance(items[0], dict):
            raise PlatformError("Twitch names no user for this account.")
        return str(items[0].get("id", ""))[:64], str(items[0].get("display_name", ""))[:120]

    def stream(self, user: str) -> TwitchStream | None:
        """Return the account's live stream; None: it is not live."""
        items = rows(TwitchStream, self._listed("streams", user_id=user), _HOST)
        return items[0] if items else None

    def nearest_ingest(self) -> str:
        """Return the name of the ingest server that Twitch lists first for this machine."""
        url = f"https://{_INGESTS}/ingests"
        listed = decoded(call("GET", url, self._deadline), _INGESTS).get("ingests")
        servers = rows(Ingest, listed, _INGESTS)
        usable = [one for one in servers if one.availability]
        return min(usable, key=lambda one: one.priority).name if usable else ""

    def write(self, user: str, title: str, category: str) -> None:
        """Write the channel's title and category; empty: it stays."""
        body = {"title": title, "game_id": category}
        self._call(
            "PATCH",
            f"channels?{urlencode({'broadcaster_id': user})}",
            json.dumps({name: value for name, value in body.items() if value}),
        )

    def _listed(self, what: str, **parameters: str) -> list[Any]:
        query = f"?{urlencode(parameters)}" if parameters else ""
        items = decoded(self._call("GET", what + query), _HOST).get("data")
        if not isinstance(items, list):
            raise PlatformError(f"{_HOST} answered with rows of another form.")
        return items

    def _call(self, method: str, path: str, body: str | None = None) -> bytes:
        headers = {
            "Authorization": f"Bearer {self._token.reveal()}",
            "Client-Id": self._client_id,
            "Accept": "application/json",
        }
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = f"https://{_HOST}/helix/{path}"
        return call(method, url, self._deadline, headers=headers, body=body)
