"""The forms of blocks, and of a channel's programme and hours."""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from streams.models import Block, Channel, OnAirHours
from streams.programme.model import Order
from streams.tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def berlin() -> Channel:
    return rows.channel(time_zone="Europe/Berlin")


def form(channel: Channel, **fields: Any) -> dict[str, Any]:
    playlist = rows.playlist(name="For a block")
    return {
        "channel": channel.pk,
        "name": "Matinee",
        "playlist": playlist.pk,
        "order": Order.SHUFFLE.value,
        "enabled": "on",
        "days": ["5", "6"],
        "starts": "14:00",
        "ends": "16:00",
        "priority": "0",
        "start": "soft",
    } | fields


def test_a_block_is_created_in_its_form(admin_client: Client, berlin: Channel) -> None:
    answer = admin_client.post("/admin/streams/block/add/?calendar=2026-03-23", form(berlin))
    assert answer.status_code == 302
    assert answer["Location"] == "/admin/calendar/demo/?week=2026-03-23"
    made = Block.objects.get()
    assert (made.weekdays, made.order) == (frozenset({5, 6}), "shuffle")
    page = admin_client.get(f"/admin/streams/block/{made.pk}/change/").content.decode()
    assert page.count("checked") >= 3
    listed = admin_client.get("/admin/streams/block/?weekday=5").content.decode()
    assert "Sat, Sun" in listed
    assert "Matinee" not in admin_client.get("/admin/streams/block/?weekday=0").content.decode()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"days": []}, "Choose at least one day."),
        (
            {"first_day": "2026-03-03", "last_day": "2026-03-02"},
            "The last day is before the first day.",
        ),
        ({"priority": "101"}, "Choose a priority from -100 to 100."),
        ({"priority": "-101"}, "Choose a priority from -100 to 100."),
        ({"max_rating": "22"}, "Choose an age of 21 years at most."),
        (
            {"first_day": "2026-03-23", "last_day": "2026-03-23"},
            "None of these days is within the dates below",
        ),
    ],
)
def test_invalid_blocks_are_refused(
    admin_client: Client, berlin: Channel, wrong: dict[str, Any], sentence: str
) -> None:
    page = admin_client.post("/admin/streams/block/add/", form(berlin, **wrong))
    assert sentence in page.content.decode()
    assert not Block.objects.exists()


def test_a_block_without_days_is_described_as_never() -> None:
    monday = date(2026, 3, 23)
    block = Block(days=1 << 5, starts=time(14), ends=time(16), first_day=monday)
    block.last_day = monday
    assert block.in_words == "Sat, 14:00 to 16:00, only on 23 Mar 2026: never"
    block.last_day = date(2026, 3, 28)
    assert block.in_words == "Sat, 14:00 to 16:00, from 23 Mar 2026 until 28 Mar 2026"
    block.clean()
    with pytest.raises(ValidationError, match="None of these days"):
        OnAirHours(
            days=1, starts=time(8), ends=time(9), first_day=date(2026, 3, 24),
            last_day=date(2026, 3, 29),
        ).clean()  # fmt: skip


def test_seconds_are_shown_unless_zero() -> None:
    block = Block(starts=time(20, 26), ends=time(20, 26, 30))
    assert block.in_words == "every day, 20:26 to 20:26:30"


def test_equal_start_and_end_is_24_hours_with_a_warning(
    admin_client: Client, berlin: Channel
) -> None:
    values = form(berlin, starts="03:00", ends="03:00")
    answer = admin_client.post("/admin/streams/block/add/", values, follow=True)
    assert "“Matinee” is on for 24 hours, from 03:00 to the same" in answer.content.decode()
    assert "03:00 to 03:00 is 24 hours" in (
        admin_client.get("/admin/streams/block/add/").content.decode()
    )


def shown(client: Client, path: str) -> str:
    """Returns the form's token as a browser would send it back."""
    match = re.search(r'name="seen" value="(\w+)"', client.get(path).content.decode())
    assert match is not None
    return match[1]


def test_a_form_does_not_overwrite_a_concurrent_change(
    admin_client: Client, berlin: Channel
) -> None:
    values = form(berlin)
    block = rows.block(berlin, "Matinee")
    page = f"/admin/streams/block/{block.pk}/change/"
    values["seen"] = shown(admin_client, page)
    # Meanwhile the block is dragged in another browser's calendar.
    Block.objects.update(starts=time(9), ends=time(11))
    refused = admin_client.post(page, values)
    assert refused.status_code == 200
    text = refused.content.decode()
    assert "Somebody else has changed it since this page was opened" in text
    assert "every day, 09:00 to 11:00" in text
    # The entered values are kept, and nothing is written.
    assert 'value="14:00"' in text
    assert Block.objects.get().starts == time(9)
    # Saving again overwrites the change.
    values["seen"] = refused.context["adminform"].form["seen"].value()
    assert admin_client.post(page, values).status_code == 302
    assert Block.objects.get().starts == time(14)


def test_a_form_without_a_concurrent_change_is_saved(
    admin_client: Client, berlin: Channel
) -> None:
    block = rows.block(berlin, "Matinee")
    page = f"/admin/streams/block/{block.pk}/change/"
    values = form(berlin) | {"seen": shown(admin_client, page)}
    assert admin_client.post(page, values).status_code == 302


def test_a_view_only_user_gets_no_token(client: Client, berlin: Channel) -> None:
    block = rows.block(berlin)
    client.force_login(rows.user("streams.view_block", "streams.view_channel"))
    for page in (f"block/{block.pk}", f"channel/{berlin.pk}"):
        answer = client.get(f"/admin/streams/{page}/change/")
        assert answer.status_code == 200
        assert ">Seen<" not in answer.content.decode()


def test_the_add_form_is_filled_in_from_the_calendar(
    admin_client: Client, berlin: Channel
) -> None:
    page = admin_client.get(
        f"/admin/streams/block/add/?channel={berlin.pk}&starts=20:00&ends=21:30&days=4"
    )
    bound = page.context["adminform"].form
    assert bound["days"].value() == ["2"]
    assert 'value="20:00"' in page.content.decode()


def programme_form(channel: Channel, **fields: Any) -> dict[str, Any]:
    return (
        rows.channel_form(channel)
        | {
            "playlist_order": "shuffle",
            "time_zone": "America/New_York",
            "max_rating": "12",
            "on_return": "restart",
            "hours-TOTAL_FORMS": "1",
            "hours-0-days": ["0", "1"],
            "hours-0-starts": "08:00",
            "hours-0-ends": "22:00",
        }
        | fields
    )


def test_programme_and_hours_are_set_in_the_channels_form(
    admin_client: Client, berlin: Channel
) -> None:
    # An order given while the form was open is kept.
    Channel.objects.filter(pk=berlin.pk).update(desired_state="on")
    page = f"/admin/streams/channel/{berlin.pk}/change/"
    answer = admin_client.post(page, programme_form(berlin))
    assert answer.status_code == 302, answer.context["errors"]
    berlin.refresh_from_db()
    assert (berlin.playlist_order, berlin.time_zone, berlin.max_rating, berlin.on_return) == (
        *("shuffle", "America/New_York", 12, "restart"),
    )
    assert berlin.desired_state == "on"
    assert berlin.hours.get().weekdays == {0, 1}
    stale = shown(admin_client, page)
    Channel.objects.update(on_return="next")
    refused = admin_client.post(page, programme_form(berlin, seen=stale))
    assert "Somebody else has changed it since" in refused.content.decode()
    berlin.refresh_from_db()
    assert berlin.on_return == "next"
    old = admin_client.post(page, programme_form(berlin, max_rating="22"))
    assert "Choose an age of 21 years at most." in old.content.decode()
    wrong = admin_client.post(page, programme_form(berlin, time_zone="Mars/Olympus"))
    assert "not one of the available choices" in wrong.content.decode()


def test_changing_hours_warns_if_the_channel_is_outside_them(
    admin_client: Client, berlin: Channel
) -> None:
    rows.on_air(berlin)
    Channel.objects.update(time_zone="UTC")
    page = f"/admin/streams/channel/{berlin.pk}/change/"
    now = timezone.now()
    over = (now - timedelta(minutes=5)).strftime("%H:%M:%S")
    begun = (now - timedelta(hours=2)).strftime("%H:%M:%S")
    hours = {
        "time_zone": "UTC",
        "hours-0-days": [str(day) for day in range(7)],
        "hours-0-starts": begun,
        "hours-0-ends": over,
    }
    answer = admin_client.post(page, programme_form(berlin, **hours), follow=True)
    assert "Demo is outside its new on-air hours, but keeps playing" in answer.content.decode()
    berlin.refresh_from_db()
    changed = berlin.hours_changed_at
    assert changed is not None
    assert changed >= now
    # Saving unchanged hours is not a change of the hours.
    same = {
        "hours-INITIAL_FORMS": "1",
        "hours-0-id": berlin.hours.get().pk,
        "hours-0-channel": berlin.pk,
        "max_rating": "16",
    }
    answer = admin_client.post(page, programme_form(berlin, **hours, **same), follow=True)
    assert "outside its new on-air hours" not in answer.content.decode()
    berlin.refresh_from_db()
    assert (berlin.max_rating, berlin.hours_changed_at) == (16, changed)
