"""Database rows become plans for the engine."""
