"""One channel: its hub, its player and its outputs, adopted or started."""
