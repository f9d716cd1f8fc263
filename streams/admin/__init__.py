from streams.admin import accounts, blocks, channels, history, ingest, nodes, platforms

__all__ = ["accounts", "blocks", "channels", "history", "ingest", "nodes", "platforms"]
