"""Compares the storage with the library and updates the library."""
