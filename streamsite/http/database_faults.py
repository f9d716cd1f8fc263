"""Explains errors of the database in words that people can act on. Pure."""

from __future__ import annotations

from typing import Final

#: Messages of SQLite and PostgreSQL in lower case, and their meaning. The first match counts.
_MEANINGS: Final = (
    (
        ("disk is full", "no space left on device", "could not extend file"),
        "the database's disk is full: make room on it",
    ),
    (("readonly database", "read-only transaction"), "the database is read-only"),
    (("disk i/o error", "input/output error"), "the database's disk reports errors"),
    (("unable to open database file",), "the database's file can't be opened"),
    (("database is locked",), "another process keeps the database locked"),
    (
        ("malformed", "not a database"),
        "the database's file is damaged: stop the services and restore a backup",
    ),
    (
        ('fatal:  database "', 'fatal:  role "'),
        "the database's server knows no such database or user: see DATABASE_URL",
    ),
    (("no such table", "no such column", "does not exist"), "it was not migrated: run migrate"),
    (("connection refused",), "nothing answers at the database's address: see that it runs"),
    (("password authentication failed",), "the database refuses the password"),
    (("too many clients", "too many connections"), "the database has no connection left"),
)
NO_ANSWER: Final = "the database does not answer"


def meaning(error: str) -> str | None:
    """In the middle of a sentence, without a full stop; None: nothing is known of it.

    error: as the database said it; "" for no answer at all.
    """
    if not error:
        return NO_ANSWER
    lower = error.lower()
    return next(
        (text for signs, text in _MEANINGS if any(sign in lower for sign in signs)), None
    )
