"""Sends notifications to people: by e-mail, and by the services that Apprise knows."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from streamsite.notifications.events import Event

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Characters: Discord's maximum per message.
MAX_CHARS: Final = 2000
#: Without a space behind it, a service would take what a title contains for a call to people.
_CALLS: Final = str.maketrans({"@": "@\u200b", "<": "<\u200b"})


def sink(event: Event, _at: datetime) -> bool:
    """Sends what is for people. Returns whether one of them took it."""
    message = event.message()
    return message is not None and send(*message)


def send(subject: str, lines: Sequence[str]) -> bool:
    """Notifies people by all configured ways. True if one of them took the message.

    A failure is logged without the address, which permits its holder to write there.
    """
    delivered = False
    if settings.ALERT_EMAIL:
        delivered |= _mailed(subject, lines)
    if settings.ALERT_WEBHOOK:
        delivered |= _posted(subject, lines)
    return delivered


def _mailed(subject: str, lines: Sequence[str]) -> bool:
    # Only the connection gets the password.
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
        # Its text may quote the credentials.
        log.warning("alert.not_mailed", error=type(error).__name__, host=settings.EMAIL_HOST)
        return False
    log.info("alert.mailed", lines=len(lines))
    return True


def _posted(subject: str, lines: Sequence[str]) -> bool:
    # Imported late: it reads all of its services.
    from apprise import Apprise, AppriseAsset, NotifyFormat  # noqa: PLC0415 - takes 0.3 s

    # No redirects: the message is sent only to the configured receiver.
    asset = AppriseAsset(app_id="streamsite", http_redirects=False, async_mode=False)
    receivers = Apprise(apprise_address(settings.ALERT_WEBHOOK.reveal()), asset=asset)
    # Its own warning, before this one, has the status or the kind of error.
    if not receivers.notify(text(subject, lines), body_format=NotifyFormat.TEXT):
        log.warning("alert.not_posted")
        return False
    log.info("alert.posted", lines=len(lines))
    return True


def apprise_address(url: str) -> str:
    """Returns Apprise's address of a receiver.

    A web address that belongs to no known service gets JSON, with the message as `text`.
    """
    from apprise import Apprise  # noqa: PLC0415 - takes 0.3 s

    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or Apprise.instantiate(url) is not None:
        return url
    given = {f"-{name}": value for name, value in parse_qsl(parts.query)}
    query = urlencode({**given, ":message": "text"})
    return parts._replace(scheme=f"json{parts.scheme[4:]}", query=query).geturl()


def text(subject: str, lines: Sequence[str]) -> str:
    """Returns as many lines as one message holds, and how many more there are."""
    whole = subject[: MAX_CHARS // 2].translate(_CALLS)
    for place, line in enumerate(lines):
        more = f"\n… and {len(lines) - place} more: see the channel's page."
        # A line that fills a message by itself is cut.
        shown = f"\n• {line[: MAX_CHARS // 2 - len(more) - 8]}".translate(_CALLS)
        if len(whole) + len(shown) + len(more) > MAX_CHARS:
            return whole + more
        whole += shown
    return whole
