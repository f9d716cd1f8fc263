"""Which addresses may be asked for others: the open internet's, whatever form they are in."""

from __future__ import annotations

import pytest

from streamsite.addresses import RefusedError, Rules, is_public, judged, may_reach, networks

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
    assert not is_public(address)
    assert not may_reach(address, OPEN)
    with pytest.raises(RefusedError):
        judged("name.example", 443, [address], OPEN)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)
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


def test_a_scope_is_never_asked_for() -> None:
    with pytest.raises(RefusedError):
        judged("x", 80, ["fe80::1%eth0"], OPEN)
