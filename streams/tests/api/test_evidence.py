"""Evidence of incidents: written with the history, and given to those who may see it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from streams.models import Channel, Evidence, Incident
from streams.node import history_writer
from streams.playout.contract import ledger
from streams.tests import rows

pytestmark = [pytest.mark.django_db, pytest.mark.database]

BEGAN = datetime(2026, 11, 30, 21, 0, 6, 500_000, tzinfo=UTC)
JPEG = b"\xff\xd8 a picture \xff\xd9"


@pytest.fixture
def channel() -> Channel:
    return rows.channel()


def written(channel: Channel, clip: str = "1-picture.ts", still: bytes = JPEG) -> Incident:
    """An incident and its evidence, as the node writes them."""
    run = rows.on_air(channel)
    at = BEGAN.timestamp()
    opened = ledger.IncidentOpened(
        channel.pk, run.pk, "picture", None, "degraded", "The picture is black.", at
    )
    kept = ledger.Evidence(channel.pk, run.pk, "picture", at, still, clip)
    history_writer.write([opened, kept])
    # After a database that did not answer, notes come again.
    history_writer.write([opened, kept])
    return Incident.objects.get()


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(rows.user("streams.view_channel", "streams.view_incident"))
    return client


def test_the_still_is_shown_to_those_who_may_see_the_incident(
    channel: Channel, client: Client
) -> None:
    incident = written(channel)
    address = f"/api/v1/channels/{channel.slug}/incidents"
    answer = client.get(f"{address}/{incident.pk}/still.jpg")
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/jpeg")
    assert answer.content == JPEG
    (listed,) = client.get(address).json()["items"]
    assert (listed["has_still"], listed["has_clip"]) == (True, True)
    stranger = Client()
    stranger.force_login(rows.user("streams.view_channel", name="bob"))
    assert stranger.get(f"{address}/{incident.pk}/still.jpg").status_code == 403
    other = rows.channel("other")
    assert (
        client.get(
            f"/api/v1/channels/{other.slug}/incidents/{incident.pk}/still.jpg"
        ).status_code
        == 404
    )


def test_the_clip_is_read_where_it_is_kept(
    channel: Channel, client: Client, settings: Settings, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "1-picture.ts").write_bytes(b"G" * 188)
    incident = written(channel)
    address = f"/api/v1/channels/{channel.slug}/incidents/{incident.pk}/clip.ts"
    answer = client.get(address)
    assert answer.status_code == 200
    assert answer.getvalue() == b"G" * 188
    (tmp_path / "evidence" / "1-picture.ts").unlink()
    assert client.get(address).status_code == 404
    Evidence.objects.update(node="elsewhere")
    answer = client.get(address)
    assert answer.status_code == 409
    assert "on node elsewhere" in answer.json()["detail"]


@pytest.mark.parametrize("part", ["still.jpg", "clip.ts"])
def test_an_incident_without_evidence_is_not_found(
    channel: Channel, client: Client, part: str
) -> None:
    incident = written(channel, clip="", still=b"")
    address = f"/api/v1/channels/{channel.slug}/incidents/{incident.pk}/{part}"
    assert client.get(address).status_code == 404
    Evidence.objects.all().delete()
    assert client.get(address).status_code == 404


def test_the_incident_s_page_shows_it(channel: Channel, admin_client: Client) -> None:
    incident = written(channel)
    page = admin_client.get(f"/admin/streams/incident/{incident.pk}/change/")
    assert f"incidents/{incident.pk}/still.jpg" in page.content.decode()
    Evidence.objects.all().delete()
    assert admin_client.get(f"/admin/streams/incident/{incident.pk}/change/").status_code == 200


def test_only_files_of_the_evidence_folder_are_given(
    channel: Channel, client: Client, settings: Settings, tmp_path: Path
) -> None:
    """The name in the row is a worker's; a restored backup might hold any other."""
    settings.DATA_DIR = tmp_path
    (tmp_path / "evidence").mkdir()
    (tmp_path / "secret.key").write_text("secret")
    incident = written(channel, clip="../secret.key")
    address = f"/api/v1/channels/{channel.slug}/incidents"
    Evidence.objects.update(node=settings.NODE_NAME)
    for clip in ("../secret.key", str(tmp_path / "secret.key"), ".", ".."):
        Evidence.objects.update(clip=clip)
        assert client.get(f"{address}/{incident.pk}/clip.ts").status_code == 404
    assert client.get(f"{address}/{'9' * 30}/clip.ts").status_code == 422
