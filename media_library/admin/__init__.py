from media_library.admin import download_schedules, downloads, items, playlists, syncs, tags

__all__ = ["download_schedules", "downloads", "items", "playlists", "syncs", "tags"]
