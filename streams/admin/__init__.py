from streams.admin import (
    accounts,
    alerts,
    blocks,
    channels,
    history,
    ingest,
    nodes,
    platforms,
)

__all__ = [
    "accounts",
    "alerts",
    "blocks",
    "channels",
    "history",
    "ingest",
    "nodes",
    "platforms",
]
