"""The tests' database, for processes that a test starts."""

from __future__ import annotations

from urllib.parse import quote

from django.db import connection


def database_url() -> str:
    """The DATABASE_URL of the database that this test uses: SQLite's file or PostgreSQL's."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    server = f"{database['HOST'] or '127.0.0.1'}:{database['PORT'] or 5432}"
    user, password = quote(database["USER"]), quote(database["PASSWORD"])
    return f"postgres://{user}:{password}@{server}/{database['NAME']}"
