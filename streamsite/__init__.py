"""streamsite keeps a live channel on the air, day and night."""

__version__ = "0.1.0"
