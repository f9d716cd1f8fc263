"""Hours on a real node start and stop the channel without a person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from streams.models import Channel, ChannelState, OnAirHours, Run
from streams.playout.contract.states import AirState
from streams.tests.bench.clips import Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.waiting import until

pytestmark = pytest.mark.slow


def test_hours_start_and_stop_a_channel(node: Bench, shelf: dict[int, Clip]) -> None:
    channel = node.channel(node.item(shelf[1]))
    Channel.objects.update(time_zone="UTC")
    hours = OnAirHours.objects.create(channel=channel, starts="00:00", ends="00:00")
    node.until_state(channel, AirState.ON_AIR, 40)
    run = Run.objects.get()
    assert run.started_by == "schedule"
    assert ChannelState.objects.get().hours_done is not None

    # As if it had been on air for half an hour and its end had been missed.
    now = timezone.now()
    Channel.objects.update(switched_at=now - timedelta(minutes=25))
    ChannelState.objects.update(hours_done=now - timedelta(minutes=20))
    hours.starts = (now - timedelta(minutes=30)).time()
    hours.ends = (now - timedelta(minutes=5)).time()
    hours.save()
    until(lambda: not Run.objects.filter(ended_at=None).exists(), 40, "it is off the air")
    run.refresh_from_db()
    assert (run.ended_by, run.end_reason) == ("schedule", "stopped")
    until(lambda: not node.pids(), 60, "nothing runs any more")
