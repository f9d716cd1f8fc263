"""Backups: the database, the settings and the keys, encrypted with a passphrase."""
