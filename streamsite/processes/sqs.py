"""django-q2's broker for Amazon SQS, with what a queue there really allows."""

from __future__ import annotations

from typing import Any, Final

from django_q.brokers.aws_sqs import Sqs as Broker
from django_q.conf import Conf

#: Seconds for which a message that was handed out stays hidden; SQS allows no more. A message
#: that is lost costs a minute: rows hold the work.
MAX_VISIBILITY_S: Final = 43_200
#: SQS hands out no more at once.
MAX_MESSAGES: Final = 10


class Sqs(Broker):  # type: ignore[misc]  # the parent has no types
    def queue_size(self) -> int:
        """Always 1: boto3 asks for a queue's size once, and never again."""
        return 1

    def dequeue(self) -> list[tuple[str, str]]:
        """Returns receipts and messages at once, also when there are none."""
        messages: list[Any] = self.queue.receive_messages(
            MaxNumberOfMessages=min(Conf.BULK, MAX_MESSAGES),
            VisibilityTimeout=min(Conf.RETRY, MAX_VISIBILITY_S),
        )
        return [(message.receipt_handle, message.body) for message in messages]
