"""Operators' commands: start, stop, skip and the rest, and the on-air hours."""
