"""Values that a stranger sends: 400, 404 or 422, and never 500."""

from __future__ import annotations

import json
import random
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from media_library.models import MediaItem
from streams.tests import rows
from streamsite.api import crud
from streamsite.api.crud import Paging, paged
from streamsite.http import untrusted
from streamsite.http.problems import ProblemError
from streamsite.site.api_root import api
from streamsite.tests.api_calls import api_caller

DIGITS = "9" * 5000
#: Texts for ids, numbers, dates and words.
ODD = (
    "9" * 25,
    DIGITS,
    "-1",
    "0",
    "\u0663",  # a digit that is not ASCII
    "NaN",
    "1e999",
    "99999-01-01",
    "0001-01-01",
    "9999-12-31",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30",
    "\0",
    "a\0b",
    "' OR 1=1",
)
BODIES = (
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"name": NaN}',
    b'{"name": Infinity, "weight": 1e999}',
    b'{"name": "\\ud800"}',
    b'{"name": "a\\u0000b", "title": "a\\u0000b"}',
    b'{"name": ' + DIGITS.encode() + b"}",
    b'{"id": 99999999999999999999999, "ids": [99999999999999999999999]}',
    b"\xff\xfe",
    b"null",
    b"[]",
)


def some(count: int, place: str) -> list[str]:
    """So many of the odd values: others in each place, the same ones each time."""
    return random.Random(place).sample(ODD, count)  # noqa: S311 - the same each time


def cursor(*place: Any) -> str:
    return urlsafe_b64encode(json.dumps(place).encode()).decode()


CURSORS = (
    *("x", "=", "\u00e9", "AAAA", cursor(), cursor(1), cursor(1, 2, 3), cursor(None, 1)),
    *(
        cursor("a", 0),
        cursor("a", 2**63),
        cursor("a", *[True]),
        cursor("a", "1"),
        cursor({}, 1),
    ),
    *(cursor("a\0", 1), cursor("\ud800", 1), cursor(2**70, 1), cursor(float("nan"), 1)),
    *(cursor(float("inf"), 1), cursor("0001-01-01T00:00:00+14:00", 1)),
    *(cursor("9999-12-31T23:59:59-14:00", 1), cursor("0001-01-01", 1), cursor(*[True], 1)),
    *(cursor("2026-01-01T00:00:00+99:99", 1), cursor([1], 1), cursor("9" * 5000, 1)),
    urlsafe_b64encode(b"[" * 3000).decode(),
    urlsafe_b64encode(b"[" + DIGITS.encode()[:3000] + b",1]").decode(),
)


@pytest.mark.parametrize("text", [*ODD, "", " 1", "1_0", "+1", str(2**63)])
def test_number_is_a_rows_number_or_refused(text: str) -> None:
    result = untrusted.number_or_none(text)
    assert result is None or (0 <= result <= untrusted.MAX_INTEGER and str(result) == text)
    assert untrusted.number("9223372036854775807") == untrusted.MAX_INTEGER


@pytest.mark.parametrize("body", BODIES[:9])
def test_json_that_no_row_can_hold_is_refused(body: bytes) -> None:
    try:
        untrusted.json_of(body)
    except ValueError:
        return
    # The one that can be written again, whatever a field says of it.
    assert body.startswith(b'{"id"')


def test_json_with_the_text_of_an_escape_is_taken() -> None:
    text = json.dumps({"a": r"\u0000", "b": "\\", "c": 1.5})
    assert untrusted.json_of(text) == {"a": r"\u0000", "b": "\\", "c": 1.5}


def tampered(dice: random.Random, good: str) -> str:
    """The cursor, with some of it changed, left out or twice."""
    text = list(good)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(text))
        match dice.randrange(3):
            case 0:
                text[at] = dice.choice("ABCxyz019_-=+/ \u00e9")
            case 1:
                text[at : at + dice.randint(1, 6)] = []
            case _:
                text[at:at] = text[at : at + 3]
        text = text or ["="]
    return "".join(text)


@pytest.mark.django_db
def test_tampered_cursors_of_every_kind_of_column() -> None:
    rows.playlist("One", "Two", "Three")
    dice = random.Random(7)  # noqa: S311 - the same each time
    for order in ("-added_at", "title", "size_bytes", "-duration_seconds", "id"):
        good = crud.cursor_of(MediaItem.objects.all()[0], order.lstrip("-"))
        for text in (*CURSORS, *(tampered(dice, good) for _ in range(200))):
            requests = Paging.model_construct(limit=5, cursor=text)
            # Any other error fails the test.
            with suppress(ProblemError):
                paged(MediaItem.objects.all(), order, requests)


def routes() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in api.get_openapi_schema()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


@pytest.fixture
def things(db: None) -> None:
    channel = rows.channel()
    rows.playlist("One", "Two", name="Other")
    channel.runs.create(started_at=timezone.now())


def _filled(path: str, value: str) -> str:
    return re.sub(r"{[^}]*}", value, path)


def failed(status_of: Callable[[str], int], urls: Iterable[str]) -> list[str]:
    """The addresses that are answered with 500."""
    return [url for url in urls if status_of(url) >= 500]


def _odd_urls(path: str, operation: dict[str, Any]) -> Iterator[str]:
    requests = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"]
    there = _filled(path, "demo" if "slug" in path else "1")
    for name in requests:
        yield from (f"{there}?{name}={quote(value)}" for value in some(5, f"{path} {name}"))
    if "{" in path:
        yield from (_filled(path, quote(value)) for value in some(3, path))
    if "cursor" in requests:
        yield from (f"{there}?cursor={quote(text)}" for text in CURSORS[::4])


@pytest.mark.slow
@pytest.mark.usefixtures("things")
def test_no_value_of_a_query_or_path_makes_the_api_fail(client: Client, settings: Any) -> None:
    settings.API_REQUESTS_PER_MINUTE = 10**6
    client.raise_request_exception = False
    call = calls_without_limit(client)
    urls = [
        url
        for method, path, operation in routes()
        if method == "GET"
        for url in _odd_urls(path, operation)
    ]
    assert failed(lambda url: call("GET", url)[0], urls) == []


@pytest.mark.usefixtures("things")
def test_no_body_makes_the_api_fail(client: Client, settings: Any) -> None:
    settings.API_REQUESTS_PER_MINUTE = 10**6
    client.raise_request_exception = False
    call = calls_without_limit(client)
    result = []
    for method, path, operation in routes():
        if "application/json" not in operation.get("requestBody", {}).get("content", {}):
            continue
        for body in BODIES:
            status, _ = call(
                method, _filled(path, "1"), body, **{"Content-Type": "application/json"}
            )
            if status >= 500:
                result.append((status, method, path, body[:30]))
    assert result == []


def calls_without_limit(client: Client) -> Any:
    call = api_caller(client)
    from streamsite.api.models import ApiKey  # noqa: PLC0415 - Django's settings are chosen first

    ApiKey.objects.update(requests_per_minute=10**6)
    return call


#: Pages that take something from their address.
PAGES = (
    "/admin/calendar/demo/?week={}",
    "/admin/calendar/demo/preview/?day={}",
    "/admin/calendar/demo/preview/?from={}",
    "/admin/calendar/demo/why/?at={}",
    "/admin/as-run.csv?channel=demo&from={}",
    "/admin/as-run.csv?channel=demo&to={}",
    "/admin/as-run.csv?channel=demo&to=0001-01-01",
    "/admin/as-run.csv?channel={}",
    "/admin/live/broadcasters/{}/mint/",
    "/admin/media/playlists/{}/import/",
)


@pytest.fixture
def staff(client: Client, things: None) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    client.raise_request_exception = False
    return client


@pytest.mark.slow
def test_no_value_makes_a_page_fail(staff: Client) -> None:
    urls = [page.replace("{}", quote(value)) for page in PAGES for value in some(5, page)]
    assert failed(lambda url: staff.get(url).status_code, urls) == []


def _lists() -> Iterator[str]:
    """Addresses of the admin's lists and forms, with values that nobody would choose."""
    for model, site in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        try:
            listed = reverse(f"{name}_changelist")
        except NoReverseMatch:
            continue
        parameters = {"p", "o", "q", "id__exact"}
        for field in model._meta.concrete_fields:
            if field.get_internal_type() in {"DateTimeField", "DateField"}:
                parameters |= {f"{field.name}__year", f"{field.name}__gte"}
        for one in site.list_filter:
            plain = one if isinstance(one, str) else getattr(one, "parameter_name", None)
            if plain:
                parameters |= {plain, f"{plain}__exact", f"{plain}__id__exact"}
        for parameter in sorted(parameters):
            for value in (*some(1, f"{listed} {parameter}"), "99999"):
                yield f"{listed}?{parameter}={quote(value)}"
        yield from (f"{listed}{quote(value)}/change/" for value in some(3, listed))


# Django's own filter hands on a moment at the ends of the calendar without a zone.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:DateTimeField .* received a naive datetime:RuntimeWarning")
def test_no_filter_makes_a_list_of_the_admin_fail(staff: Client) -> None:
    assert failed(lambda url: staff.get(url).status_code, _lists()) == []
