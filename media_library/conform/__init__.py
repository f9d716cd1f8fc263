"""Creates prepared copies in a channel's house format, and slates."""
