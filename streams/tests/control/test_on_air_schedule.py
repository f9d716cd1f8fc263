"""Channels that go on the air and off it by their hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from pytest_django import Settings

from media_library.models import MediaItem
from streams.control import actions, on_air_schedule
from streams.control.on_air_schedule import AGAIN, READ_AGE, Timetable
from streams.models import Channel, ChannelState, LogLine, OnAirHours, Run
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
    """A node's timetable, and the time of day."""

    def __init__(self) -> None:
        self.timetable = Timetable()
        self.mono = 0.0

    def look(self, now: datetime) -> None:
        self.mono += READ_AGE
        self.timetable.look(now, self.mono)


def order() -> str:
    return Channel.objects.get().order


def ends(channel: Channel, at: datetime) -> None:
    """As its node does it."""
    channel.runs.filter(ended_at=None).update(ended_at=at)


def clock(hour: int, minute: int = 0) -> datetime:
    return MORNING.replace(hour=hour, minute=minute)


def test_a_day(channel: Channel) -> None:
    node = Node()
    node.look(clock(6))
    node.look(clock(7, 59))
    assert order() == "off"
    node.look(clock(8))
    run = Run.objects.get()
    assert (order(), run.started_by, run.started_at) == ("on", "schedule", clock(8))
    node.look(clock(22, 59))
    assert order() == "on"
    node.look(clock(23))
    assert (order(), Channel.objects.get().ordered_by) == ("off", "schedule")
    ends(channel, clock(23))
    node.look(clock(23, 30))
    node.look(clock(8) + timedelta(days=1))
    assert (order(), Run.objects.count()) == ("on", 2)
    assert "It was started by its hours (08:00 UTC)." in LogLine.objects.last().text  # type: ignore[union-attr]


def test_what_a_person_orders_in_between_stands_until_the_next_hour(channel: Channel) -> None:
    node = Node()
    node.look(clock(7))
    node.look(clock(8))
    actions.stop(channel, by="ada", now=clock(9))
    ends(channel, clock(9))
    node.look(clock(10))
    assert order() == "off"
    actions.start(channel, by="ada", now=clock(11))
    node.look(clock(12))
    assert order() == "on"
    node.look(clock(23))
    assert order() == "off"


def test_what_a_person_orders_during_a_downtime_stands_too(channel: Channel) -> None:
    Node().look(clock(7))
    actions.start(channel, by="ada", now=clock(7, 30))
    actions.stop(channel, by="ada", now=clock(8, 30))
    ends(channel, clock(8, 30))
    Node().look(clock(9))
    assert order() == "off"


def test_after_a_downtime_the_last_hour_counts(channel: Channel) -> None:
    Node().look(clock(7))
    later = Node()
    later.look(clock(12) + timedelta(days=3))
    assert (order(), Run.objects.count()) == ("on", 1)


def test_what_was_stopped_by_hand_is_not_said_to_go_off(channel: Channel) -> None:
    node = Node()
    node.look(clock(7))
    node.look(clock(8))
    channel.refresh_from_db()
    assert on_air_schedule.outlook(channel, clock(9)) == (
        "By its hours it goes off the air at 23:00 UTC."
    )
    actions.stop(channel, by="ada", now=clock(9))
    ends(channel, clock(9))
    node.look(clock(9, 1))
    channel.refresh_from_db()
    assert on_air_schedule.outlook(channel, clock(10)) == (
        "By its hours it goes on the air at Tue 05 May, 08:00 UTC."
    )
    # As one that somebody has started before its time stays on until the end.
    Channel.objects.update(order="on")
    channel.refresh_from_db()
    early = clock(7) + timedelta(days=1)
    assert (
        on_air_schedule.outlook(channel, early)
        == "By its hours it goes off the air at 23:00 UTC."
    )


def test_several_nodes_give_one_order(channel: Channel) -> None:
    one, other = Node(), Node()
    one.look(clock(7))
    other.look(clock(7))
    one.look(clock(8))
    actions.stop(channel, by="ada", now=clock(8, 1))
    ends(channel, clock(8, 1))
    other.look(clock(8, 2))
    assert (order(), Run.objects.count()) == ("off", 1)


def test_new_hours_do_not_stop_what_plays(channel: Channel) -> None:
    node = Node()
    actions.start(channel, by="ada", now=clock(5))
    node.look(clock(6))
    assert order() == "on"


def test_new_hours_start_a_channel_that_should_be_on(channel: Channel) -> None:
    node = Node()
    node.look(clock(12))
    assert order() == "on"


def test_hours_that_were_removed_are_forgotten(channel: Channel) -> None:
    node = Node()
    node.look(clock(12))
    kept = channel.hours.get()
    kept.delete()
    node.look(clock(13))
    assert ChannelState.objects.get().hours_done is None
    OnAirHours.objects.create(channel=channel, starts=time(8), ends=time(11))
    node.look(clock(14))
    assert order() == "on"


def test_a_start_that_is_refused_is_told_and_tried_again(channel: Channel) -> None:
    node = Node()
    node.look(clock(7))
    MediaItem.objects.update(status="fault", fault="Cut short.")
    node.look(clock(8))
    assert order() == "off"
    (line,) = LogLine.objects.all()
    assert "It should go on the air now. Nothing in the playlist" in line.text
    channel.refresh_from_db()
    assert "it should be on the air" in on_air_schedule.outlook(channel, clock(8, 1))
    MediaItem.objects.update(status="ready", fault="")
    node.look(clock(8, 0))
    assert order() == "off"
    node.mono += AGAIN
    node.look(clock(8, 2))
    assert order() == "on"


def test_one_that_is_still_stopping_is_started_when_it_has_stopped(channel: Channel) -> None:
    node = Node()
    node.look(clock(6))
    actions.start(channel, by="ada", now=clock(7))
    actions.stop(channel, by="ada", now=clock(7, 59))
    node.look(clock(8))
    assert order() == "off"
    ends(channel, clock(8))
    node.look(clock(8, 1))
    assert order() == "on"


def test_the_hour_is_not_waited_for_any_longer_than_it_takes_to_look(channel: Channel) -> None:
    """Between two readings of the hours their next moment is known."""
    timetable = Timetable()
    timetable.look(clock(7, 59), 100.0)
    timetable.look(clock(8), 100.1)
    assert order() == "on"


def test_the_page_says_what_comes(channel: Channel) -> None:
    OnAirHours.objects.update(days=0b001_1111)
    channel.time_zone, channel.order = "Europe/Berlin", "on"
    told = on_air_schedule.outlook(channel, datetime(2026, 5, 4, 12, tzinfo=UTC))
    assert told == "By its hours it goes off the air at 23:00 CEST."
    channel.order = "off"
    told = on_air_schedule.outlook(channel, datetime(2026, 5, 8, 22, tzinfo=UTC))
    assert told == "By its hours it goes on the air at Mon 11 May, 08:00 CEST."
    assert on_air_schedule.outlook(rows.channel("other"), clock(12)) == ""


def test_a_channel_without_a_state_row_is_looked_after(channel: Channel) -> None:
    assert not ChannelState.objects.exists()
    Node().look(clock(12))
    assert ChannelState.objects.get().state == AirState.OFF.value


def test_one_channels_wrong_row_holds_up_no_other(channel: Channel) -> None:
    other = rows.channel("another", name="Aaa", time_zone="Nowhere/Land")
    OnAirHours.objects.create(channel=other, starts=time(8), ends=time(23))
    Node().look(clock(12))
    assert [one.order for one in Channel.objects.all()] == ["on", "on"]


def test_one_channels_trouble_holds_up_no_other(
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
    Node().look(clock(12))
    assert [one.order for one in Channel.objects.order_by("name")] == ["off", "on"]


def test_a_storage_that_is_away_holds_up_no_start(
    channel: Channel, settings: Settings, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path / "not mounted"
    settings.STORAGES = dict(settings.STORAGES)
    # A person at the button is told, and can do something about it.
    with pytest.raises(actions.CantStartError, match="not mounted"):
        actions.start(channel, by="ada", now=clock(7))
    Node().look(clock(8))
    assert order() == "on"


def test_one_output_that_lacks_its_key_holds_up_no_start(channel: Channel) -> None:
    output = rows.output(channel, "Twitch", key="")
    node = Node()
    node.look(clock(8))
    # It is the only one: nobody would see anything.
    assert order() == "off"
    rows.output(channel, "YouTube")
    with pytest.raises(actions.CantStartError, match=output.name):
        actions.start(channel, by="ada", now=clock(8))
    node.mono += AGAIN
    node.look(clock(8, 1))
    assert order() == "on"


def test_a_restart_after_the_hour_struck_does_not_undo_it(channel: Channel) -> None:
    Node().look(clock(12))
    actions.restart(channel, by="ada", now=clock(23, 1))
    Node().look(clock(23, 2))
    assert order() == "off"


def test_changed_hours_do_not_stop_what_plays_until_they_end_again(channel: Channel) -> None:
    node = Node()
    node.look(clock(12))
    OnAirHours.objects.update(ends=time(20))
    Channel.objects.update(hours_changed_at=clock(21))
    node.look(clock(21, 1))
    assert order() == "on"
    channel = Channel.objects.select_related("state").get()
    assert on_air_schedule.overrun(channel, clock(21, 1)).startswith(
        "By its new hours Demo would be off the air now. It plays on"
    )
    assert on_air_schedule.overrun(channel, clock(19) + timedelta(days=1)) == ""
    # Nor does the forecast say so.
    assert forecast.compute(channel, clock(21, 1), clock(23)).spans == (
        (clock(21, 1), clock(23)),
    )
    tomorrow = clock(20) + timedelta(days=1)
    node.look(tomorrow - timedelta(minutes=1))
    assert order() == "on"
    node.look(tomorrow)
    assert order() == "off"


def test_changed_hours_start_what_should_be_on(channel: Channel) -> None:
    node = Node()
    OnAirHours.objects.update(ends=time(20))
    node.look(clock(12))
    actions.stop(channel, by="ada", now=clock(13))
    ends(channel, clock(13))
    OnAirHours.objects.update(starts=time(14))
    Channel.objects.update(hours_changed_at=clock(15))
    node.look(clock(15))
    assert order() == "on"
