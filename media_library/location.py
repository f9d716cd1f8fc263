"""The location of an item's bytes for a player. Pure: the engine imports it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamsite.security.secret import Secret


@dataclass(frozen=True, slots=True)
class LocalFile:
    path: Path


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL whose query is a credential: it must not appear in argv, a row or a log."""

    url: Secret


Location = LocalFile | SignedUrl
