"""The site as deploy/nginx has it: over a unix socket, with real addresses and open streams."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.utils import timezone
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from streams.models import Channel
from streams.tests import rows
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.tests.serving import Served, behind_nginx, served
from streamsite.tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def site(transactional_db: None, tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, bind="unix") as running, behind_nginx(tmp_path, running) as site:
        yield site
    assert "Traceback" not in running.log.read_text()


def a_key(*addresses: str) -> dict[str, str]:
    _, key = keys.mint(
        "tests",
        KeyPermission.READ_ONLY,
        by="ada",
        now=timezone.now(),
        allowed_addresses=addresses,
    )
    return {"X-API-Key": key.reveal()}


def test_streams_pages_and_addresses(site: Served) -> None:
    channel = rows.channel()
    here, elsewhere = a_key("127.0.0.1"), a_key("203.0.113.7")
    path = f"{site.ws}/ws/channels/demo"
    with connect(path, additional_headers=here) as mine:
        assert json.loads(mine.recv(timeout=5))["type"] == "snapshot"
        with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)) as line:
            line.request("GET", "/api/v1/channels/demo/events", headers=here)
            with line.getresponse() as stream:
                assert stream.status == 200
                until(lambda: stream.readline().startswith(b"data: "), 60, "its first event")
                Channel.objects.filter(pk=channel.pk).update(desired_state="on")
                assert json.loads(mine.recv(timeout=5))["data"]["desired_state"] == "on"
                # nginx keeps nothing back.
                event = until(
                    lambda: stream.readline().removeprefix(b"data: ").strip(), 60, "it"
                )
                assert json.loads(event)["data"]["desired_state"] == "on"
    # nginx's word is the visitor's address, and a visitor can't put another into its mouth.
    for wrong in (elsewhere, elsewhere | {"X-Real-IP": "203.0.113.7"}):
        with (
            pytest.raises(InvalidStatus) as caught,
            connect(path, additional_headers=wrong),
        ):
            pass
        assert caught.value.response.status_code == 403
        with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)) as line:
            line.request(
                "GET", "/api/v1/channels", headers=wrong | {"X-Request-ID": "mine-4711"}
            )
            with line.getresponse() as answer:
                assert answer.status == 403
                assert answer.headers["X-Request-ID"] == "mine-4711"
