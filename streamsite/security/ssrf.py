"""Decides which addresses the site may open for others: webhooks, videos, pages.

Pure, except `resolve` and `own_addresses`. Callers connect to the very
addresses that were judged: a name that answers otherwise a moment later (DNS rebinding) gains
nothing.
"""

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

import psutil

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: IPv4 in the last 32 bits: translated by whoever is on the way (RFC 6052), or, as RFC 4291
#: had it in 2.5.5.1, obsolete, connected to by some systems still.
_IPV4_WITHIN: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
#: Local networks that some releases of Python take for global: translated as the site likes
#: (RFC 8215), and what RFC 3879 took out of use.
_LOCAL: Final = (IPv6Network("64:ff9b:1::/48"), IPv6Network("fec0::/10"))
_LOW: Final = 0xFFFFFFFF


class RefusedError(Exception):
    """Nobody may go there. `str()` names the address, without a path."""


class NoAddressError(Exception):
    """The name has no address."""


@dataclass(frozen=True, slots=True)
class Rules:
    ports: frozenset[int]
    #: Networks that may be reached though they are not of the open internet.
    also: tuple[Network, ...] = ()
    #: This machine's own addresses: behind a public one stands what only it may reach.
    own: frozenset[Address] = frozenset()


def networks(words: Sequence[str]) -> tuple[Network, ...]:
    """Raises `ValueError` for what is no network."""
    return tuple(ip_network(word, strict=False) for word in words)


def unwrap(address: Address) -> Address:
    """The address that is reached in the end: IPv6 has many ways of naming an IPv4 one."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    # Loopback and none at all are the first two of ::/96.
    if int(address) > 1 and any(address in network for network in _IPV4_WITHIN):
        return IPv4Address(int(address) & _LOW)
    return address


def _is_public(inner: Address) -> bool:
    if isinstance(inner, IPv6Address) and any(inner in network for network in _LOCAL):
        return False
    # Python counts multicast as global.
    return inner.is_global and not inner.is_multicast and not inner.is_reserved


def may_reach(address: str, rules: Rules) -> bool:
    """Whether it is on the open internet, whatever form it is written in, or excepted."""
    # A scope, as in fe80::1%eth0, is of this machine's links.
    if "%" in address:
        return False
    inner = unwrap(ip_address(address))
    if any(inner.version == net.version and inner in net for net in rules.also):
        return True
    return inner not in rules.own and _is_public(inner)


def own_addresses(names: Sequence[str] = ()) -> frozenset[Address]:
    """Addresses of this machine's interfaces, and those that the site's own names resolve to.

    Behind a router of the provider's the public address is on no interface: the site's name
    leads to it. Asks the resolver; a name that has no address adds nothing.
    """
    addresses = {
        str(interface.address)
        for interfaces in psutil.net_if_addrs().values()
        for interface in interfaces
        if interface.family in {socket.AF_INET, socket.AF_INET6}
    }
    for name in names:
        try:
            addresses.update(resolve(name.lstrip("."), 443) if name != "*" else ())
        except NoAddressError:
            continue
    return frozenset(unwrap(ip_address(text.partition("%")[0])) for text in addresses)


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, once. Raises `NotFoundError`."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NoAddressError(host) from None
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def judged(host: str, port: int, addresses: Sequence[str], rules: Rules) -> list[str]:
    """The addresses, all of which may be reached. Raises `RefusedError`.

    One that may not be is enough: a name that mixes both is a trap, or a mistake.
    """
    if port not in rules.ports:
        raise RefusedError(f"port {port} of {host}")
    for address in addresses:
        if not may_reach(address, rules):
            raise RefusedError(host if host == address else f"{host}, which is {address}")
    return list(addresses)


def connected(addresses: Sequence[str], port: int, patience: float) -> socket.socket:
    """To the first that takes it, within so many seconds each. Raises `OSError`."""
    fault: OSError = ConnectionError("It has no address.")
    for address in addresses:
        try:
            return socket.create_connection((address, port), patience)
        except OSError as error:
            fault = error
    raise fault
