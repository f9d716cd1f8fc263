"""Builds plans for the engine from database rows."""
