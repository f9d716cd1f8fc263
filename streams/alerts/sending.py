"""Sends one message to one receiver, and says in a sentence what the receiver answered."""

from __future__ import annotations

import re
import smtplib
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from streamsite.notifications.channels import apprise_address, text
from streamsite.security.secret import Secret, Unreadable
from streamsite.security.ssrf import NoAddressError, Rules, may_reach, own_addresses, resolve

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

MAIL: Final = "mail:"
#: Name of the attached still.
PICTURE: Final = "still.jpg"
#: Schemes whose host may be one of one's own networks. The others' hosts are tokens, which no
#: name server should see.
_SELF_HOSTED: Final = re.compile(
    r"(https?|jsons?|xmls?|forms?|ntfys?|gotifys?|matrixs?|apprises?|mmosts?|rockets?)"
)
#: What Apprise's warning says of an answer.
_STATUS: Final = re.compile(r"error\s*=\s*(\d{3})")
_MEANINGS: Final = {
    "3": "It redirects, which is not followed: check the address.",
    "400": "It does not understand the message: check the address.",
    "401": "It refuses the token or password: type it again.",
    "403": "It refuses the token, or the sender may not write there.",
    "404": "It does not know the address, chat, room or topic.",
    "429": "It wants fewer messages: collect them for longer.",
    "4": "It refuses the message.",
    "5": "It has an internal error.",
}


def send(address: Secret, subject: str, lines: Sequence[str], picture: bytes = b"") -> str:
    """Send a message. Returns why the receiver does not have it; empty: it has.

    Takes some ten seconds at most. Neither the sentence nor the log shows the address.
    """
    if isinstance(address, Unreadable):
        return "The stored address can't be decrypted: type it again."
    url = address.reveal()
    if url.startswith(MAIL):
        return _mail(url.removeprefix(MAIL), subject, lines, picture)
    return _post(url, subject, lines, picture)


def _mail(to: str, subject: str, lines: Sequence[str], picture: bytes) -> str:
    if not settings.EMAIL_HOST:
        return "No mail server is set: set EMAIL_HOST and the EMAIL_ settings beside it."
    connection = get_connection(password=settings.EMAIL_HOST_PASSWORD.reveal())
    message = EmailMessage(
        " ".join(subject.split()),
        "\n\n".join(lines) + "\n",
        to=[one.strip() for one in to.split(",") if one.strip()],
        connection=connection,
    )
    if picture:
        message.attach(PICTURE, picture, "image/jpeg")
    try:
        message.send()
    except smtplib.SMTPAuthenticationError:
        return "The mail server refuses the password: check EMAIL_HOST_PASSWORD."
    except smtplib.SMTPRecipientsRefused:
        return "The mail server refuses the recipient."
    except (OSError, smtplib.SMTPException) as error:
        # Its text may quote the credentials.
        return f"The mail server {settings.EMAIL_HOST} failed ({type(error).__name__})."
    return ""


def _post(url: str, subject: str, lines: Sequence[str], picture: bytes) -> str:
    # Imported late: it reads all of its services.
    from apprise import Apprise, AppriseAsset, NotifyFormat  # noqa: PLC0415 - takes 0.3 s
    from apprise.attachment.memory import AttachMemory  # noqa: PLC0415 - see above

    whole = apprise_address(url)
    if fault := _inside(whole):
        return fault
    # No redirects: the message is sent only to the configured receiver.
    asset = AppriseAsset(app_id="streamsite", http_redirects=False, async_mode=False)
    receiver = Apprise.instantiate(whole, asset=asset)
    if receiver is None:
        return "No service knows such an address: check it, field by field."
    attached = None
    if picture and receiver.attachment_support:
        attached = AttachMemory(  # type: ignore[no-untyped-call]  # apprise has no types
            content=picture, name=PICTURE, mimetype="image/jpeg"
        )
    taken = Apprise(receiver, asset=asset).notify(
        text(subject, lines),
        body_format=NotifyFormat.TEXT,
        attach=attached,
    )
    # Of this call alone: others send to other receivers meanwhile.
    warned = [entry.message for entry in taken.logs()]
    return "" if taken else meaning(warned)


def meaning(lines: Sequence[str]) -> str:
    """Return what Apprise's warnings mean, as a sentence."""
    statuses = [match[1] for line in lines if (match := _STATUS.search(line))]
    if not statuses:
        return "It could not be reached, or did not answer in time: check address and network."
    status = statuses[-1]
    word = _MEANINGS.get(status) or _MEANINGS.get(status[0]) or "It refuses the message."
    return f"{word} (HTTP status {status})"


def _inside(url: str) -> str:
    """Return why a receiver in one's own networks is refused; empty: it is not."""
    parts = urlsplit(url)
    if settings.WEBHOOK_PRIVATE_TARGETS or not _SELF_HOSTED.fullmatch(parts.scheme):
        return ""
    host = parts.hostname or ""
    try:
        addresses = resolve(host, parts.port or 443)
    except (NoAddressError, ValueError):
        return "No name server knows that host: check the address."
    own = Rules(frozenset(), own=own_addresses(settings.ALLOWED_HOSTS))
    if all(may_reach(one, own) for one in addresses):
        return ""
    return (
        "It is on this machine or not on the open internet. If that is intended, set "
        "WEBHOOK_PRIVATE_TARGETS=true."
    )
