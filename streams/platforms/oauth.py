"""OAuth at Google and Twitch: requests and their answers. It reads and writes no row.

Sources: Google "OAuth 2.0 for TV and Limited-Input Device Applications" and "for Web Server
Applications"; Twitch "Getting OAuth Access Tokens" (2026); RFC 8628; RFC 7636 (PKCE).
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from streams.platforms.transport import Deadline, PlatformError, call, decoded
from streamsite.security.secret import Secret

_DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_YOUTUBE: Final = "https://www.googleapis.com/auth/youtube"
#: Reads only; `_YOUTUBE` also creates broadcasts. Both are among the device flow's scopes.
_YOUTUBE_READ: Final = "https://www.googleapis.com/auth/youtube.readonly"
#: Of YouTube Analytics. Google's device flow does not give it: the web flow does.
ANALYTICS: Final = "https://www.googleapis.com/auth/yt-analytics.readonly"
_TWITCH_WRITE: Final = "channel:manage:broadcast"


@dataclass(frozen=True, slots=True)
class Provider:
    label: str
    device_url: str
    token_url: str
    authorize_url: str
    #: The scopes to read, those to write beside them, and those of the web flow alone.
    read: str
    write: str
    web: str = ""
    #: The name of the parameter of the device flow that holds the scopes.
    scope_parameter: str = "scope"

    def scopes(self, *, writes: bool, web: bool = False) -> str:
        return " ".join(
            filter(None, (self.read, self.write if writes else "", self.web if web else ""))
        )


PROVIDERS: Final[dict[str, Provider]] = {
    "youtube": Provider(
        "YouTube",
        "https://oauth2.googleapis.com/device/code",
        "https://oauth2.googleapis.com/token",
        "https://accounts.google.com/o/oauth2/v2/auth",
        read=_YOUTUBE_READ,
        write=_YOUTUBE,
        web=ANALYTICS,
    ),
    "twitch": Provider(
        "Twitch",
        "https://id.twitch.tv/oauth2/device",
        "https://id.twitch.tv/oauth2/token",
        "https://id.twitch.tv/oauth2/authorize",
        read="",
        write=_TWITCH_WRITE,
        scope_parameter="scopes",
    ),
}


@dataclass(frozen=True, slots=True)
class Client:
    provider: Provider
    id: str
    secret: Secret

    def form(self, **more: str) -> dict[str, str]:
        form = {"client_id": self.id, **more}
        if self.secret:
            form["client_secret"] = self.secret.reveal()
        return form


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """Times in seconds."""

    secret: Secret
    user_code: str
    address: str
    expires_in: int
    interval: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """`refresh`: empty where the old one stays."""

    access: Secret
    refresh: Secret
    expires_in: int
    scopes: str


#: Seconds: what RFC 8628 asks for where the answer names none, and the longest wait taken.
_INTERVAL_S: Final = 5
_MAX_EXPIRY_S: Final = 1800


def start_device(client: Client, scopes: str, deadline: Deadline) -> DeviceCode:
    """Ask for a code that a person types at the platform. Raises `PlatformError`."""
    provider = client.provider
    # Twitch's public clients have no secret; Google wants it with the code alone.
    form = {"client_id": client.id, provider.scope_parameter: scopes}
    answer = _post(provider.device_url, form, deadline)
    address = _text(answer, "verification_url") or _text(answer, "verification_uri")
    code = DeviceCode(
        Secret(_text(answer, "device_code")),
        _text(answer, "user_code")[:32],
        address[:500],
        min(_number(answer, "expires_in", _MAX_EXPIRY_S), _MAX_EXPIRY_S),
        max(_number(answer, "interval", _INTERVAL_S), 1),
    )
    if not (code.secret and code.user_code and code.address.startswith("https://")):
        raise PlatformError(f"{provider.label} gave no code to type.")
    return code


def poll_device(
    client: Client, code: Secret, scopes: str, deadline: Deadline
) -> Tokens | int | None:
    """Ask whether the person has agreed: the tokens, or None: not yet.

    An int: not yet, and ask that many seconds less often. Raises `PlatformError` if it is over.
    """
    form = client.form(device_code=code.reveal(), grant_type=_DEVICE_GRANT)
    if client.provider.scope_parameter == "scopes":
        form["scopes"] = scopes
    try:
        return _tokens(_post(client.provider.token_url, form, deadline), scopes)
    except PlatformError as error:
        reason = error.reason.replace(" ", "_")
        if reason == "authorization_pending":
            return None
        if reason == "slow_down":
            return _INTERVAL_S
        raise


def exchange_code(
    client: Client, code: Secret, verifier: Secret, redirect: str, deadline: Deadline
) -> Tokens:
    """Exchange the code of the web flow for tokens. Raises `PlatformError`."""
    form = client.form(
        code=code.reveal(),
        code_verifier=verifier.reveal(),
        redirect_uri=redirect,
        grant_type="authorization_code",
    )
    return _tokens(_post(client.provider.token_url, form, deadline), "")


def refresh(client: Client, token: Secret, deadline: Deadline) -> Tokens:
    """Return a new access token. Raises `PlatformError`."""
    form = client.form(refresh_token=token.reveal(), grant_type="refresh_token")
    return _tokens(_post(client.provider.token_url, form, deadline), "")


def authorize_address(
    client: Client, scopes: str, redirect: str, state: str, verifier: Secret
) -> str:
    """Return the address at which a person agrees (web flow)."""
    digest = hashlib.sha256(verifier.reveal().encode()).digest()
    query = {
        "client_id": client.id,
        "redirect_uri": redirect,
        "response_type": "code",
        "scope": scopes,
        "state": state,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
        # Google gives a refresh token only if it is asked so.
        "access_type": "offline",
        "prompt": "consent",
    }
    return f"{client.provider.authorize_url}?{urlencode(query)}"


def verifier() -> Secret:
    return Secret(secrets.token_urlsafe(48))


# ---- answers ---------------------------------------------------------------------------------


def _post(url: str, form: dict[str, str], deadline: Deadline) -> dict[str, Any]:
    host = url.split("/")[2]
    return decoded(call("POST", url, deadline, form=form), host)


def _tokens(answer: dict[str, Any], scopes: str) -> Tokens:
    given = answer.get("scope", scopes)
    tokens = Tokens(
        Secret(_text(answer, "access_token")),
        Secret(_text(answer, "refresh_token")),
        _number(answer, "expires_in", 3600),
        " ".join(map(str, given)) if isinstance(given, list) else str(given),
    )
    if not tokens.access:
        raise PlatformError("The platform gave no access token.")
    return tokens


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    return value if isinstance(value, str) else ""


def _number(answer: dict[str, Any], name: str, default: int) -> int:
    value = answer.get(name)
    return int(value) if isinstance(value, int | float) and value > 0 else default
