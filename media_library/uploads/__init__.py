"""Receives files from browsers and programs."""
