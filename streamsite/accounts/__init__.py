"""People's accounts: roles, own channels, sessions and the audit log."""
