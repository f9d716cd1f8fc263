"""Reports of a channel: history for the ledger, lines for the log."""
