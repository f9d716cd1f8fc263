from streams.admin import accounts, blocks, channels, history, ingest

__all__ = ["accounts", "blocks", "channels", "history", "ingest"]
