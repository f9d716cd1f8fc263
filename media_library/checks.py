"""System checks of the library: whether the storage permits all operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from media_library import storage

_IDS: Final = {
    "Folder": "media_library.E001",
    "List": "media_library.E001",
    "Clock": "media_library.E002",
    "Write": "media_library.E003",
    "Read": "media_library.E004",
    "Delete": "media_library.E005",
}


@register(deploy=True)
def storage_can_be_used(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Lists, writes, reads and deletes a tiny object. Bounded: see `storage.examine`."""
    return [
        Error(result.sentence, id=_IDS[result.check])
        for result in storage.examine()
        if not result.ok
    ]
