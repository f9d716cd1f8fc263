from streams.admin import accounts, channels, history

__all__ = ["accounts", "channels", "history"]
