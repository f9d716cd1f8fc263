"""Takes every secret of this installation out of a text that others will read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import connections

from streamsite.config.env import values_of
from streamsite.http.error_pages import ShowNoValues
from streamsite.security.fields import secret_fields
from streamsite.security.secret import MASK, Secret, Unreadable, masked
from streamsite.webhooks.models import Endpoint

#: A name and password in an address, and its parameters, which may be a signature.
_USER: Final = re.compile(r"(?<=://)[^\s/@“”'\"]+@")
_PARAMETERS: Final = re.compile(r"(?<=://)([^\s?“”'\"]+)\?[^\s“”'\"]+")
#: Names of settings whose values are no secrets, though they may be called so.
_SHOWN: Final = re.compile(
    r"^(STORAGE_ENDPOINT_URL|PUBLIC_\w+|YOUTUBE_RTMP_URL|INGEST_\w+_URL)$"
)


#: Characters of a secret that is long enough to be known by its first ones.
_LONG: Final = 16
_FIRST: Final = 8


def redacted(text: str, secrets: list[Secret]) -> str:
    """Returns the text without the secrets, and without names or parameters in addresses.

    A sentence may quote another that was cut off within a secret: its beginning is masked, too.
    """
    text = _USER.sub(f"{MASK}@", masked(text, secrets))
    for value in (secret.reveal() for secret in secrets):
        if len(value) >= _LONG and not re.search(r"\s", value):
            text = re.sub(re.escape(value[:_FIRST]) + r"\S*", MASK, text)
    return _PARAMETERS.sub(rf"\1?{MASK}", text)


def of_settings() -> list[Secret]:
    """The secrets of the settings, of their file and of the environment."""
    values = list(_texts([getattr(settings, name) for name in dir(settings) if name.isupper()]))
    named = values_of(settings.SETTINGS_FILE) | os.environ
    values += [value for name, value in named.items() if _is_secret(name)]
    values += [settings.SECRET_KEY, *settings.FIELD_KEYS, settings.STORAGE_ACCESS_KEY_ID]
    values += [str(connections["default"].settings_dict.get("PASSWORD") or "")]
    return [Secret(part) for value in values for part in _parts(value)]


def of_database() -> Iterator[Secret]:
    """Stored secrets, and the addresses of webhooks: whoever has one may write there."""
    for model, field in secret_fields():
        for secret in model._base_manager.values_list(field.name, flat=True).iterator():
            if secret and not isinstance(secret, Unreadable):
                yield secret
    for url in Endpoint.objects.values_list("url", flat=True):
        parts = urlsplit(url)
        yield from (Secret(part) for part in (parts.path.strip("/"), parts.query) if part)


def _is_secret(name: str) -> bool:
    hidden = ShowNoValues.hidden_settings.search(name) is not None
    return hidden and _SHOWN.match(name) is None


def _texts(values: list[Any]) -> Iterator[str]:
    """The secrets among the values."""
    yield from (value.reveal() for value in values if isinstance(value, Secret))


def _parts(value: str) -> Iterator[str]:
    """The value, and of an address its password and its path, which may be a token."""
    if not value:
        return
    if "://" not in value:
        yield value
        return
    try:
        parts = urlsplit(value)
        password = parts.password or ""
    except ValueError:
        yield value
        return
    yield from filter(None, (password, unquote(password), parts.query))
    if parts.scheme not in {"postgres", "postgresql", "sqlite", "redis", "rediss", "unix"}:
        yield from filter(None, (parts.netloc, parts.path.strip("/")))
