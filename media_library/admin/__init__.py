from media_library.admin import items, playlists, syncs, tags

__all__ = ["items", "playlists", "syncs", "tags"]
