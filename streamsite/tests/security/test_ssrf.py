"""Which addresses may be asked for others: the open internet's, whatever form they are in."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from types import SimpleNamespace

import pytest

from streamsite.security import ssrf as module
from streamsite.security.ssrf import (
    RefusedError,
    Rules,
    judged,
    may_reach,
    networks,
    own_addresses,
)

OPEN = Rules(frozenset({80, 443}))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        "0.0.0.0",  # noqa: S104 - nothing is bound to it
        *("100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1"),
        *("::1", "::", "fe80::1", "fc00::1", "ff02::1", "2001:db8::1"),
        # IPv4 in IPv6's clothes: mapped, compatible, 6to4, Teredo, NAT64.
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "2002:7f00:1::"),
        *("2002:a00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "64:ff9b::7f00:1"),
        *("64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1"),
        # A site's own, whatever Python takes them for.
        *("64:ff9b:1::8.8.8.8", "fec0::1"),
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    assert not may_reach(address, OPEN)
    with pytest.raises(RefusedError):
        judged("name.example", 443, [address], OPEN)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_open_internet(address: str) -> None:
    assert judged("name.example", 443, [address], OPEN) == [address]


def test_one_bad_address_of_several_is_enough() -> None:
    with pytest.raises(RefusedError, match=r"name\.example, which is 10\.0\.0\.1"):
        judged("name.example", 80, ["93.184.216.34", "10.0.0.1"], OPEN)


def test_ports_are_those_of_the_list() -> None:
    with pytest.raises(RefusedError, match=r"port 22 of name\.example"):
        judged("name.example", 22, ["93.184.216.34"], OPEN)


def test_networks_of_the_operators_own() -> None:
    rules = Rules(frozenset({80}), networks(["10.1.0.0/16", "fd00::/8"]))
    assert judged("nas", 80, ["10.1.2.3", "fd00::5", "::ffff:10.1.2.3"], rules)
    with pytest.raises(RefusedError):
        judged("nas", 80, ["10.2.0.1"], rules)


def test_a_scope_is_never_requested_for() -> None:
    with pytest.raises(RefusedError):
        judged("x", 80, ["fe80::1%eth0"], OPEN)


# ---- this machine's own ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "requests"),
    [
        ("93.184.216.34", "93.184.216.34"),
        ("93.184.216.34", "::ffff:93.184.216.34"),
        ("2606:2800:220:1::1", "2606:2800:220:1:0:0:0:1"),
    ],
)
def test_a_public_address_of_this_machine_s_own_is_refused(
    own: str, requests: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On whatever port: the database and the ingest server's API may listen there."""
    family = socket.AF_INET6 if ":" in own else socket.AF_INET
    result = {"eth0": [SimpleNamespace(family=family, address=own)]}
    monkeypatch.setattr("psutil.net_if_addrs", lambda: result)
    rules = Rules(OPEN.ports, own=own_addresses())
    assert may_reach(requests, OPEN)
    assert not may_reach(requests, rules)
    with pytest.raises(RefusedError):
        judged("me.example", 443, [requests], rules)
    # Unless an operator named it.
    assert may_reach(requests, Rules(OPEN.ports, networks([own]), rules.own))


def test_what_the_site_s_names_lead_to_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a provider's router the public address is on no interface."""
    names = {"tv.example.org": ["93.184.216.34"], "example.org": ["93.184.216.35"]}

    def resolve(host: str, _: int) -> list[str]:
        if host not in names:
            raise module.NoAddressError(host)
        return names[host]

    monkeypatch.setattr(module, "resolve", resolve)
    own = own_addresses(["tv.example.org", ".example.org", "*", "gone.example"])
    rules = Rules(OPEN.ports, own=own)
    assert not may_reach("93.184.216.34", rules)
    assert not may_reach("93.184.216.35", rules)
    assert may_reach("93.184.216.36", rules)


def test_this_machine_has_addresses() -> None:
    assert ip_address("127.0.0.1") in own_addresses()
