"""Wrong passwords: for a name, from an address, and from a network of addresses."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse

from streamsite.api.login_limits import ACCOUNT_LIMIT, NETWORK_LIMIT, client_network

pytestmark = pytest.mark.django_db
LIMIT = 5


@pytest.fixture(autouse=True)
def users() -> None:
    for name in ("ada", "bob"):
        User.objects.create_superuser(name, password="right")


def login(name: str, address: str, password: str = "wrong") -> int:
    sent = {"username": name, "password": password}
    return Client(REMOTE_ADDR=address).post(reverse("admin:login"), sent).status_code


def may_log_in(name: str, address: str) -> bool:
    return login(name, address, "right") == 302


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_what_counts_as_one_visitor(address: str, network: str) -> None:
    request = RequestFactory().get("/")
    request.META["REMOTE_ADDR"] = address
    assert client_network(request) == network


def test_a_name_is_locked_from_where_it_was_tried_and_nowhere_else() -> None:
    for _ in range(LIMIT):
        login("ada", "203.0.113.7")
    assert not may_log_in("ada", "203.0.113.7")
    assert may_log_in("bob", "203.0.113.7")
    assert may_log_in("ada", "203.0.113.8")


def test_a_network_of_ipv6_addresses_is_one_visitor() -> None:
    for number in range(LIMIT):
        login("ada", f"2001:db8:1:2::{number:x}")
    assert not may_log_in("ada", "2001:db8:1:2:ffff::1")
    assert may_log_in("ada", "2001:db8:1:3::1")


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8:1:2::7"])
def test_many_names_from_one_address_are_locked_out(address: str) -> None:
    for number in range(NETWORK_LIMIT):
        login(f"nobody-{number}", address)
    assert not may_log_in("ada", address)
    assert may_log_in("ada", "198.51.100.1")


def test_a_name_that_is_tried_from_everywhere_is_locked() -> None:
    for number in range(ACCOUNT_LIMIT):
        login("ada", f"198.51.100.{number}")
    assert not may_log_in("ada", "203.0.113.7")
    assert may_log_in("bob", "203.0.113.7")
