"""Rows for the library's page tests."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from django.contrib.auth.models import Permission, User
from django.db import connection

from media_library.models import MediaItem, Playlist, PlaylistEntry


def item(title: str, **fields: Any) -> MediaItem:
    """Creates a ready item of a minute; its key is made from the title."""
    made: dict[str, Any] = {
        "key": f"shows/{title.lower()}.mp4",
        "title": title,
        "status": "ready",
        "duration_seconds": 60,
        "audio_codec": "aac",
    }
    return MediaItem.objects.create(**made | fields)


def playlist(*items: MediaItem, name: str = "Evening") -> Playlist:
    made = Playlist.objects.create(name=name)
    for position, one in enumerate(items, 1):
        PlaylistEntry.objects.create(playlist=made, item=one, position=position)
    return made


def titles(of: Playlist) -> list[str]:
    return [entry.item.title for entry in of.entries.select_related("item")]


def user(*codenames: str, name: str = "ada") -> User:
    """Creates staff with these permissions of the library."""
    made = User.objects.create_user(name, password="correct horse", is_staff=True)
    for codename in codenames:
        made.user_permissions.add(
            Permission.objects.get(content_type__app_label="media_library", codename=codename)
        )
    return made


def others_may_write() -> bool:
    """Returns whether another process could write now; with SQLite it tries."""
    if connection.vendor != "sqlite":
        return not connection.in_atomic_block
    name = connection.settings_dict["NAME"]
    with closing(sqlite3.connect(name, timeout=0.2)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        other.rollback()
    return True
