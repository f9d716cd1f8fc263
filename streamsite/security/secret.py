"""A string that must never be read by a person. Imports no Django: the engine uses it too."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Final, Never
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK: Final = "********"


class Secret:
    """A string that shows only when `reveal` is called.

    It is no `str`, so that it can't slip into a format string, a log line, JSON or a pickle.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return MASK

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> Never:
        raise TypeError("A secret is not pickled: hand it on in memory, or encrypt it.")


class UnreadableSecretError(Exception):
    """The secret can't be decrypted. `str()` is a sentence."""


class Unreadable(Secret):
    """A stored secret that no present key decrypts. It keeps its ciphertext."""

    __slots__ = ()

    @property
    def stored(self) -> str:
        return self._value

    def reveal(self) -> Never:
        raise UnreadableSecretError(
            "The stored secret can't be decrypted: put the old key back into FIELD_KEYS, or "
            "type the secret again."
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unreadable) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Unreadable, self._value))


#: Characters: a shorter part of a secret is no secret, and would mask common words.
SHORTEST_PART: Final = 6
#: The name of a parameter that has a value, which is no secret, as in passphrase=….
_NAME: Final = re.compile(r"(?<![^?&/\s])[a-z_]+=(?=[^=?&/\s])")


def masked(text: str, secrets: Iterable[Secret]) -> str:
    """The text without the secrets, whole or in parts, also URL-encoded or in base64."""
    forms: set[str] = set()
    for secret in secrets:
        if isinstance(secret, Unreadable) or not secret:
            continue
        value = secret.reveal()
        parts = re.sub(r"[?&=/]", " ", _NAME.sub("", value))
        # Whole it is masked however short it is, but a short one as a word only.
        for part in {value, *(p for p in parts.split() if len(p) >= SHORTEST_PART)}:
            raw = part.encode()
            # A server may quote it as it understood it.
            forms |= {unquote(part), unquote_plus(part)}
            code = (base64.b64encode(raw), base64.urlsafe_b64encode(raw))
            forms |= {part, quote(part), quote(part, safe=""), quote_plus(part)}
            forms |= {quote(part, safe="").lower(), *(c.decode().rstrip("=") for c in code)}
    for shown in sorted(forms - {""}, key=len, reverse=True):
        text = re.sub(_pattern(shown), MASK, text)
    return text


def _pattern(shown: str) -> str:
    pattern = re.escape(shown)
    if len(shown) >= SHORTEST_PART:
        return pattern
    before = r"(?<![^\W_])" if shown[0].isalnum() else ""
    after = r"(?![^\W_])" if shown[-1].isalnum() else ""
    return f"{before}{pattern}{after}"


def has_control_characters(text: str) -> bool:
    """Whether it holds what begins a new line or option where it is handed to a process."""
    return any(not char.isprintable() for char in text)


def quoted_url(url: str) -> str:
    """An address as it can stand in quotes in a line of an ffconcat list."""
    return "".join(
        quote(char, safe="") if char == "'" or not char.isprintable() else char for char in url
    )
