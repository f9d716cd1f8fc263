"""Hands tasks to the clusters. The truth is in the rows: a lost message costs a minute."""

from __future__ import annotations

from typing import Any, Final

import structlog
from redis.exceptions import RedisError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What a page says of an order that could not be handed on.
UNREACHABLE: Final = (
    "The queue's server (Q_BROKER_URL) can't be reached: what was asked for is not handed on. "
    "Try again when it answers."
)


def enqueue(task: str, *args: Any, **options: Any) -> bool:
    """Has a cluster run a task. False: the broker can't be reached.

    What rows ask for is taken up by the next sweep, within a minute of the broker's return.
    """
    # Opens the broker.
    from django_q.tasks import async_task  # noqa: PLC0415

    try:
        async_task(task, *args, **options)
    except (RedisError, OSError) as error:
        # Its words may hold the server's address with a password.
        log.warning("queue.unreachable", task=task, error=type(error).__name__)
        return False
    return True
