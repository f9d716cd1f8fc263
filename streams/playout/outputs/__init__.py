"""The outputs of a channel, each with one pusher."""
