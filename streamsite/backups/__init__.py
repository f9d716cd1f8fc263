"""Backups: the database, and the settings and keys encrypted with a passphrase."""
