"""Keeps an installation in order: removes old rows, makes backups, reports its health."""
