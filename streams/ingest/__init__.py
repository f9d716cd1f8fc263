"""Broadcasters' live streams: the ingest server's callbacks and API, keys and leases."""
