"""The operators' commands: start, stop, skip, and the on-air hours."""
