"""Which addresses a download may reach. Pure; `resolve` alone asks the machine's resolver."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: RFC 6052: an IPv4 address in its last 32 bits, translated by whoever is on the way.
_NAT64: Final = IPv6Network("64:ff9b::/96")
#: RFC 4291, 2.5.5.1: obsolete, but some systems still connect to what is in it.
_COMPATIBLE: Final = IPv6Network("::/96")
_LOW: Final = 0xFFFFFFFF


class RefusedError(Exception):
    """A download may not go there. `str()` names the address, without a path."""


class NotFoundError(Exception):
    """The name has no address."""


@dataclass(frozen=True, slots=True)
class Rules:
    ports: frozenset[int]
    #: Networks that may be reached though they are not of the open internet.
    also: tuple[Network, ...] = ()


def networks(words: Sequence[str]) -> tuple[Network, ...]:
    """Raises `ValueError` for what is no network."""
    return tuple(ip_network(word, strict=False) for word in words)


def unwrap(address: Address) -> Address:
    """The address that is reached in the end: IPv6 has four ways of naming an IPv4 one."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    loopback_or_none = int(address) <= 1
    if address in _NAT64 or (address in _COMPATIBLE and not loopback_or_none):
        return IPv4Address(int(address) & _LOW)
    return address


def may_reach(address: Address, rules: Rules) -> bool:
    inner = unwrap(address)
    if any(inner.version == each.version and inner in each for each in rules.also):
        return True
    # Python counts multicast as global.
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, once. Raises `NotFoundError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotFoundError(host) from None
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def judged(host: str, port: int, addresses: Sequence[str], rules: Rules) -> list[str]:
    """The addresses, all of which may be reached. Raises `RefusedError`.

    One that may not be is enough: a name that mixes both is a trap, or a mistake.
    """
    if port not in rules.ports:
        raise RefusedError(f"port {port} of {host}")
    for each in addresses:
        # A scope, as in fe80::1%eth0, is of this machine's links.
        if "%" in each or not may_reach(ip_address(each), rules):
            raise RefusedError(host if host == each else f"{host}, which is {each}")
    return list(addresses)
