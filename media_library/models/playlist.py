"""Playlists: ordered lists of items."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from media_library.models.item import MediaItem
from streamsite.security.text import OneLineText


class Playlist(OneLineText):
    name = models.CharField(max_length=120, unique=True)
    items: models.ManyToManyField[MediaItem, PlaylistEntry] = models.ManyToManyField(
        MediaItem, through="PlaylistEntry", related_name="playlists"
    )
    version = models.PositiveIntegerField(
        default=0,
        editable=False,
        help_text="Counts the changes of its order, so that concurrent changes are detected.",
    )

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class PlaylistEntry(models.Model):
    """One entry of a playlist. The same item may have several."""

    playlist = models.ForeignKey(Playlist, on_delete=models.CASCADE, related_name="entries")
    item = models.ForeignKey(MediaItem, on_delete=models.CASCADE, related_name="entries")
    position = models.PositiveIntegerField(default=0, db_index=True)

    class Meta:
        ordering: ClassVar = ["position", "pk"]
        verbose_name = "playlist entry"
        verbose_name_plural = "playlist entries"

    def __str__(self) -> str:
        return f"{self.position}. {self.item}"
