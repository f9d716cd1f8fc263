"""Sends notifications to people: by e-mail and to a webhook."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from streamsite import __version__

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds a receiver may take to connect, and for each of its answers.
TIMEOUT_S: Final = 10.0
#: Characters: what Discord takes in one message.
LONGEST: Final = 2000


def configured() -> bool:
    return bool(settings.ALERT_EMAIL or settings.ALERT_WEBHOOK)


def send(subject: str, lines: Sequence[str]) -> bool:
    """Tell people, by all ways that are set. True where one of them took it.

    A failure is logged without the address, which lets its holder write there.
    """
    delivered = False
    if settings.ALERT_EMAIL:
        delivered |= _mailed(subject, lines)
    if settings.ALERT_WEBHOOK:
        delivered |= _posted(subject, lines)
    return delivered


def _mailed(subject: str, lines: Sequence[str]) -> bool:
    # The password is shown to the connection alone.
    connection = get_connection(password=settings.EMAIL_HOST_PASSWORD.reveal())
    message = EmailMessage(
        " ".join(subject.split()),
        "\n\n".join(lines) + "\n",
        to=settings.ALERT_EMAIL,
        connection=connection,
    )
    try:
        message.send()
    except (OSError, smtplib.SMTPException) as error:
        # Its words may quote what the server was sent.
        log.warning("alert.not_mailed", error=type(error).__name__, host=settings.EMAIL_HOST)
        return False
    log.info("alert.mailed", lines=len(lines))
    return True


def _posted(subject: str, lines: Sequence[str]) -> bool:
    request = Request(  # noqa: S310 - the settings let http and https pass alone
        settings.ALERT_WEBHOOK.reveal(),
        json.dumps(payload(subject, lines)).encode(),
        {"Content-Type": "application/json", "User-Agent": f"streamsite/{__version__}"},
    )
    try:
        with _opener.open(request, timeout=TIMEOUT_S):
            pass
    except (OSError, HTTPException, ValueError) as error:
        # Its words may hold the address. A status is a plain number.
        log.warning(
            "alert.not_posted",
            error=type(error).__name__,
            status=getattr(error, "code", None),
        )
        return False
    log.info("alert.posted", lines=len(lines))
    return True


def _made_opener() -> OpenerDirector:
    """Follows no redirection: what was set is where it goes."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener


_opener: Final = _made_opener()


def payload(subject: str, lines: Sequence[str]) -> dict[str, Any]:
    """The message for Slack and Mattermost (`text`) and Discord (`content`), in one object.

    A title can call nobody: no @everyone, no <!channel>.
    """
    text = _short(subject, lines)
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": escaped, "content": text, "allowed_mentions": {"parse": []}}


def _short(subject: str, lines: Sequence[str]) -> str:
    """As many lines as one message holds, and how many more there are."""
    text = subject[: LONGEST // 2]
    for place, line in enumerate(lines):
        more = f"\n… and {len(lines) - place} more: see the channel's page."
        # A line that fills a message by itself is cut.
        shown = f"\n• {line[: LONGEST // 2 - len(more) - 8]}"
        if len(text) + len(shown) + len(more) > LONGEST:
            return text + more
        text += shown
    return text
