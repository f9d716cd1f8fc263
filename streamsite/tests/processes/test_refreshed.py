"""Many ask for a slow result: one makes it, few wait, and no page is held up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from streamsite.http.wsgi_bridge import Bridge
from streamsite.processes.refreshed import Refreshed
from streamsite.tests.http.test_wsgi_bridge import Client, scope
from streamsite.tests.waiting import until

#: Seconds: longer than any test.
LONG = 60.0


class Slow:
    """Answers only when it may."""

    def __init__(self) -> None:
        self.go_on, self.calls, self.fails = threading.Event(), 0, False

    def __call__(self, key: str) -> str:
        self.calls += 1
        self.go_on.wait(LONG)
        if self.fails:
            raise OSError("It is away.")
        return f"{key} {self.calls}"


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.go_on.set()


def results(slow: Slow, **options: Any) -> Refreshed[str, str]:
    return Refreshed(slow, "test", **{"kept_s": LONG, **options})


def test_forty_request_at_once_and_one_check_is_made(slow: Slow) -> None:
    match = results(slow)
    with ThreadPoolExecutor(40) as many:
        requests = [many.submit(match.get, "a", fresh_s=9, wait_s=LONG) for _ in range(40)]
        # All but the two that wait are answered while nothing is known.
        until(lambda: sum(item.done() for item in requests) == 38, LONG, "most are answered")
        assert {item.result() for item in requests if item.done()} == {None}
        slow.go_on.set()
        values = [item.result() for item in requests]
    assert sorted(value.value for value in values if value) == ["a 1", "a 1"]
    assert slow.calls == 1


def test_an_old_result_is_shown_with_its_age_while_a_newer_one_is_made(slow: Slow) -> None:
    match = results(slow)
    slow.go_on.set()
    first = match.get("a", fresh_s=9, wait_s=LONG)
    assert first is not None
    slow.go_on.clear()
    again = match.get("a", fresh_s=0, wait_s=0)
    assert again is not None
    assert (again.value, again.age_s >= first.age_s) == ("a 1", True)
    slow.go_on.set()
    until(lambda: value_of(match) == "a 2", LONG, "the newer one is there")


def value_of(match: Refreshed[str, str]) -> str:
    result = match.get("a", fresh_s=LONG, wait_s=0)
    return result.value if result else ""


def test_what_is_too_old_is_not_shown(slow: Slow) -> None:
    match = results(slow, kept_s=0)
    slow.go_on.set()
    assert match.get("a", fresh_s=9, wait_s=LONG) is None
    assert slow.calls == 1


def test_one_that_fails_is_made_again(slow: Slow) -> None:
    match = results(slow)
    slow.fails = True
    slow.go_on.set()
    assert match.get("a", fresh_s=9, wait_s=LONG) is None
    slow.fails = False
    until(lambda: value_of(match) != "", LONG, "it is made again")
    assert slow.calls >= 2


def test_keys_are_apart(slow: Slow) -> None:
    match = results(slow, threads=2)
    slow.go_on.set()
    one, other = (match.get(key, fresh_s=9, wait_s=LONG) for key in "ab")
    assert one is not None
    assert other is not None
    assert (one.value[0], other.value[0]) == ("a", "b")


def test_sixty_questions_to_a_storage_that_hangs_hold_up_no_page(slow: Slow) -> None:
    """As the web has it: four threads here, two of which may wait."""
    match = results(slow)

    def site(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/health":
            return [b"ok"]
        result = match.get("storage", fresh_s=9, wait_s=LONG)
        return [b"being checked" if result is None else result.value.encode()]

    async def call(bridge: Bridge, path: str, address: str) -> bytes:
        client = Client(b"")
        await bridge({**scope(path), "client": (address, 1)}, client.receive, client.send)
        return client.body

    async def all_of_it() -> tuple[bytes, list[bytes]]:
        bridge = Bridge(site, 4, largest=10**6)
        requests = [
            asyncio.create_task(call(bridge, "/detailed", f"203.0.113.{n}")) for n in range(60)
        ]
        began = time.monotonic()
        health = await call(bridge, "/health", "198.51.100.1")
        waiting = sum(not item.done() for item in requests)
        assert time.monotonic() - began < LONG / 2
        assert waiting >= 2
        slow.go_on.set()
        return health, list(await asyncio.gather(*requests))

    health, answers = asyncio.run(all_of_it())
    assert health == b"ok"
    assert answers.count(b"storage 1") >= 2
    assert slow.calls == 1
