from media_library.models.download import (
    DownloadBatch,
    DownloadJob,
    DownloadSchedule,
    SiteCookies,
    SitePause,
)
from media_library.models.item import MediaItem, PreparedCopy, Tag
from media_library.models.playlist import Playlist, PlaylistEntry
from media_library.models.reservation import Reservation
from media_library.models.sync import Absence, SyncRun

__all__ = [
    "Absence",
    "DownloadBatch",
    "DownloadJob",
    "DownloadSchedule",
    "MediaItem",
    "Playlist",
    "PlaylistEntry",
    "PreparedCopy",
    "Reservation",
    "SiteCookies",
    "SitePause",
    "SyncRun",
    "Tag",
]
