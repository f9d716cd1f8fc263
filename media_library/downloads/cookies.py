"""Cookies of a site's account: lent to a job, and written back if the site changed them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from django.utils import timezone

from media_library.downloads.errors import Code, GivenUpError, verdict
from media_library.downloads.options import COOKIES
from media_library.models import SiteCookies

HEAD: Final = "# Netscape HTTP Cookie File"
UNREADABLE: Final = (
    "These cookies can't be decrypted: put the old key back into FIELD_KEYS, or paste the "
    "cookies again."
)
#: Fields of a line: domain, include subdomains, path, TLS only, expiry, name, value.
FIELDS: Final = 7
#: Prefix of cookies that scripts can't read; the format treats it as a comment.
_HTTP_ONLY: Final = "#HttpOnly_"


class CookiesError(ValueError):
    """The text is no cookies.txt of that site. `str()` says what to do."""


def checked(text: str, domain: str) -> str:
    """Returns the lines of that site, in yt-dlp's format. Raises `CookiesError`."""
    kept = of_domain(text, domain)
    if not kept:
        raise CookiesError(
            f"It contains no cookie of {domain}: export the site's cookies in Netscape's "
            "format (cookies.txt) while you are logged in there."
        )
    return "\n".join([HEAD, *kept, ""])


def of_domain(text: str, domain: str) -> list[str]:
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        plain = line.removeprefix(_HTTP_ONLY)
        fields = plain.split("\t")
        if plain.startswith("#") or len(fields) != FIELDS:
            continue
        if within(fields[0].lstrip("."), domain):
            lines.append(line)
    return lines


def within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def for_site(site: str) -> SiteCookies | None:
    """Returns the cookies of the site's nearest parent domain."""
    parts = site.split(".")
    above = [".".join(parts[at:]) for at in range(len(parts))]
    candidates = SiteCookies.objects.filter(domain__in=above)
    return max(candidates, key=lambda row: len(row.domain), default=None)


@contextmanager
def lent(site: str, folder: Path) -> Iterator[bool]:
    """Copies the cookies into the job's folder while the block runs; True if there are any.

    Changes by the site are written back, unless the cookies were replaced meanwhile. Raises
    `GivenUpError` for cookies that can't be decrypted: without them the site would refuse.
    """
    mine = for_site(site)
    if mine is None:
        yield False
        return
    if not mine.readable:
        raise GivenUpError(verdict(Code.COOKIES, mine.domain))
    file = folder / COOKIES
    before = mine.text.reveal()
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(before)
    try:
        yield True
        after = "\n".join([HEAD, *of_domain(file.read_text(), mine.domain), ""])
        same = SiteCookies.objects.filter(pk=mine.pk, set_at=mine.set_at)
        same.update(used_at=timezone.now())
        if after != before and of_domain(after, mine.domain):
            same.update(text=after)
    finally:
        file.unlink(missing_ok=True)
