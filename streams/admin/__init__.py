from streams.admin import accounts, blocks, channels, history, ingest, nodes

__all__ = ["accounts", "blocks", "channels", "history", "ingest", "nodes"]
