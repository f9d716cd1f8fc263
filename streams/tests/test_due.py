"""When items are due, and that copies are asked for in that order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from media_library.models import MediaItem, PreparedCopy
from streams.models import Channel, ChannelState
from streams.programme.due import UNKNOWN, Slot, due
from streams.tasks import prepare_playlists
from streams.tests import rows

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SLOTS = (Slot(1, 11, 60), Slot(2, 22, None), Slot(3, 11, 60), Slot(4, 44, 30.5))


def seconds(last_entry: int | None) -> dict[int, float]:
    found = due(SLOTS, last_entry, NOON)
    return {media: (at - NOON).total_seconds() for media, at in found.items()}


def test_a_programme_goes_on_after_the_last_entry_and_round() -> None:
    assert seconds(None) == {11: 0, 22: 60, 44: 120 + UNKNOWN}
    assert seconds(2) == {11: 0, 44: 60, 22: 150.5}
    assert seconds(4) == {11: 0, 22: 60, 44: 120 + UNKNOWN}


def test_after_a_removed_entry_it_begins_at_the_top() -> None:
    assert seconds(77) == seconds(None)


def test_an_empty_playlist_has_nothing_due() -> None:
    assert due((), 1, NOON) == {}


# ---- rows ------------------------------------------------------------------------------------


@pytest.fixture
def channel(db: None) -> Channel:
    """On air; its second item plays for five minutes yet."""
    made = rows.channel(playlist=rows.playlist("a", "b", "c"))
    assert made.playlist is not None
    second = made.playlist.entries.all()[1]
    until = timezone.now() + timedelta(minutes=5)
    rows.on_air(made, cursors={"base": [second.pk, 0, None, None]}, now_until=until)
    return made


def minutes() -> dict[str, int]:
    now = timezone.now()
    return {
        copy.item.title: round((copy.due_at - now).total_seconds() / 60)
        for copy in PreparedCopy.objects.select_related("item")
        if copy.due_at is not None
    }


def test_copies_are_due_when_their_items_are(channel: Channel) -> None:
    assert prepare_playlists() == "3 asked for, 0 due at another time."
    assert minutes() == {"c": 5, "a": 6, "b": 7}
    assert prepare_playlists() == "0 asked for, 0 due at another time."
    ChannelState.objects.update(now_until=timezone.now() + timedelta(minutes=30))
    assert prepare_playlists() == "0 asked for, 3 due at another time."
    assert minutes() == {"c": 30, "a": 31, "b": 32}


def test_the_sooner_of_two_channels_counts_and_filler_is_due_now(channel: Channel) -> None:
    filler = rows.playlist("net", name="Filler")
    Channel.objects.update(filler=filler)
    other = rows.channel("other", playlist=channel.playlist)
    rows.on_air(other)
    assert prepare_playlists() == "4 asked for, 0 due at another time."
    assert minutes() == {"a": 0, "b": 1, "c": 2, "net": 0}
    # An overdue one is not written again every minute.
    assert prepare_playlists() == "0 asked for, 0 due at another time."


def test_a_channel_that_is_off_waits_behind_all_that_is_due(channel: Channel) -> None:
    rows.channel("off", playlist=rows.playlist("z", name="Off"))
    prepare_playlists()
    assert "z" not in minutes()
    assert PreparedCopy.objects.get(item__title="z").due_at is None


def test_what_was_changed_is_asked_for_again_and_what_people_left_is_not(
    channel: Channel,
) -> None:
    prepare_playlists()
    status = PreparedCopy.Status
    for title, one in (("a", status.READY), ("b", status.CANCELLED), ("c", status.FAULT)):
        PreparedCopy.objects.filter(item__title=title).update(
            status=one, key="prepared/x.mp4", frames=16
        )
    assert prepare_playlists().startswith("0 asked for")
    MediaItem.objects.filter(title="a").update(etag="another")
    assert prepare_playlists().startswith("1 asked for")
    found = dict(PreparedCopy.objects.values_list("item__title", "status"))
    assert found == {"a": "queued", "b": "cancelled", "c": "fault"}


def test_what_no_channel_plays_any_more_comes_last(channel: Channel) -> None:
    assert channel.playlist is not None
    prepare_playlists()
    channel.playlist.entries.filter(item__title="a").delete()
    assert prepare_playlists().startswith("0 asked for")
    assert set(minutes()) == {"b", "c"}
    # Another logo is another house.
    Channel.objects.update(logo="0123456789abcdef")
    assert prepare_playlists().startswith("2 asked for")
    old = PreparedCopy.objects.filter(house=channel.house.signature)
    assert set(old.values_list("due_at", flat=True)) == {None}
    assert set(minutes()) == {"b", "c"}


def test_a_faulty_item_is_not_asked_for(channel: Channel) -> None:
    MediaItem.objects.filter(title="a").update(status="fault", fault="It is no film.")
    assert prepare_playlists().startswith("2 asked for")


def test_a_long_playlist_costs_few_queries(
    channel: Channel, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    playlist = channel.playlist
    assert playlist is not None
    items = MediaItem.objects.bulk_create(
        MediaItem(key=f"{n}.mp4", title=str(n), status="ready", duration_seconds=60)
        for n in range(2000)
    )
    playlist.entries.model.objects.bulk_create(
        playlist.entries.model(playlist=playlist, item=item, position=n)
        for n, item in enumerate(items, 10)
    )
    PreparedCopy.objects.bulk_create(
        PreparedCopy(item=item, house=channel.house.signature, queued_at=NOON) for item in items
    )
    with django_assert_max_num_queries(60):
        assert prepare_playlists() == "3 asked for, 2000 due at another time."
    with django_assert_max_num_queries(20):
        assert prepare_playlists() == "0 asked for, 0 due at another time."
