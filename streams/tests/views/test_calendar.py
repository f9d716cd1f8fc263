"""The calendar: permissions, display, changes, and both clock changes."""

from __future__ import annotations

from datetime import date, time, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from streams.models import Block, Channel, ChannelState
from streams.tests import rows

pytestmark = pytest.mark.django_db

MONDAY = date(2026, 3, 23)
WEEKDAYS = 0b001_1111


@pytest.fixture
def berlin() -> Channel:
    return rows.channel(time_zone="Europe/Berlin")


def as_user(client: Client, *permissions: str) -> Client:
    client.force_login(rows.user("streams.view_channel", *permissions))
    return client


@pytest.fixture
def planner(client: Client) -> Client:
    """A user who may view channels and edit blocks."""
    return as_user(client, "streams.change_block", "streams.add_block", "streams.view_block")


def week(client: Client, first: str = "2026-03-23", last: str = "2026-03-30") -> dict[str, Any]:
    answer = client.get(f"/api/v1/channels/demo/calendar?first={first}&last={last}")
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = answer.json()
    return body


def shown(body: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["name"], one["begins"], one["ends"]) for one in body["occurrences"]]


def post(client: Client, path: str, body: object) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/api/v1/{path}", body, content_type="application/json")
    return answer.status_code, answer.json()


def move(client: Client, of: Block, day: str, **by: Any) -> tuple[int, dict[str, Any]]:
    """Sends what the calendar sends after a drag."""
    return post(client, f"blocks/{of.pk}/move", change(client, of, day, **by))


def copy(client: Client, week: str, to: str) -> tuple[int, dict[str, Any]]:
    return post(client, "channels/demo/copy-week", {"week": week, "to": to})


def change(client: Client, of: Block, day: str, **by: Any) -> dict[str, Any]:
    events = week(client, day, str(date.fromisoformat(day) + timedelta(days=1)))["occurrences"]
    seen = next(event["seen"] for event in events if event["block_id"] == of.pk)
    return {"day": day, "seen": seen, "starts_by": 0, "ends_by": 0} | by


# ---- permissions -----------------------------------------------------------------------------

PAGES = ("", "preview/", "why/")


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_for_staff_who_may_see_channels(
    client: Client, berlin: Channel, page: str
) -> None:
    address = f"/admin/calendar/demo/{page}"
    assert client.get(address).status_code == 302
    client.force_login(rows.user("media_library.view_mediaitem"))
    assert client.get(address).status_code == 403
    client.force_login(rows.operator("bob"))
    assert client.get(address).status_code == 200
    assert client.post(address).status_code == 405
    assert client.get(address.replace("demo", "other")).status_code == 404


def test_users_without_the_permission_get_no_drag_handles(
    client: Client, berlin: Channel
) -> None:
    rows.block(berlin)
    as_user(client)
    page = client.get("/admin/calendar/demo/").content.decode()
    assert "data-copy>" not in page
    for name in ("add", "may", "form"):
        assert f'data-{name}=""' in page


# ---- display ---------------------------------------------------------------------------------


def test_a_week_shows_the_blocks_on_their_days(planner: Client, berlin: Channel) -> None:
    rows.block(berlin, days=WEEKDAYS, priority=5, start="hard", fit=True)
    rows.block(berlin, "Night", starts=time(23), ends=time(1), days=1 << 6)
    rows.block(berlin, "Off", enabled=False)
    body = week(planner, "2026-03-02", "2026-03-09")
    assert shown(body) == [
        ("Night", "2026-03-01T23:00:00", "2026-03-02T01:00:00"),
        *(
            ("Evening", f"2026-03-{day:02}T20:00:00", f"2026-03-{day:02}T22:00:00")
            for day in range(2, 7)
        ),
        ("Night", "2026-03-08T23:00:00", "2026-03-09T01:00:00"),
    ]
    evening = body["occurrences"][1]
    assert (evening["start"], evening["fit"], evening["priority"]) == ("hard", True, 5)
    assert body["clock_changes"] == []


def test_the_week_of_the_change_to_summer_time_shows_what_plays(
    planner: Client, berlin: Channel
) -> None:
    rows.block(berlin, "Gap", starts=time(2, 30), ends=time(4), days=1 << 6)
    rows.block(berlin, "Lost", starts=time(2, 15), ends=time(3), days=1 << 6)
    rows.block(berlin, "Over", starts=time(1), ends=time(5), days=1 << 6)
    body = week(planner)
    # 02:30 is skipped: it plays at 03:30. Times between 02:00 and 03:00 move by an hour.
    assert shown(body) == [
        ("Over", "2026-03-29T01:00:00", "2026-03-29T05:00:00"),
        ("Lost", "2026-03-29T03:15:00", "2026-03-29T04:00:00"),
        ("Gap", "2026-03-29T03:30:00", "2026-03-29T04:00:00"),
    ]
    assert body["clock_changes"][0].startswith(
        "On Sun 29 Mar the clock goes forward by 60 minutes"
    )


def test_the_week_of_the_change_to_winter_time_shows_what_plays(
    planner: Client, berlin: Channel
) -> None:
    rows.block(berlin, "Twice", starts=time(2, 30), ends=time(3), days=1 << 6)
    body = week(planner, "2026-10-19", "2026-10-26")
    assert shown(body) == [("Twice", "2026-10-25T02:30:00", "2026-10-25T03:00:00")]
    assert body["clock_changes"][0].startswith(
        "On Sun 25 Oct the clock goes back by 60 minutes"
    )


@pytest.mark.parametrize(
    "query",
    [
        "",
        "first=x&last=y",
        "first=2026-03-23&last=2026-03-23",
        "first=2026-01-01&last=2027-01-01",
        "first=9999-12-30&last=9999-12-31",
    ],
)
def test_an_invalid_span_is_refused(planner: Client, berlin: Channel, query: str) -> None:
    assert planner.get(f"/api/v1/channels/demo/calendar?{query}").status_code == 422


def test_overlaps_of_equal_priority_are_listed_with_the_winner(
    planner: Client, berlin: Channel
) -> None:
    rows.block(berlin, days=1)
    rows.block(berlin, "Late", starts=time(21), ends=time(23), days=1)
    rows.block(berlin, "Above", starts=time(21), ends=time(21, 30), days=1, priority=9)
    both = "Mon 23 Mar 21:00 to 22:00: “Evening” and “Late” both have priority 0."
    body = week(planner)
    assert body["overlaps"] == [f"{both} Neither plays while “Above” is, which has more."]
    clashing = {event["name"]: event["clashes"] for event in body["occurrences"]}
    assert clashing == {"Evening": True, "Late": True, "Above": False}
    Block.objects.get(name="Above").delete()
    assert week(planner)["overlaps"] == [f"{both} “Late” wins, for it begins later."]


# ---- moves -----------------------------------------------------------------------------------


def test_a_single_day_is_moved_at_once(planner: Client, berlin: Channel) -> None:
    of = rows.block(berlin, days=1, first_day=MONDAY, last_day=MONDAY)
    # Moved by one day and 1.5 hours.
    by = 25 * 3600 + 1800
    status, body = move(planner, of, "2026-03-23", starts_by=by, ends_by=by)
    assert (status, body["detail"]) == (
        200,
        "“Evening” is moved: only on 24 Mar 2026, 21:30 to 23:30.",
    )
    of.refresh_from_db()
    assert (of.starts, of.ends, of.weekdays) == (time(21, 30), time(23, 30), frozenset({1}))
    assert of.first_day == of.last_day == date(2026, 3, 24)
    assert "Moved in the calendar from only on 23" in LogEntry.objects.get().change_message


def test_moving_a_series_needs_confirmation_and_moves_all_days(
    planner: Client, berlin: Channel
) -> None:
    of = rows.block(berlin, days=0b101)
    by = {"starts_by": 86400, "ends_by": 86400}
    status, body = move(planner, of, "2026-03-25", **by)
    assert (status, body["type"].rpartition(":")[2]) == (409, "unconfirmed")
    assert "from Mon, Wed, 20:00 to 22:00 to Mon, Thu" in body["detail"]
    of.refresh_from_db()
    assert of.weekdays == {0, 2}
    assert move(planner, of, "2026-03-25", **by, confirmed=True)[0] == 200
    of.refresh_from_db()
    assert of.weekdays == {0, 3}


def test_a_series_dropped_on_another_of_its_days_only_changes_its_time(
    planner: Client, berlin: Channel
) -> None:
    of = rows.block(berlin)
    by = 86400 - 3600
    done, _ = move(planner, of, "2026-03-25", starts_by=by, ends_by=by, confirmed=True)
    assert done == 200
    of.refresh_from_db()
    assert (of.days, of.starts, of.ends) == (127, time(19), time(21))


def test_an_edge_is_dragged_over_midnight(planner: Client, berlin: Channel) -> None:
    of = rows.block(berlin, days=1, first_day=MONDAY, last_day=MONDAY)
    assert move(planner, of, "2026-03-23", ends_by=3 * 3600)[0] == 200
    of.refresh_from_db()
    assert (of.starts, of.ends, of.first_day) == (time(20), time(1), MONDAY)


def test_a_drag_on_the_day_of_a_clock_change_moves_by_its_distance(
    planner: Client, berlin: Channel
) -> None:
    # Shown at 03:30 on that day, but its time is 02:30 on all other days.
    of = rows.block(berlin, "Gap", starts=time(2, 30), ends=time(4), days=1 << 6)
    assert move(planner, of, "2026-03-29", ends_by=1800, confirmed=True)[0] == 200
    of.refresh_from_db()
    assert (of.starts, of.ends) == (time(2, 30), time(4, 30))


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        ({"ends_by": -2 * 3600}, "The block would end before it starts."),
        ({"ends_by": 23 * 3600}, "A block lasts 24 hours at most"),
        ({"starts_by": 4 * 86400, "ends_by": 4 * 86400}, "outside the block's dates"),
    ],
)
def test_an_impossible_move_is_refused_with_a_reason(
    planner: Client, berlin: Channel, by: dict[str, int], sentence: str
) -> None:
    last = MONDAY + timedelta(days=2)
    of = rows.block(berlin, days=0b111, first_day=MONDAY, last_day=last)
    status, body = move(planner, of, "2026-03-23", confirmed=True, **by)
    assert status == 422
    assert sentence in body["detail"]
    of.refresh_from_db()
    assert (of.starts, of.ends, of.days, of.last_day) == (time(20), time(22), 0b111, last)


def test_a_concurrent_change_is_not_overwritten(planner: Client, berlin: Channel) -> None:
    of = rows.block(berlin)
    request = change(planner, of, "2026-03-23", ends_by=1800, confirmed=True)
    Block.objects.filter(pk=of.pk).update(starts=time(19))
    status, body = post(planner, f"blocks/{of.pk}/move", request)
    assert status == 409
    assert "Somebody else has changed “Evening”" in body["detail"]
    of.refresh_from_db()
    assert of.ends == time(22)


@pytest.mark.parametrize(
    "wrong",
    [
        {"starts_by": "x"},
        {"starts_by": 10**9},
        {"day": "soon"},
        {"day": "9999-12-31"},
    ],
)
def test_invalid_requests_are_refused(
    planner: Client, berlin: Channel, wrong: dict[str, Any]
) -> None:
    of = rows.block(berlin)
    request = change(planner, of, "2026-03-23") | wrong
    assert post(planner, f"blocks/{of.pk}/move", request)[0] == 422


# ---- copies ----------------------------------------------------------------------------------


def test_a_week_is_copied_once(planner: Client, berlin: Channel) -> None:
    rows.block(berlin, "Recurs")
    wednesday = MONDAY + timedelta(days=2)
    rows.block(berlin, "Gala", first_day=wednesday, last_day=wednesday)
    assert week(planner)["dated"] == ["Gala"]
    status, body = copy(planner, "2026-03-25", "2026-04-08")
    assert (status, [block["name"] for block in body["blocks"]]) == (201, ["Gala, 8 Apr 2026"])
    made = Block.objects.get(name="Gala, 8 Apr 2026")
    assert (made.first_day, made.last_day) == (date(2026, 4, 8), date(2026, 4, 8))
    assert copy(planner, "2026-03-25", "2026-04-08") == (201, {"blocks": []})
    # A copy of a copy has only one date in its name.
    assert copy(planner, "2026-04-06", "2026-04-13")[0] == 201
    assert Block.objects.filter(name="Gala, 15 Apr 2026").exists()


def test_a_week_without_dated_blocks_can_not_be_copied(
    planner: Client, berlin: Channel
) -> None:
    rows.block(berlin)
    status, body = copy(planner, "2026-03-23", "2026-03-30")
    assert status == 422
    assert "nothing to copy" in body["detail"]
    status, body = copy(planner, "2026-03-23", "2026-03-25")
    assert (status, body["detail"]) == (422, "That is the same week. Choose another one.")


def test_the_calendar_does_not_write_the_channels_state(
    planner: Client, berlin: Channel
) -> None:
    """The calendar's pages do not write the channel's state."""
    for page in PAGES:
        planner.get(f"/admin/calendar/demo/{page}")
    assert not ChannelState.objects.exists()
