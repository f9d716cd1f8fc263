"""Finds items in bounded time, however many there are."""
