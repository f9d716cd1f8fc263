"""One node's access to the database: its ledger, its writers and its preflights."""
