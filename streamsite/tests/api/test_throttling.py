"""How often somebody may ask, and what becomes of who tries keys and passwords."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from streams.tests import rows
from streamsite.api import keys, throttling
from streamsite.api.models import ApiKey, Tally
from streamsite.api.permissions import KeyPermission
from streamsite.api.throttling import Allowance, count, peek, source

NOW = datetime(2026, 3, 1, 12, 0, 15, tzinfo=UTC)
NOW_MINUTE = throttling.minute_of(NOW)
LIST = "/api/v1/channels"
UNKNOWN = {"X-API-Key": "ssk_" + "a" * 43}


class Clock:
    """Stands, so that no test falls into two minutes."""

    now = NOW


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stopped = Clock()
    monkeypatch.setattr(timezone, "now", lambda: stopped.now)
    return stopped


def minted(requests_per_minute: int = 600) -> dict[str, str]:
    _, key = keys.mint(
        "Robot",
        KeyPermission.READ_ONLY,
        by="ada",
        now=NOW,
        requests_per_minute=requests_per_minute,
    )
    return {"X-API-Key": key.reveal()}


# ---- counting --------------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_tightest_limit_is_reported() -> None:
    limits = {"address a": 3, "key 1": 2}
    assert count(limits, NOW) == Allowance(2, 1, 45)
    assert count(limits, NOW) == Allowance(2, 0, 45)
    assert count(limits, NOW) == Allowance(2, 0, 45, exceeded=True)
    # Another key from there: the address is the tighter one by now.
    assert count({"address a": 3, "key 2": 2}, NOW) == Allowance(3, 0, 45, exceeded=True)
    assert count(limits, NOW + timedelta(seconds=44.5)).reset == 1
    assert count(limits, NOW + timedelta(seconds=45)) == Allowance(2, 1, 60)


@pytest.mark.django_db
def test_checking_counts_nothing() -> None:
    assert peek("wrong a", 1, NOW) == Allowance(1, 0, 45)
    throttling.note("wrong a", NOW)
    assert peek("wrong a", 1, NOW).exceeded
    assert peek("wrong a", 1, NOW).exceeded
    assert not peek("wrong a", 1, NOW + timedelta(minutes=1)).exceeded


@pytest.mark.django_db
def test_old_counts_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(throttling._swept, "minute", 0)
    count({"address a": 3}, NOW)
    late = NOW + timedelta(minutes=throttling.RETENTION_MINUTES + 1)
    count({"address b": 3}, late)
    assert list(Tally.objects.values_list("name", flat=True)) == ["address b"]


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_no_more_are_let_in_than_the_limit() -> None:
    def one(_: int) -> bool:
        try:
            return count({"address a": 150, "key 1": 1000}, NOW).exceeded
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        exceeded = list(pool.map(one, range(200)))
    assert exceeded.count(False) == 150


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [1, 7, 60, 1200])
def test_processes_share_a_limit_with_few_writes(
    limit: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    throttling.sweep(NOW_MINUTE)
    two = [throttling.Shares(), throttling.Shares()]
    requests = [two[number % 3 == 0] for number in range(limit * 2)]
    # Each also asks once to learn that nothing is left.
    with django_assert_max_num_queries(min(limit + len(two), 60)):
        reported = [item.take("address a", limit, NOW_MINUTE) for item in requests]
    let_in = [left for left in reported if left is not None]
    assert len(let_in) == limit
    assert reported[0] == limit - 1
    assert let_in[-1] == 0
    # Once it is used up, nothing is written any more.
    with django_assert_max_num_queries(0):
        assert {item.take("address a", limit, NOW_MINUTE) for item in two} == {None}
        assert two[0].take("address a", limit, NOW_MINUTE) is None


@pytest.mark.parametrize(
    ("address", "reported"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", "unknown"),
    ],
)
def test_whose_address_it_is(address: str, reported: str) -> None:
    assert source(address) == reported


# ---- the API ---------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_keys_requests_are_used_up_and_come_back(client: Client, clock: Clock) -> None:
    headers = minted(requests_per_minute=2)
    first = client.get(LIST, headers=headers)
    reported = {name: first[name] for name in first.headers if name.startswith("RateLimit-")}
    assert reported == {
        "RateLimit-Limit": "2",
        "RateLimit-Remaining": "1",
        "RateLimit-Reset": "45",
    }
    assert "Retry-After" not in first
    # Refused requests count as well, and show how many are left.
    assert client.post(LIST, headers=headers)["RateLimit-Remaining"] == "0"
    refused = client.get(LIST, headers=headers)
    assert (refused.status_code, refused["Retry-After"]) == (429, "45")
    assert refused.json()["type"] == "urn:streamsite:problem:too-many-requests"
    assert client.get(LIST, headers=minted()).status_code == 200
    clock.now += timedelta(seconds=45)
    assert client.get(LIST, headers=headers).status_code == 200


@pytest.mark.django_db
def test_an_address_has_a_limit_over_all_its_keys(
    client: Client, clock: Clock, settings: Settings
) -> None:
    settings.API_REQUESTS_PER_MINUTE = 3
    assert client.get(LIST, headers=minted())["RateLimit-Remaining"] == "2"
    assert client.get(LIST, headers=minted()).status_code == 200
    assert client.get(LIST, headers=minted()).status_code == 200
    assert client.get(LIST, headers=minted()).status_code == 429
    # The pages of staff ask every second.
    client.force_login(rows.operator())
    assert client.get(LIST).status_code == 200
    client.logout()
    assert client.get(LIST, headers=minted(), REMOTE_ADDR="203.0.113.9").status_code == 200


@pytest.mark.django_db
def test_who_tries_keys_is_held_up(client: Client, clock: Clock) -> None:
    good = minted()
    for _ in range(throttling.WRONG_KEYS):
        assert client.get(LIST, headers=UNKNOWN).status_code == 401
    for headers in (UNKNOWN, good):
        refused = client.get(LIST, headers=headers)
        assert (refused.status_code, refused["Retry-After"]) == (429, "45")
        assert refused.json()["type"] == "urn:streamsite:problem:too-many-failures"
    assert client.get(LIST, headers=good, REMOTE_ADDR="203.0.113.9").status_code == 200
    clock.now += timedelta(minutes=1)
    assert client.get(LIST, headers=good).status_code == 200


@pytest.mark.django_db
def test_a_key_that_expired_holds_nobody_up(client: Client, clock: Clock) -> None:
    expired, good = minted(), minted()
    ApiKey.objects.filter(pk=ApiKey.objects.earliest("pk").pk).update(expires_at=NOW)
    for _ in range(throttling.WRONG_KEYS + 1):
        assert client.get(LIST, headers=expired).status_code == 401
    assert client.get(LIST, headers=good).status_code == 200


# ---- the login -------------------------------------------------------------------------------
@pytest.mark.django_db
def test_who_tries_passwords_is_locked_out_from_there() -> None:
    rows.operator()
    login = reverse("admin:login")

    def tried(password: str, address: str) -> int:
        form = {"username": "ada", "password": password}
        return Client().post(login, form, REMOTE_ADDR=address).status_code

    reported = [tried(f"wrong {number}", "203.0.113.7") for number in range(6)]
    assert reported == [200, 200, 200, 200, 429, 429]
    assert tried("correct horse", "203.0.113.7") == 429
    # The operator's own address is another one.
    assert tried("correct horse", "203.0.113.8") == 302
