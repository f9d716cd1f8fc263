"""The public status: only where allowed, cached, and nothing in it that not all may see."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from streams.models import Channel, ChannelState, Incident
from streams.tests import rows

pytestmark = pytest.mark.django_db

URLS = ("/channels/demo/status", "/channels/demo/status.json")
CAUSE = "Main: rtmp://secret.example.com/app refused it."
#: The fixture `django_assert_max_num_queries`.
Most = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    cache.clear()


@pytest.fixture
def public() -> Channel:
    channel = rows.channel(public_status=True)
    output = rows.output(channel, "Main", url="rtmp://secret.example.com/app")
    now = timezone.now()
    rows.node()
    rows.on_air(channel, cause=CAUSE, now_title="Secret film")
    Incident.objects.create(
        channel=channel, output=output, subject=f"output-{output.pk}", severity="lost",
        cause=CAUSE, opened_at=now - timedelta(seconds=30), closed_at=now,
    )  # fmt: skip
    return channel


@pytest.mark.parametrize("url", URLS)
def test_it_is_there_only_where_it_is_allowed(
    client: Client, public: Channel, url: str
) -> None:
    assert client.get(url).status_code == 200
    Channel.objects.update(public_status=False)
    assert client.get(url).status_code == 404
    client.force_login(rows.user("streams.view_channel"))
    assert client.get(url).status_code == 404
    assert client.get(url.replace("demo", "nobody")).status_code == 404
    assert client.post(url).status_code in {403, 404, 405}


def test_a_new_channel_is_not_public() -> None:
    assert not rows.channel("new").public_status


@pytest.mark.parametrize("url", URLS)
def test_nothing_in_it_is_secret(client: Client, public: Channel, url: str) -> None:
    answer = client.get(url)
    text = answer.content.decode()
    assert "Demo" in text
    for secret in (rows.KEY, "example.com", "refused", "Main", "here", "Secret film", "ada"):
        assert secret not in text, secret
    assert not answer.cookies
    assert answer["Cache-Control"] == "public, max-age=15"
    assert "Cookie" not in answer.get("Vary", "")


def test_the_data(client: Client, public: Channel) -> None:
    answer = client.get(URLS[1])
    body = answer.json()
    assert (body["name"], body["state"], body["label"]) == ("Demo", "on_air", "On the air")
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert len(body["days"]) == 90
    assert {day["level"] for day in body["days"][:-2]} == {"none"}
    assert body["percent_90_days"] == pytest.approx(50, abs=2), "its only output was lost"


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"state": "failing"}, "down"),
        ({"state": "degraded"}, "degraded"),
        # A worker that reports nothing: not the last good state.
        ({"measured_at": None}, "unknown"),
        ({"state": "a_state_of_later"}, "unknown"),
    ],
)
def test_states(client: Client, public: Channel, change: dict[str, Any], state: str) -> None:
    if "measured_at" in change:
        change = {"measured_at": timezone.now() - timedelta(seconds=20)}
    ChannelState.objects.update(**change)
    assert client.get(URLS[1]).json()["state"] == state


@pytest.mark.parametrize("url", URLS)
def test_many_requests_compute_it_once(
    client: Client, public: Channel, url: str, django_assert_max_num_queries: Most
) -> None:
    first = client.get(url)
    ChannelState.objects.update(state="failing")
    with django_assert_max_num_queries(1):
        again = client.get(url)
    assert again.content == first.content
    same = client.get(url, headers={"if-none-match": first["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
