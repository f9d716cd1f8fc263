"""Orders of drills: who may, which channel, and what becomes of those that nobody runs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from streams import tasks
from streams.drill import runner
from streams.models import Channel, ChannelState, Drill, Incident, Run
from streams.tests import rows
from streamsite.accounts.models import AuditEntry
from streamsite.api.permissions import KeyPermission
from streamsite.processes.claims import this_process
from streamsite.tests.api_calls import api_caller

pytestmark = pytest.mark.django_db

PAGE = "/admin/drills/demo/"


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


@pytest.fixture
def channel() -> Channel:
    """A channel on air, according to its node."""
    made = rows.channel(desired_state="on")
    now = timezone.now()
    ChannelState.objects.create(
        channel=made,
        owner=settings.NODE_NAME,
        lease_until=now + timedelta(minutes=1),
        state="on_air",
        on_air_since=now,
        run=Run.objects.create(channel=made),
    )
    return made


@pytest.fixture
def engineer(client: Client) -> Client:
    permissions = ("view_channel", "view_drill", "add_drill")
    client.force_login(rows.user(*(f"streams.{name}" for name in permissions)))
    return client


def drill(of: Channel, **fields: object) -> Drill:
    usual = {"node": settings.NODE_NAME, "requested_by": "ada", "created_at": timezone.now()}
    return Drill.objects.create(channel=of, **usual | {"faults": ["hub"]} | fields)


def test_the_page_requires_a_confirmation_and_shows_the_effects(
    engineer: Client, channel: Channel
) -> None:
    page = engineer.get(PAGE).content.decode()
    assert "The picture freezes for about two seconds." in page
    assert "Demo is not a test channel. Its viewers may see these faults." in page
    assert "Only the firewall (root)" in page

    answer = engineer.post(PAGE, {"fault": ["hub"]}, follow=True).content.decode()
    assert "is not marked as a test channel" in answer
    assert "Choose at least one fault." in engineer.post(PAGE, follow=True).content.decode()
    assert not Drill.objects.exists()

    answer = engineer.post(
        PAGE, {"fault": ["hub", "player", "no such"], "confirmed": "1"}, follow=True
    ).content.decode()
    assert "The drill of Demo is ordered." in answer
    assert "Waiting".lower() in answer
    row = Drill.objects.get()
    assert (row.faults, row.node) == (["player", "hub"], settings.NODE_NAME)
    assert OrmQ.objects.count() == 1
    assert AuditEntry.objects.get(event="order").sentence == "Drill (player, hub) ordered."

    channel.test_channel = True
    channel.save()
    again = engineer.post(PAGE, {"fault": ["hub"]}, follow=True).content.decode()
    assert f"Demo is being drilled on {settings.NODE_NAME}." in again
    with pytest.raises(IntegrityError):
        drill(channel)


def test_a_channel_off_air_is_refused_by_the_page_and_the_command(
    engineer: Client, channel: Channel
) -> None:
    ChannelState.objects.update(state="degraded", cause="The slate is on.")
    assert "The slate is on." in engineer.get(PAGE).content.decode()
    with pytest.raises(CommandError, match="The slate is on") as refused:
        call_command("drill", "demo", "--yes-this-channel")
    assert refused.value.returncode == 2


def test_only_those_who_may_order_a_drill(client: Client, channel: Channel) -> None:
    client.force_login(rows.operator())
    assert client.get(PAGE).status_code == 403
    assert client.post(PAGE, {"fault": ["hub"], "confirmed": "1"}).status_code == 403
    assert not Drill.objects.exists()


def test_a_worker_runs_the_drills_of_its_node_and_hands_on_the_others(
    channel: Channel, settings: Settings
) -> None:
    drill(channel, node="another")
    assert tasks.run_drills(2) == "0 drills run."
    assert OrmQ.objects.count() == 1
    assert tasks.run_drills(0) == "0 drills run."
    assert OrmQ.objects.count() == 1


def test_a_drill_whose_process_was_killed_is_closed_and_in_the_history(
    channel: Channel,
) -> None:
    began = timezone.now() - timedelta(seconds=20)
    # The machine and the pid are right, the start time is that of an earlier process.
    gone = this_process() + "0"
    row = drill(channel, status="running", worker=gone, fault="hub", fault_at=began)
    assert runner.close_abandoned() == 1
    row.refresh_from_db()
    assert (row.status, row.note) == ("failed", "The process that ran it has ended.")
    incident = Incident.objects.get()
    assert incident.cause == "Drill: hub killed, ordered by ada."
    assert (incident.severity, incident.opened_at) == ("planned", began)

    living = drill(channel, status="running", worker=this_process())
    assert runner.close_abandoned() == 0
    living.delete()
    old = timezone.now() - timedelta(minutes=6)
    drill(channel, created_at=old)
    assert runner.close_abandoned() == 1
    assert "jobs" in Drill.objects.filter(created_at=old).get().note


def test_the_api_orders_a_drill_and_returns_its_results(
    client: Client, channel: Channel
) -> None:
    call = api_caller(client, KeyPermission.ADMIN)
    path = "channels/demo/drills"
    status, refused = call("POST", path, {"faults": ["hub"]})
    assert (status, refused["status"]) == (409, 409)
    assert "is not marked as a test channel" in refused["detail"]
    assert call("POST", path, {"faults": ["moon"]})[0] == 422

    status, ordered = call("POST", path, {"faults": ["hub"], "confirmed": True})
    assert (status, ordered["status"]) == (202, "ordered")
    assert OrmQ.objects.count() == 1
    assert AuditEntry.objects.get(event="order").sentence == "Drill (hub) ordered."
    measured = {"fault": "hub", "label": "Hub killed", "at": "2026-01-01T00:00:00Z"}
    measured |= {"promise": "Back in 5 s.", "verdict": "kept", "reason": ""}
    Drill.objects.update(results=[measured | {"within_s": 5.0, "measured": {"air": 1.9}}])
    (row,) = call("GET", path)[1]["items"]
    assert call("GET", f"{path}/{row['id']}") == (200, row)
    assert row["results"][0]["measured"] == {"air": 1.9}
    assert (
        api_caller(client, KeyPermission.DOWNLOAD)("POST", path, {"faults": ["hub"]})[0] == 403
    )
