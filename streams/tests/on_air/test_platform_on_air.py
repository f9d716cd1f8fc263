"""A platform says "ended" while bytes flow: beside a real node, FFmpeg and a real receiver."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from streams.models import AccountState, ChannelState, Incident, Output
from streams.outputs.platforms import Platform
from streams.platforms import reports, verdicts
from streams.playout.contract.states import OutputAir
from streams.tests.bench.clips import TEST_FORMAT, Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streams.tests.platforms.accounts import connected
from streams.tests.platforms.conftest import platform
from streams.tests.platforms.stand_in import StandIn

__all__ = ["platform"]

pytestmark = pytest.mark.slow

KEY = "k-platform"
BITRATE = TEST_FORMAT.video_bitrate + TEST_FORMAT.audio_bitrate


def test_ended_while_bytes_flow(
    node: Bench,
    server: RtmpServer,
    shelf: dict[int, Clip],
    platform: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The incident outlives a supervisor; a new broadcast closes it; the session lasts."""
    monkeypatch.setitem(verdicts.DELAY, "youtube", timedelta(0))
    account = connected()
    channel = node.channel(node.item(shelf[4]))
    output = node.output(channel, server.address, KEY)
    Output.objects.filter(pk=output.pk).update(platform=Platform.YOUTUBE.value, account=account)
    node.air(channel)
    node.until_output(output, OutputAir.ON_AIR, 20)
    video = platform.add_broadcast(platform.add_stream(KEY))
    subject = f"platform-{output.pk}"
    incidents = Incident.objects.filter(subject=subject)

    assert reports.check(account.pk) == "1 of 1 outputs checked."
    assert not incidents.exists()
    platform.broadcasts[video]["status"]["lifeCycleStatus"] = "complete"
    AccountState.objects.update(due_at=None)
    reports.check(account.pk)
    opened = incidents.get()
    assert (opened.severity, opened.closed_at) == ("lost", None)
    server.until_sent(KEY, 1, BITRATE, 5)

    # Another supervisor adopts the channel, and leaves what is not its own.
    node.kill_cluster()
    killed = timezone.now()
    node.start()
    until(
        lambda: ChannelState.objects.filter(measured_at__gt=killed, state="on_air").exists(),
        10,
        "the new cluster reports the channel on air",
    )
    opened.refresh_from_db()
    assert opened.closed_at is None

    account.may_manage_broadcasts = True
    account.save()
    for _ in range(2):
        AccountState.objects.update(due_at=None)
        node.until_output(output, OutputAir.ON_AIR, 10)
        reports.check(account.pk)
    opened.refresh_from_db()
    assert opened.closed_at is not None
    assert [one["status"]["lifeCycleStatus"] for one in platform.broadcasts.values()] == [
        "complete",
        "live",
    ]
    node.halt(channel)
    assert server.sessions(KEY) == 1
    assert incidents.count() == 1
