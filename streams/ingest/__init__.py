"""Live streams of broadcasters: what the ingest server asks and tells, and what it is asked."""
