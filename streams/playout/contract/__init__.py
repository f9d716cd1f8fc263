"""Values that the engine and its ledger exchange. Pure."""
