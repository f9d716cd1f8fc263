from streams.admin import accounts, blocks, channels, history

__all__ = ["accounts", "blocks", "channels", "history"]
