"""Enqueues tasks for the clusters. Rows hold the state: a lost message costs a minute."""

from __future__ import annotations

import sys
from typing import Any, Final

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: The sentence of a page when a task could not be enqueued.
UNREACHABLE: Final = (
    "The queue's server (Q_BROKER_URL) can't be reached: what was asked for is not handed on. "
    "Try again when it answers."
)


def enqueue(task: str, *args: Any, **options: Any) -> bool:
    """Enqueues a task. False: the broker can't be reached.

    The next sweep takes up the rows, within a minute of the broker's return.
    """
    # Opens the broker.
    from django_q.tasks import async_task  # noqa: PLC0415 - it opens the broker

    try:
        async_task(task, *args, **options)
    except _broker_errors() as error:
        # Its words may hold the server's address with a password.
        log.warning("queue.unreachable", task=task, error=type(error).__name__)
        return False
    return True


def _broker_errors() -> tuple[type[Exception], ...]:
    """What the broker's library raises. Where no broker has loaded it, it would cost 5 MB."""
    errors: tuple[type[Exception], ...] = (OSError,)
    if "redis" in sys.modules:
        from redis.exceptions import RedisError  # noqa: PLC0415 - see above

        errors += (RedisError,)
    if "botocore" in sys.modules:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above

        errors += (BotoCoreError, ClientError)
    return errors
