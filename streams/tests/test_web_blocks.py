"""The forms of blocks, and of a channel's programme and hours."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from streams.models import Block, Channel
from streams.programme.values import Order
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


def test_a_block_is_made_in_its_form(admin_client: Client, berlin: Channel) -> None:
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
        ({"days": []}, "Choose one day at least."),
        ({"first_day": "2026-03-03", "last_day": "2026-03-02"}, "It is before the first day."),
    ],
)
def test_a_block_that_is_never_on_is_refused(
    admin_client: Client, berlin: Channel, wrong: dict[str, Any], sentence: str
) -> None:
    page = admin_client.post("/admin/streams/block/add/", form(berlin, **wrong))
    assert sentence in page.content.decode()
    assert not Block.objects.exists()


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


def test_a_channels_programme_and_hours_are_set_in_its_form(
    admin_client: Client, berlin: Channel
) -> None:
    # An order given while the form was open stays.
    Channel.objects.filter(pk=berlin.pk).update(order="on")
    page = f"/admin/streams/channel/{berlin.pk}/change/"
    answer = admin_client.post(page, programme_form(berlin))
    assert answer.status_code == 302, answer.context["errors"]
    berlin.refresh_from_db()
    assert (berlin.playlist_order, berlin.time_zone, berlin.max_rating, berlin.on_return) == (
        *("shuffle", "America/New_York", 12, "restart"),
    )
    assert berlin.order == "on"
    assert berlin.hours.get().weekdays == {0, 1}
    wrong = admin_client.post(page, programme_form(berlin, time_zone="Mars/Olympus"))
    assert "not one of the available choices" in wrong.content.decode()


def test_whoever_changes_hours_so_that_they_are_over_is_told(
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
    assert "Demo would be off the air now. It plays on" in answer.content.decode()
    berlin.refresh_from_db()
    changed = berlin.hours_changed_at
    assert changed is not None
    assert changed >= now
    # What leaves the hours as they are is no change of them.
    same = {
        "hours-INITIAL_FORMS": "1",
        "hours-0-id": berlin.hours.get().pk,
        "hours-0-channel": berlin.pk,
        "max_rating": "16",
    }
    answer = admin_client.post(page, programme_form(berlin, **hours, **same), follow=True)
    assert "would be off the air" not in answer.content.decode()
    berlin.refresh_from_db()
    assert (berlin.max_rating, berlin.hours_changed_at) == (16, changed)
