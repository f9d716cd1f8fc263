"""Finds items in bounded time, whatever the size of the library."""
