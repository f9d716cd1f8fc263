"""One channel: its hub, its player, its outputs, adopted or started anew."""
