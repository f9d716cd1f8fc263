"""How the address of the pages is written."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit


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
    """Whether a program can ask for it: it has a host, its port is a number, nothing is odd."""
    try:
        parts = urlsplit(url)
        known = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return known and url.isascii() and url.isprintable() and " " not in url
