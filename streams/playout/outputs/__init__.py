"""The outputs of a channel: one pusher each."""
