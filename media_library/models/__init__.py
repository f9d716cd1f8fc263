from media_library.models.item import MediaItem, PreparedCopy
from media_library.models.playlist import Playlist, PlaylistEntry

__all__ = ["MediaItem", "Playlist", "PlaylistEntry", "PreparedCopy"]
