"""Uptime: its figures, causes, transition times, timelines, and what the public sees of it."""
