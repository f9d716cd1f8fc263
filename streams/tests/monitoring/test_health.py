"""`/health` for watchdogs, without a login."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from streams.tests import rows

pytestmark = pytest.mark.django_db


def test_ok_with_200(client: Client) -> None:
    rows.node()
    rows.on_air(rows.channel())
    answer = client.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ok"
    (channel,) = body["channels"]
    assert (channel["slug"], channel["desired_state"], channel["state"]) == (
        "demo",
        "on",
        "on_air",
    )
    assert "no-cache" in answer["Cache-Control"]


def test_degraded_is_still_200(client: Client) -> None:
    rows.node()
    rows.on_air(rows.channel(), state="degraded", cause="1 of 2 outputs is off the air.")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["channels"][0]["cause"] == "1 of 2 outputs is off the air."


def test_down_with_503_without_a_worker(client: Client) -> None:
    long_ago = timezone.now() - timedelta(minutes=3)
    rows.node(long_ago)
    rows.on_air(rows.channel(), at=long_ago)
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "down")


def test_health_contains_only_public_values(client: Client) -> None:
    channel = rows.channel()
    rows.output(channel, url="rtmp://studio.example/app", platform="rtmp")
    rows.node()
    rows.on_air(channel)
    text = client.get("/health").content.decode()
    assert rows.KEY not in text
    assert "studio.example" not in text
    assert "ada" not in text
