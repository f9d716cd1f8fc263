"""The playing side of a channel: one player after the other into the feed."""
