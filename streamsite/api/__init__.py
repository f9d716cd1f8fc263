"""The REST API's base: keys, permissions, throttling, audit, paging and changes."""
