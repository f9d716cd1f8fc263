"""Compares the storage with the library and brings the library up to it."""
