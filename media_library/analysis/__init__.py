"""Inspects files: their properties, loudness, and three thumbnails each."""
