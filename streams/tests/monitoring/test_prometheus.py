"""`/metrics`: access and values."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from media_library.models import MediaItem
from streams.models import Incident
from streams.tests import rows
from streamsite.security.secret import Secret

pytestmark = pytest.mark.django_db
TOKEN = "token-of-a-scraper"


@pytest.fixture(autouse=True)
def nothing_kept(settings: Settings) -> None:
    cache.clear()
    settings.METRICS_TOKEN = Secret(TOKEN)
    settings.METRICS_ADDRESSES = []


def scrape(client: Client, token: str = TOKEN, address: str = "203.0.113.5") -> tuple[int, str]:
    answer = client.get(
        "/metrics", headers={"authorization": f"Bearer {token}"}, REMOTE_ADDR=address
    )
    return answer.status_code, answer.content.decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_need_the_token_or_a_listed_address(client: Client, settings: Settings) -> None:
    assert scrape(client)[0] == 200
    assert scrape(client, "another")[0] == 401
    assert scrape(client, "")[0] == 401
    settings.METRICS_ADDRESSES = ["203.0.113.0/24"]
    assert scrape(client, "")[0] == 200
    assert scrape(client, "", "::ffff:203.0.113.9")[0] == 200
    assert scrape(client, "", "198.51.100.1")[0] == 401
    assert scrape(client, "", "")[0] == 401
    settings.METRICS_TOKEN, settings.METRICS_ADDRESSES = Secret(""), []
    assert scrape(client, "")[0] == 404


def test_metrics_of_channels_on_and_off_air(client: Client) -> None:
    now = timezone.now()
    channel = rows.channel()
    output = rows.output(channel, "YouTube")
    rows.channel("other")
    rows.node(now - timedelta(seconds=4))
    rows.on_air(channel, at=now)
    Incident.objects.create(
        channel=channel, subject="output-9", severity="lost", cause="x", opened_at=now
    )
    MediaItem.objects.create(
        key="broken.mp4", title="Broken", status="fault", fault="It is cut off."
    )
    status, text = scrape(client)
    assert status == 200
    values = samples(text)

    def value(name: str, /, **labels: str) -> float | None:
        return values.get((f"streamsite_{name}", tuple(sorted(labels.items()))))

    assert value("channel_state", channel="demo", state="on_air") == 1
    assert value("channel_state", channel="demo", state="off") == 0
    assert value("channel_state", channel="other", state="off") == 1
    assert value("channel_ordered", channel="demo") == 1
    assert value("channel_bits_per_second", channel="demo") == 3_000_000
    assert value("channel_bits_per_second", channel="other") is None
    named = {"channel": "demo", "output": str(output.pk), "name": "YouTube"}
    assert value("output_state", state="on_air", **named) == 1
    assert value("output_bits_per_second", **named) == 2_900_000
    assert value("incidents_open", channel="demo", severity="lost") == 1
    assert value("media_items", status="fault") == 1
    assert value("media_items", status="ready") == 4
    silent = value("node_silent_seconds", node="here")
    assert silent is not None
    assert silent >= 4
    assert value("node_channels", node="here") == 1
    assert value("node_draining", node="here") == 0
    assert rows.KEY not in text


def test_silent_worker_is_unknown(client: Client) -> None:
    channel = rows.channel()
    long_ago = timezone.now() - timedelta(minutes=3)
    rows.node(long_ago)
    rows.on_air(channel, at=long_ago)
    values = samples(scrape(client)[1])
    place = (("channel", "demo"), ("state", "unknown"))
    assert values["streamsite_channel_state", place] == 1
