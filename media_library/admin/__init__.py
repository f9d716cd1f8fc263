from media_library.admin import downloads, items, playlists, syncs, tags

__all__ = ["downloads", "items", "playlists", "syncs", "tags"]
