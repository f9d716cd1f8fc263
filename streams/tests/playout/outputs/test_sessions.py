"""Ending a session depends on the pusher's lag and on the other outputs."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from django.utils import timezone

from streams.models import Incident, OutputState
from streams.node import history_writer, state_writer
from streams.outputs.platforms import Platform, session
from streams.planning import plans
from streams.playout.contract import ledger
from streams.playout.contract.output_status import Status
from streams.playout.contract.plan import OutputPlan, Policy, Tools
from streams.playout.contract.states import OutputAir
from streams.playout.ffmpeg import hls_window, process
from streams.playout.outputs import state_machine
from streams.playout.outputs.pushers import Pushers
from streams.playout.outputs.state_machine import Session
from streams.tests import rows

MINUTE, HOUR = 60.0, 3600.0


@pytest.fixture
def pushers(tmp_path: Path) -> Pushers:
    made = Pushers(
        Tools("ffmpeg", tmp_path),
        Policy(),
        tmp_path,
        tmp_path,
        report=lambda *_: None,
        relay=lambda _: None,
    )
    for pk in (1, 2, 3):
        made.plans[pk] = OutputPlan(
            pk, f"Output {pk}", "rtmp://h/a", roll_after=10, roll_by=300
        )
        made.statuses[pk] = Status(OutputAir.ON_AIR, running=True, on_air=0)
    return made


def test_the_limit_is_staggered_between_outputs(pushers: Pushers) -> None:
    """If no item ends, nothing else separates primary and backup."""
    assert [pushers.session_limits(pk, 1000).by for pk in (1, 2, 3)] == [300, 240, 180]
    pushers.plans[3] = replace(pushers.plans[3], roll_after=200)
    # Never before it is due at an item's end.
    assert pushers.session_limits(3, 1000) == Session(200, 200)
    pushers.plans[1] = replace(pushers.plans[1], roll_by=0)
    assert pushers.session_limits(1, 1000) == Session(10, 0)


def test_the_limit_waits_for_another_output_for_a_bounded_time(
    pushers: Pushers,
) -> None:
    pushers.statuses[2] = Status(OutputAir.ROLLING, running=True)
    assert pushers.session_limits(1, 1000).by == 300 + pushers.policy.late
    assert pushers.session_limits(3, 1000).by == 180 + pushers.policy.late


@pytest.mark.parametrize("platform", [Platform.YOUTUBE, Platform.TWITCH])
@pytest.mark.parametrize("apart", [0.0, 60.0, 61.0])
def test_primary_and_backup_do_not_end_together_if_no_item_ends(
    pushers: Pushers, platform: Platform, apart: float
) -> None:
    """The second was started so much later that both reach their limits together."""
    after, by = (limit.total_seconds() for limit in session(platform, None))
    del pushers.plans[3], pushers.statuses[3]
    for pk, begun in ((1, 0.0), (2, apart)):
        pushers.plans[pk] = replace(pushers.plans[pk], roll_after=after, roll_by=by)
        pushers.statuses[pk] = Status(
            OutputAir.ON_AIR, running=True, launched=begun, on_air=begun
        )
    ended: dict[int, float] = {}
    back: dict[int, float] = {}
    now = by - 600
    while len(back) < 2:
        now += 0.25
        assert now < by + 600
        for pk in (1, 2):
            status = replace(pushers.statuses[pk], moved=now)
            limits = pushers.session_limits(pk, now)
            status, acts = state_machine.step(
                status, state_machine.Ticked(), now, Policy(), limits
            )
            if state_machine.Halt() in acts:
                ended[pk] = now
            elif pk in ended and pk not in back:
                status, _ = state_machine.step(status, state_machine.Exited(""), now, Policy())
                status, _ = state_machine.step(status, state_machine.Moved(), now, Policy())
                back[pk] = now
            pushers.statuses[pk] = status
    first, second = sorted(ended, key=lambda pk: ended[pk])
    assert ended[second] - back[first] >= Policy().apart


def test_every_session_ends_before_its_platform_ends_it() -> None:
    for platform, hours in ((Platform.YOUTUBE, 12), (Platform.TWITCH, 48)):
        _, by = session(platform, None)
        assert by.total_seconds() + Policy().late + MINUTE <= hours * HOUR


@pytest.mark.parametrize(
    ("other", "free"),
    [
        (Status(OutputAir.ON_AIR, running=True, on_air=0), True),
        # It has just come back: viewers of the first are still switching to it.
        (Status(OutputAir.ON_AIR, running=True, on_air=941), False),
        (Status(OutputAir.ROLLING, running=True), False),
        (Status(OutputAir.CONNECTING, running=True), False),
        (Status(OutputAir.RETRYING), False),
        # It is unknown when it returns, so it is not waited for.
        (Status(OutputAir.FAILING), True),
        (Status(OutputAir.GIVEN_UP), True),
    ],
)
def test_an_output_is_rolled_over_while_the_others_carry_the_channel(
    pushers: Pushers, other: Status, *, free: bool
) -> None:
    pushers.statuses[2] = other
    assert pushers.is_free_to_end(1, 1000) == free


def test_seconds_behind_the_hub_at_a_pushers_start(tmp_path: Path) -> None:
    playlist = tmp_path / "live.m3u8"
    assert hls_window.seconds_behind(playlist, 0, 2) == 0
    lines = "".join(f"#EXTINF:{seconds},\n1-{n}.ts\n" for n, seconds in enumerate((3, 2.5, 2)))
    playlist.write_text(f"#EXTM3U\n{lines}")
    os.utime(playlist, (1000, 1000))
    assert hls_window.seconds_behind(playlist, 1001.5, 2) == pytest.approx(6)
    # A wall clock that was set back.
    assert hls_window.seconds_behind(playlist, 900, 2) == pytest.approx(4.5)


def test_a_processs_age_is_measured_by_the_machines_clock() -> None:
    born = process.born(os.getpid())
    assert born is not None
    record = process.Record(os.getpid(), born, "pusher-1", 0, started=time.time() + 5000)
    assert 0 < process.age(record) < 24 * HOUR


@pytest.mark.django_db
def test_a_session_and_its_planned_gap_are_recorded() -> None:
    channel = rows.channel()
    output = rows.output(channel)
    run = rows.on_air(channel)
    now = timezone.now()
    shot = ledger.OutputSnapshot(
        Status(OutputAir.ON_AIR), now.timestamp(), None, 1, 30.0, 1.0, now.timestamp() - HOUR
    )
    state_writer.write_output(output.pk, shot, now, "node")
    since = OutputState.objects.get().session_since
    assert since is not None
    assert (now - since).total_seconds() == pytest.approx(HOUR)
    subject = f"session-{output.pk}"
    gap = ledger.IncidentOpened(
        channel.pk, run.pk, subject, output.pk, "planned", "A new session.", now.timestamp()
    )
    history_writer.write([gap, ledger.IncidentClosed(channel.pk, subject, now.timestamp() + 1)])
    incident = Incident.objects.get()
    assert (incident.get_severity_display(), incident.output) == ("Planned", output)
    assert incident.closed_at is not None


@pytest.mark.django_db
def test_an_outputs_hours_become_its_plan() -> None:
    channel = rows.channel()
    rows.output(channel, roll_over_hours=6)
    (plan,) = plans.outputs(channel.outputs.all())
    assert plan.roll_after == 6 * HOUR
    assert plan.roll_by == pytest.approx(11.75 * HOUR)
