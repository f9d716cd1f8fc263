from media_library.models.item import MediaItem, PreparedCopy, Tag
from media_library.models.playlist import Playlist, PlaylistEntry
from media_library.models.reservation import Reservation
from media_library.models.sync import Absence, SyncRun

__all__ = [
    "Absence",
    "MediaItem",
    "Playlist",
    "PlaylistEntry",
    "PreparedCopy",
    "Reservation",
    "SyncRun",
    "Tag",
]
