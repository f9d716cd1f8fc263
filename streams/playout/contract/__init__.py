"""The values that the engine and its ledger exchange. Pure."""
