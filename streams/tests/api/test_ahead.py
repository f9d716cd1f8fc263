"""API routes for the preview, pictures, nodes and logs."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from streams.models import Channel, LogLine, UpcomingProblem
from streams.tests import rows
from streamsite.api.permissions import KeyPermission
from streamsite.tests.api_calls import ApiCall, api_caller

pytestmark = pytest.mark.django_db

PNG = Path(__file__).parents[3] / "media_library" / "conform" / "assets" / "slate.png"


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path
    # Set again, so that Django discards the storage object it has opened.
    settings.STORAGES = dict(settings.STORAGES)


@pytest.fixture
def call(client: Client) -> ApiCall:
    return api_caller(client, KeyPermission.ADMIN)


# ---- ahead -----------------------------------------------------------------------------------
def test_the_programme_and_its_reasons(call: ApiCall) -> None:
    rows.channel()
    status, body = call("GET", "channels/demo/programme?hours=1")
    assert (status, body["presumed"]) == (200, True)
    first, second = body["programme"][:2]
    assert [first["title"], second["title"]] == ["First", "Second"]
    assert (first["rule"], first["seconds"], first["ends"]) == (
        "Base playlist",
        60,
        second["begins"],
    )
    status, answer = call("GET", f"channels/demo/why?at={second['begins']}")
    assert (status, answer["tense"], answer["claims"]) == (200, "will be", [])
    assert "off" in answer["notes"][-1]
    assert call("GET", "channels/demo/why")[0] == 200
    assert call("GET", "channels/demo/programme?hours=49")[0] == 422
    assert call("GET", "channels/demo/why?at=yesterday")[0] == 422


def test_blocks_that_cover_a_time_are_listed(call: ApiCall) -> None:
    block = rows.block(rows.channel(time_zone="UTC"), days=127)
    at = (timezone.now() + timedelta(days=1)).replace(hour=21, minute=0)
    status, answer = call("GET", f"channels/demo/why?at={at:%Y-%m-%dT%H:%M:%SZ}")
    (claim,) = answer["claims"]
    assert (status, claim["block_id"], claim["block"]) == (200, block.pk, "Evening")
    assert claim["wins"] is True
    assert answer["line"]["rule"] == "Evening"


def test_a_private_guide_needs_a_key(call: ApiCall) -> None:
    rows.channel()
    status, guide = call("GET", "channels/demo/guide.xml")
    assert (status, guide[:5]) == (200, b"<?xml")


def test_preflight_lists_findings(call: ApiCall) -> None:
    rows.channel(playlist=None)
    status, body = call("GET", "channels/demo/preflight")
    assert (status, body["findings"][0]) == (
        200,
        {
            "check": "programme",
            "detail": "Demo has no playlist. Choose one in its settings.",
            "stops_the_start": True,
        },
    )


def test_upcoming_problems_are_listed_and_filtered(call: ApiCall) -> None:
    channel, now = rows.channel(), timezone.now()
    for number in range(3):
        UpcomingProblem.objects.create(
            channel=channel,
            subject=f"missing-{number}",
            sentence=f"{number} is gone.",
            airs_at=now + timedelta(hours=number),
            cleared_at=None if number else now,
        )
    status, body = call("GET", "upcoming-problems?open=true&channel=demo&limit=1")
    assert (status, body["items"][0]["sentence"]) == (200, "1 is gone.")
    rest = call("GET", f"upcoming-problems?open=true&cursor={body['next_cursor']}")[1]
    assert [item["sentence"] for item in rest["items"]] == ["2 is gone."]
    assert (
        call("GET", "forewarnings?open=true")[1]
        == call("GET", "upcoming-problems?open=true")[1]
    )


def test_a_week_of_blocks_is_copied(call: ApiCall) -> None:
    monday = date(2026, 3, 2)
    rows.block(rows.channel(), "Gala", first_day=monday, last_day=monday)
    week = {"week": "2026-03-04", "to": "2026-03-12"}
    status, body = call("POST", "channels/demo/copy-week", week)
    assert status == 201
    assert [block["first_day"] for block in body["blocks"]] == ["2026-03-09"]
    assert call("POST", "channels/demo/copy-week", week)[1]["blocks"] == []
    for wrong in (week | {"to": "2026-03-02"}, week | {"week": "2026-05-01"}):
        status, refused = call("POST", "channels/demo/copy-week", wrong)
        assert (status, refused["type"]) == (422, "urn:streamsite:problem:refused")


# ---- pictures --------------------------------------------------------------------------------
def test_a_logo_is_set_returned_and_removed(call: ApiCall, ffmpeg: str) -> None:
    rows.channel()
    assert call("GET", "channels/demo/logo")[0] == 404
    picture = PNG.read_bytes()
    status, body = call("PUT", "channels/demo/logo", picture)
    assert (status, bool(body["logo"])) == (200, True)
    assert Channel.objects.get().house_format.logo is not None
    assert call("GET", "channels/demo/logo") == (200, picture)
    for wrong in (b"GIF89a", picture[:100], b"\x89PNG\r\n\x1a\n" + b"\0" * (3 << 20)):
        status, refused = call("PUT", "channels/demo/logo", wrong)
        assert (status, refused["type"]) == (422, "urn:streamsite:problem:refused")
    assert call("GET", "channels/demo/logo") == (200, picture)
    assert call("DELETE", "channels/demo/logo") == (204, None)
    assert Channel.objects.get().logo == ""


def test_a_channel_that_is_off_has_no_picture(call: ApiCall) -> None:
    rows.channel()
    assert call("GET", "channels/demo/picture.jpg")[0] == 404


# ---- machines --------------------------------------------------------------------------------
def test_nodes_and_process_logs_are_listed(call: ApiCall) -> None:
    channel = rows.channel()
    rows.node()
    status, body = call("GET", "nodes")
    assert (status, body["items"][0]["name"]) == (200, "here")
    for level in ("info", "warning"):
        LogLine.objects.create(
            channel=channel, at=timezone.now(), role="hub", level=level, text=level
        )
    lines = call("GET", "channels/demo/log")[1]["items"]
    assert [line["text"] for line in lines] == ["warning", "info"]
    (line,) = call("GET", "channels/demo/log?level=warning")[1]["items"]
    assert (line["role"], line["text"]) == ("hub", "warning")
