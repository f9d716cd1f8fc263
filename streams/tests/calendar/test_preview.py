"""The preview of the next days, and the reasons of items."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from streams.models import AsRun, Channel, ChannelState
from streams.tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def midday(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time far from the end of a day and from clock changes."""
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    monkeypatch.setattr("django.utils.timezone.now", lambda: noon)


@pytest.fixture
def berlin() -> Channel:
    return rows.channel(time_zone="Europe/Berlin")


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(rows.user("streams.view_channel"))
    return client


def test_the_preview_shows_items_with_rule_and_reason(viewer: Client, berlin: Channel) -> None:
    rows.block(berlin, starts=time(0), ends=time(0))
    page = viewer.get("/admin/calendar/demo/preview/").content.decode()
    assert "Evening 1" in page
    assert "Block “Evening” is on from 00:00 to 00:00." in page
    assert "The channel is off. This is the programme" in page


def test_the_preview_starts_at_the_end_of_the_item_on_air(
    viewer: Client, berlin: Channel
) -> None:
    now = timezone.now()
    until = now + timedelta(seconds=40)
    rows.on_air(
        berlin,
        at=now,
        now_title="Now this",
        now_since=now - timedelta(seconds=20),
        now_until=until,
        now_rule="base",
        now_why="The base playlist, because no block is on.",
    )
    answer = viewer.get("/admin/calendar/demo/preview/")
    lines = answer.context["lines"]
    assert answer.context["now_line"].title == "Now this"
    assert lines[0].begins == until
    assert all(one.ends == other.begins for one, other in pairwise(lines))


def test_a_soft_block_that_is_never_shown_is_explained(viewer: Client, berlin: Channel) -> None:
    now = timezone.now()
    rows.block(berlin, starts=time(12, 55), ends=time(13, 5))
    ChannelState.objects.all().delete()
    rows.on_air(
        berlin,
        at=now,
        now_title="Film",
        now_since=now - timedelta(minutes=30),
        now_until=now + timedelta(minutes=30),
        now_rule="base",
    )
    page = viewer.get("/admin/calendar/demo/why/").content.decode()
    assert (
        "“Evening” is due, but has a soft start: the current item ends after the block does"
        in page
    )
    ChannelState.objects.update(now_until=now + timedelta(minutes=2))
    page = viewer.get("/admin/calendar/demo/why/").content.decode()
    assert "“Evening” is due, but has a soft start: it waits for the end" in page


def test_consecutive_preview_days_are_continuous(viewer: Client, berlin: Channel) -> None:
    rows.on_air(
        berlin, now_since=timezone.now(), now_until=timezone.now() + timedelta(minutes=1)
    )
    first = viewer.get("/admin/calendar/demo/preview/").context
    second = viewer.get(f"/admin/calendar/demo/preview/?day={first['days'][1]}").context
    assert second["now_line"] is None
    # The item across midnight is in both days.
    last, following = first["lines"][-1], second["lines"][0]
    assert following == last or following.begins == last.ends


# ---- why -------------------------------------------------------------------------------------


def why(client: Client, at: str = "") -> Any:
    answer = client.get("/admin/calendar/demo/why/", {"at": at} if at else {})
    assert answer.status_code == 200
    return answer


def test_past_reasons_come_from_the_as_run_log(viewer: Client, berlin: Channel) -> None:
    began = datetime(2026, 3, 2, 19, tzinfo=UTC)
    run = berlin.runs.create(started_at=began, ended_at=began + timedelta(hours=1))
    AsRun.objects.create(
        run=run,
        title="An old film",
        started_at=began,
        ended_at=began + timedelta(minutes=30),
        ending="cut",
        rule="base",
        why="The base playlist, for no block was on.",
        in_point=12,
    )
    page = why(viewer, "2026-03-02T20:15").content.decode()
    for text in ("An old film", "The base playlist, for no block was on.", "from 20:00:00"):
        assert text in page
    after = why(viewer, "2026-03-02T20:45").context["answer"]
    assert "the as-run log has no entry" in after.notes[0]
    assert why(viewer, "2026-03-02T23:00").context["answer"].notes == ("The channel was off.",)


def test_the_present_reason_comes_from_the_worker(viewer: Client, berlin: Channel) -> None:
    now = timezone.now()
    rows.on_air(
        berlin,
        now_since=now - timedelta(seconds=20),
        now_until=now + timedelta(minutes=9),
        now_rule="base",
        now_why="Because the worker says so.",
    )
    rows.block(berlin, starts=time(0), ends=time(0))
    answer = why(viewer).context["answer"]
    assert (answer.tense, answer.line.why) == ("is", "Because the worker says so.")
    assert answer.claims[0].because == "No other block applies at this time."


def test_future_reasons_come_from_the_preview(viewer: Client, berlin: Channel) -> None:
    rows.block(berlin, starts=time(0), ends=time(0))
    rows.block(berlin, "Above", starts=time(0), ends=time(0), priority=3)
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat(timespec="seconds")
    answer = why(viewer, tomorrow).context["answer"]
    assert answer.tense == "will be"
    assert answer.line.rule == "Above"
    assert [(claim.slot.block.name, claim.because) for claim in answer.claims] == [
        ("Above", "It has more priority than “Evening”."),
        ("Evening", "It has less priority than “Above”."),
    ]
    far = (timezone.now() + timedelta(days=8)).isoformat(timespec="seconds")
    assert "reaches 7 days" in why(viewer, far).context["answer"].notes[0]


def test_both_occurrences_of_a_repeated_hour_can_be_selected(
    viewer: Client, berlin: Channel
) -> None:
    first = why(viewer, "2025-10-26T02:30").context
    assert first["answer"].at == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)
    second = why(viewer, first["other"]).context
    assert second["answer"].at == datetime(2025, 10, 26, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "0001-01-01T00:00", "9999-12-31T23:59"])
def test_an_invalid_time_is_reported(viewer: Client, berlin: Channel, text: str) -> None:
    assert "is not a date and time" in why(viewer, text).content.decode()


def test_a_continuous_slate_is_one_line(viewer: Client) -> None:
    rows.channel(playlist=None)
    lines = viewer.get("/admin/calendar/demo/preview/").context["lines"]
    assert [one.rule for one in lines] == ["Slate"]


def test_the_channels_page_shows_the_reason(viewer: Client, berlin: Channel) -> None:
    rows.node()
    rows.on_air(berlin, now_why="The base playlist, because no block is on.")
    page = viewer.get("/admin/monitor/demo/").content.decode()
    assert "The base playlist, because no block is on." in page
    assert "/admin/calendar/demo/" in page


def test_times_outside_the_hours_are_shown_as_off(viewer: Client, berlin: Channel) -> None:
    berlin.hours.create(starts=time(8), ends=time(20))
    # These hours are not new; new ones would start the channel at once.
    ChannelState.objects.create(channel=berlin, hours_done=timezone.now())
    page = viewer.get("/admin/calendar/demo/preview/")
    tomorrow = page.context["days"][1]
    lines = viewer.get(f"/admin/calendar/demo/preview/?day={tomorrow}").context["lines"]
    zone = ZoneInfo("Europe/Berlin")
    shown = [(one.title, f"{one.begins.astimezone(zone):%H:%M}") for one in lines]
    # The on-air hours start and stop it.
    assert shown[:2] == [("Off the air", "00:00"), ("First", "08:00")]
    assert shown[-1] == ("Off the air", "20:00")
    at = f"{tomorrow}T22:00"
    assert why(viewer, at).context["answer"].notes == (
        "The channel is off at that time: it is outside its on-air hours.",
    )


def test_a_stop_within_the_hours_is_explained(viewer: Client, berlin: Channel) -> None:
    """The reason is an order, not the on-air hours."""
    berlin.hours.create(starts=time(0), ends=time(0))
    ChannelState.objects.create(channel=berlin, hours_done=timezone.now())
    at = timezone.localtime(timezone.now() + timedelta(hours=1), ZoneInfo("Europe/Berlin"))
    (note,) = why(viewer, f"{at:%Y-%m-%dT%H:%M}").context["answer"].notes
    assert note.startswith(
        "The channel was stopped by order, although that time is within its on-air hours"
    )
