"""Channels start and stop by their on-air hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from media_library.models import MediaItem
from streams.control import actions, on_air_schedule
from streams.control.on_air_schedule import HOURS_MAX_AGE_S, Timetable
from streams.models import Channel, ChannelState, LogLine, OnAirHours, Run
from streams.monitoring.preflight import local_findings
from streams.planning import forecast
from streams.playout.contract.states import AirState
from streams.programme.model import Programme
from streams.tests import rows

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MORNING = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


@pytest.fixture
def channel() -> Channel:
    made = rows.channel(time_zone="UTC")
    OnAirHours.objects.create(channel=made, starts=time(8), ends=time(23))
    return made


class Node:
    """A node's timetable with a clock."""

    def __init__(self) -> None:
        self.timetable = Timetable()
        self.mono = 0.0

    def tick(self, now: datetime) -> None:
        self.mono += HOURS_MAX_AGE_S
        self.timetable.tick(now, self.mono)


def order() -> str:
    return Channel.objects.get().desired_state


def ends(channel: Channel, at: datetime) -> None:
    """Stops the channel as its node does."""
    channel.runs.filter(ended_at=None).update(ended_at=at)


def clock(hour: int, minute: int = 0) -> datetime:
    return MORNING.replace(hour=hour, minute=minute)


def test_a_day_of_on_air_hours(channel: Channel) -> None:
    node = Node()
    node.tick(clock(6))
    node.tick(clock(7, 59))
    assert order() == "off"
    node.tick(clock(8))
    run = Run.objects.get()
    assert (order(), run.started_by, run.started_at) == ("on", "schedule", clock(8))
    node.tick(clock(22, 59))
    assert order() == "on"
    node.tick(clock(23))
    assert (order(), Channel.objects.get().ordered_by) == ("off", "schedule")
    ends(channel, clock(23))
    node.tick(clock(23, 30))
    node.tick(clock(8) + timedelta(days=1))
    assert (order(), Run.objects.count()) == ("on", 2)
    line = LogLine.objects.last()
    assert line is not None
    assert "The channel was started by its on-air hours (08:00 UTC)." in line.text


def test_a_manual_order_holds_until_the_next_scheduled_time(channel: Channel) -> None:
    node = Node()
    node.tick(clock(7))
    node.tick(clock(8))
    actions.stop(channel, by="ada", now=clock(9))
    ends(channel, clock(9))
    node.tick(clock(10))
    assert order() == "off"
    actions.start(channel, by="ada", now=clock(11))
    node.tick(clock(12))
    assert order() == "on"
    node.tick(clock(23))
    assert order() == "off"


def test_a_manual_order_during_a_downtime_holds(channel: Channel) -> None:
    Node().tick(clock(7))
    actions.start(channel, by="ada", now=clock(7, 30))
    actions.stop(channel, by="ada", now=clock(8, 30))
    ends(channel, clock(8, 30))
    Node().tick(clock(9))
    assert order() == "off"


def test_after_a_downtime_the_last_scheduled_time_counts(channel: Channel) -> None:
    Node().tick(clock(7))
    later = Node()
    later.tick(clock(12) + timedelta(days=3))
    assert (order(), Run.objects.count()) == ("on", 1)


def test_a_manually_stopped_channel_announces_no_stop(channel: Channel) -> None:
    node = Node()
    node.tick(clock(7))
    node.tick(clock(8))
    channel.refresh_from_db()
    assert on_air_schedule.outlook(channel, clock(9)) == (
        "The on-air hours stop the channel at 23:00 UTC."
    )
    actions.stop(channel, by="ada", now=clock(9))
    ends(channel, clock(9))
    node.tick(clock(9, 1))
    channel.refresh_from_db()
    assert on_air_schedule.outlook(channel, clock(10)) == (
        "The on-air hours start the channel at Tue 05 May, 08:00 UTC."
    )
    # As for a channel that was started early: it stays on until the end.
    Channel.objects.update(desired_state="on")
    channel.refresh_from_db()
    early = clock(7) + timedelta(days=1)
    assert (
        on_air_schedule.outlook(channel, early)
        == "The on-air hours stop the channel at 23:00 UTC."
    )


def test_several_nodes_give_one_order(channel: Channel) -> None:
    one, other = Node(), Node()
    one.tick(clock(7))
    other.tick(clock(7))
    one.tick(clock(8))
    actions.stop(channel, by="ada", now=clock(8, 1))
    ends(channel, clock(8, 1))
    other.tick(clock(8, 2))
    assert (order(), Run.objects.count()) == ("off", 1)


def test_new_hours_do_not_stop_a_playing_channel(channel: Channel) -> None:
    node = Node()
    actions.start(channel, by="ada", now=clock(5))
    node.tick(clock(6))
    assert order() == "on"


def test_new_hours_start_a_channel_that_should_be_on(channel: Channel) -> None:
    node = Node()
    node.tick(clock(12))
    assert order() == "on"


def test_hours_that_were_removed_are_forgotten(channel: Channel) -> None:
    node = Node()
    node.tick(clock(12))
    kept = channel.hours.get()
    kept.delete()
    node.tick(clock(13))
    assert ChannelState.objects.get().hours_done is None
    OnAirHours.objects.create(channel=channel, starts=time(8), ends=time(11))
    node.tick(clock(14))
    assert order() == "on"


def test_a_scheduled_start_leaves_the_preflight_to_the_node(channel: Channel) -> None:
    MediaItem.objects.update(status="fault", fault="Cut short.")
    Node().tick(clock(8))
    assert order() == "on"
    assert Run.objects.get().checked_at is None


def test_a_stopping_channel_is_started_after_its_stop(channel: Channel) -> None:
    node = Node()
    node.tick(clock(6))
    actions.start(channel, by="ada", now=clock(7))
    actions.stop(channel, by="ada", now=clock(7, 59))
    node.tick(clock(8))
    assert order() == "off"
    ends(channel, clock(8))
    node.tick(clock(8, 1))
    assert order() == "on"


def test_scheduled_times_are_met_at_the_next_tick(channel: Channel) -> None:
    """The next due time is known between two readings of the hours."""
    timetable = Timetable()
    timetable.tick(clock(7, 59), 100.0)
    timetable.tick(clock(8), 100.1)
    assert order() == "on"


def test_the_outlook_names_the_next_start_or_stop(channel: Channel) -> None:
    OnAirHours.objects.update(days=0b001_1111)
    channel.time_zone, channel.desired_state = "Europe/Berlin", "on"
    sentence = on_air_schedule.outlook(channel, datetime(2026, 5, 4, 12, tzinfo=UTC))
    assert sentence == "The on-air hours stop the channel at 23:00 CEST."
    channel.desired_state = "off"
    sentence = on_air_schedule.outlook(channel, datetime(2026, 5, 8, 22, tzinfo=UTC))
    assert sentence == "The on-air hours start the channel at Mon 11 May, 08:00 CEST."
    assert on_air_schedule.outlook(rows.channel("other"), clock(12)) == ""


def test_a_channel_without_a_state_row_is_handled(channel: Channel) -> None:
    assert not ChannelState.objects.exists()
    Node().tick(clock(12))
    assert ChannelState.objects.get().state == AirState.OFF.value


def test_an_invalid_row_does_not_block_other_channels(channel: Channel) -> None:
    other = rows.channel("another", name="Aaa", time_zone="Nowhere/Land")
    OnAirHours.objects.create(channel=other, starts=time(8), ends=time(23))
    Node().tick(clock(12))
    assert [one.desired_state for one in Channel.objects.all()] == ["on", "on"]


def test_an_error_in_one_channel_does_not_block_the_others(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = rows.channel("another", name="Aaa", time_zone="UTC")
    OnAirHours.objects.create(channel=other, starts=time(8), ends=time(23))
    hours_of = forecast.hours_of

    def fails(of: Channel) -> Programme:
        if of == other:
            raise ArithmeticError("Nobody thought of it.")
        return hours_of(of)

    monkeypatch.setattr(forecast, "hours_of", fails)
    Node().tick(clock(12))
    assert [one.desired_state for one in Channel.objects.order_by("name")] == ["off", "on"]


def test_an_unreachable_storage_does_not_block_a_scheduled_start(
    channel: Channel, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path / "not mounted"
    settings.STORAGES = dict(settings.STORAGES)
    # A manual start is refused, as a person can fix the cause.
    with pytest.raises(actions.CantStartError, match="not mounted"):
        actions.start(channel, by="ada", now=clock(7))
    Node().tick(clock(8))
    assert order() == "on"


def test_an_output_without_a_key_does_not_block_a_scheduled_start(channel: Channel) -> None:
    def stops() -> list[str]:
        results = local_findings(channel, attended=False)
        return [one.check for one in results if one.stops_the_start and one.check == "outputs"]

    output = rows.output(channel, "Twitch", key="")
    # It is the only output: nobody would see anything.
    assert stops()
    rows.output(channel, "YouTube")
    assert not stops()
    with pytest.raises(actions.CantStartError, match=output.name):
        actions.start(channel, by="ada", now=clock(8))


def test_a_restart_does_not_override_a_due_stop(channel: Channel) -> None:
    Node().tick(clock(12))
    actions.restart(channel, by="ada", now=clock(23, 1))
    Node().tick(clock(23, 2))
    assert order() == "off"


def test_changed_hours_stop_a_playing_channel_only_at_their_next_end(channel: Channel) -> None:
    node = Node()
    node.tick(clock(12))
    OnAirHours.objects.update(ends=time(20))
    Channel.objects.update(hours_changed_at=clock(21))
    node.tick(clock(21, 1))
    assert order() == "on"
    channel = Channel.objects.select_related("state").get()
    assert on_air_schedule.overrun(channel, clock(21, 1)).startswith(
        "Demo is outside its new on-air hours, but keeps playing"
    )
    assert on_air_schedule.overrun(channel, clock(19) + timedelta(days=1)) == ""
    # The forecast does not contain it either.
    assert forecast.compute(channel, clock(21, 1), clock(23)).spans == (
        (clock(21, 1), clock(23)),
    )
    tomorrow = clock(20) + timedelta(days=1)
    node.tick(tomorrow - timedelta(minutes=1))
    assert order() == "on"
    node.tick(tomorrow)
    assert order() == "off"


def test_changed_hours_start_a_channel_that_should_be_on(channel: Channel) -> None:
    node = Node()
    OnAirHours.objects.update(ends=time(20))
    node.tick(clock(12))
    actions.stop(channel, by="ada", now=clock(13))
    ends(channel, clock(13))
    OnAirHours.objects.update(starts=time(14))
    Channel.objects.update(hours_changed_at=clock(15))
    node.tick(clock(15))
    assert order() == "on"
