"""One node's side of the database: its ledger, its writers, its preflights."""
