"""Playlists: editing, and exchange with other programs as M3U and CSV."""
