"""Shared parts of the library's background jobs."""
