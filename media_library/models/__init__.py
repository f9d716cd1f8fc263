from media_library.models.item import MediaItem, PreparedCopy, Tag
from media_library.models.playlist import Playlist, PlaylistEntry
from media_library.models.sync import SyncRun

__all__ = ["MediaItem", "Playlist", "PlaylistEntry", "PreparedCopy", "SyncRun", "Tag"]
