"""Writes and checks addresses."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final
from urllib.parse import parse_qsl, urlsplit

#: Stands for what is not shown.
ELLIPSIS: Final = "…"
#: Parameters that name a page or a video, and let nobody in.
_HARMLESS: Final = frozenset({"v", "list", "index", "id", "p", "page", "t", "start", "lang"})


def place(host: str, port: int) -> str:
    """`host:port`, with brackets where the host is an IPv6 address."""
    host = host.strip("[]")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown(host: str, port: int) -> str:
    """The admin's address for a browser; this machine's name where it is served everywhere."""
    try:
        everywhere = ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        everywhere = False
    return f"http://{place(socket.gethostname() if everywhere else host, port)}/admin/"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_address(url: str) -> bool:
    """Whether a program can open it: a host, a number as port, no odd character."""
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return is_valid and url.isascii() and url.isprintable() and " " not in url


def host_only(url: str) -> str:
    """An address whose path lets in whoever knows it: `https://host/…`."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ELLIPSIS
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{ELLIPSIS}"


def without_secrets(url: str) -> str:
    """An address to show: without a name, and of its parameters those that name a page."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ELLIPSIS
    if not parts.netloc:
        return url.partition("?")[0]
    shown = [
        f"{name}={value}"
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name in _HARMLESS and value.isascii() and value.isprintable()
    ]
    if len(shown) < len(list(filter(None, parts.query.split("&")))):
        shown.append(ELLIPSIS)
    query = f"?{'&'.join(shown)}" if shown else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}{query}"
