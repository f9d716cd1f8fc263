"""Compares this machine's clock with the database server's, which all nodes share."""

from __future__ import annotations

import time
from typing import Final

from django.db import connection

#: Seconds by which a clock may differ before that counts: more than a slow answer explains.
CLOCK_TOLERANCE_S: Final = 2.0


def clock_ahead() -> float:
    """Return the seconds by which this machine's clock is ahead of the database server's."""
    if connection.vendor != "postgresql":
        # SQLite has no other clock than this machine's.
        return 0.0
    with connection.cursor() as cursor:
        before = time.time()
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        row = cursor.fetchone()
    ahead = (before + time.time()) / 2 - float(row[0])
    return ahead if abs(ahead) > CLOCK_TOLERANCE_S else 0.0
