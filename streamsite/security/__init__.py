"""Secrets, certificates, addresses, headers, file modes, login limits."""
