"""A drill on a real node that sends to a real server."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from streams.drill.promises import PROMISES, Fault
from streams.models import Channel, Drill, Incident
from streams.monitoring.uptime.figures import uptimes
from streams.tests.bench.clips import Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streamsite.accounts.models import AuditEntry

pytestmark = pytest.mark.slow

KEY = "k-drill"


def drilled(capsys: pytest.CaptureFixture[str], *chosen: Fault) -> list[dict[str, Any]]:
    """The results that the command prints; it exits with 0 or 1."""
    arguments = [f"--fault={fault}" for fault in chosen]
    # A promise may be missed on a busy machine; that is checked by what was measured.
    with suppress(SystemExit):
        call_command("drill", "test", "--json", *arguments)
    results: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["results"]
    assert [one["fault"] for one in results] == [fault.value for fault in chosen]
    return results


def test_player_hub_uplink_and_pusher_are_drilled(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip], capsys: pytest.CaptureFixture[str]
) -> None:
    """One session survives the first three; what is lost is planned, and in the history."""
    channel = node.channel(node.item(shelf[4]), node.item(shelf[3]))
    Channel.objects.update(test_channel=True)
    node.output(channel, server.address, KEY)
    node.air(channel)

    kept = drilled(capsys, Fault.PLAYER, Fault.HUB, Fault.UPLINK, Fault.DATABASE)
    assert server.sessions(KEY) == 1
    assert all(one["measured"]["session_kept"] for one in kept)
    (ended,) = drilled(capsys, Fault.PUSHER)
    assert server.sessions(KEY) == 2

    for one in [*kept, ended]:
        measured = one["measured"]
        late = measured["recovered_s"] > one["within_s"]
        lost = measured["air_lost_s"] > PROMISES[Fault(one["fault"])].air_lost_s
        assert one["verdict"] == ("missed" if late or lost else "kept"), one
    assert set(Drill.objects.values_list("status", flat=True)) == {"done"}
    assert AuditEntry.objects.filter(sentence__contains="player, hub, uplink").exists()

    noted = Incident.objects.filter(subject="drill", severity="planned").order_by("pk")
    assert [one.cause.partition(",")[0] for one in noted] == [
        "Drill: player killed",
        "Drill: hub killed",
        "Drill: uplink stalled",
        "Drill: database busy",
        "Drill: pusher killed",
    ]
    assert Incident.objects.filter(severity="lost").exists()
    start = noted[0].opened_at
    (figures,) = uptimes(timezone.now(), span=(start, timezone.now()))
    assert figures.periods["span"].off_air_seconds == 0
    assert figures.outputs[0].periods["span"].off_air_seconds == 0
    assert figures.outputs[0].periods["span"].planned_seconds > 0
