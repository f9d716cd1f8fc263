"""Due times of items, and requesting copies in that order."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from media_library.models import MediaItem, PreparedCopy
from streams.models import Channel, ChannelState
from streams.planning import forecast
from streams.planning.plans import encode_cursors
from streams.programme.due import due
from streams.programme.item import Item, Mode
from streams.programme.model import Block, Cursor, Cursors, Entry, Programme, Rotation, Start
from streams.programme.schedule import preview
from streams.tasks import prepare_playlists
from streams.tests import rows

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def entry(number: int, media: int, seconds: int = 64) -> Entry:
    item = Item(f"{media}", f"{media}.mp4", Mode.PREPARED, entry=number, media=media)
    return Entry(item, Fraction(seconds))


LIST = Rotation((entry(1, 11), entry(2, 22, 80), entry(3, 11), entry(4, 44, 32)))


def seconds(programme: Programme, cursors: Cursors, ahead: int) -> dict[int, float]:
    until = NOON + timedelta(seconds=ahead)
    times = due(programme, preview(programme, NOON, until, cursors), until, cursors)
    return {media: (at - NOON).total_seconds() for media, at in times.items()}


@pytest.mark.parametrize("ahead", [0, 100, 10_000])
def test_due_times_continue_after_the_last_entry_and_wrap(ahead: int) -> None:
    """Items after the preview follow in the list's order, from the preview's end."""
    programme = Programme(LIST, ZoneInfo("UTC"))
    assert seconds(programme, {}, ahead) == {11: 0, 22: 64, 44: 208}
    assert seconds(programme, {"base": Cursor(2)}, ahead) == {11: 0, 44: 64, 22: 160}


def test_after_a_removed_entry_due_times_start_at_the_top() -> None:
    programme = Programme(LIST, ZoneInfo("UTC"))
    assert seconds(programme, {"base": Cursor(77)}, 500) == seconds(programme, {}, 500)


def test_a_blocks_items_are_due_in_the_block_and_delay_the_list() -> None:
    evening = Block(
        7, "Evening", Rotation((entry(9, 99),)), time(12, 2), time(12, 4), start=Start.HARD
    )
    programme = Programme(LIST, ZoneInfo("UTC"), (evening,))
    times = seconds(programme, {}, 600)
    assert times[99] == pytest.approx(120, abs=1)
    # After the block the second item resumes, then the third, then 44.
    assert times[44] > 208 + 120
    later = Block(7, "Evening", evening.rotation, time(18), time(19))
    assert seconds(Programme(LIST, ZoneInfo("UTC"), (later,)), {}, 600)[99] >= 600


def test_an_empty_programme_has_nothing_due() -> None:
    assert seconds(Programme(Rotation(()), ZoneInfo("UTC")), {}, 600) == {}


# ---- rows ------------------------------------------------------------------------------------


@pytest.fixture
def channel(db: None) -> Channel:
    """On air; its second item plays for five more minutes."""
    made = rows.channel(playlist=rows.playlist("a", "b", "c"))
    assert made.playlist is not None
    second = made.playlist.entries.all()[1]
    until = timezone.now() + timedelta(minutes=5)
    rows.on_air(made, cursors=encode_cursors({"base": Cursor(second.pk)}, {}), now_until=until)
    return made


def minutes() -> dict[str, int]:
    now = timezone.now()
    return {
        copy.item.title: round((copy.due_at - now).total_seconds() / 60)
        for copy in PreparedCopy.objects.select_related("item")
        if copy.due_at is not None
    }


def test_copies_are_due_when_their_items_are(channel: Channel) -> None:
    assert prepare_playlists() == "3 requested, 0 with a new due time."
    assert minutes() == {"c": 5, "a": 6, "b": 7}
    assert prepare_playlists() == "0 requested, 0 with a new due time."
    ChannelState.objects.update(now_until=timezone.now() + timedelta(minutes=30))
    assert prepare_playlists() == "0 requested, 3 with a new due time."
    assert minutes() == {"c": 30, "a": 31, "b": 32}


def test_the_earlier_of_two_channels_counts_and_filler_is_due_now(channel: Channel) -> None:
    filler = rows.playlist("net", name="Filler")
    Channel.objects.update(filler=filler)
    other = rows.channel("other", playlist=channel.playlist)
    rows.on_air(other)
    assert prepare_playlists() == "4 requested, 0 with a new due time."
    assert minutes() == {"a": 0, "b": 1, "c": 2, "net": 0}
    # An overdue item is not written again every minute.
    assert prepare_playlists() == "0 requested, 0 with a new due time."


def test_items_of_a_channel_that_is_off_come_after_all_due_ones(channel: Channel) -> None:
    rows.channel("off", playlist=rows.playlist("z", name="Off"))
    prepare_playlists()
    assert "z" not in minutes()
    assert PreparedCopy.objects.get(item__title="z").due_at is None


def test_changed_items_are_requested_again_but_cancelled_ones_are_not(
    channel: Channel,
) -> None:
    prepare_playlists()
    status = PreparedCopy.Status
    for title, one in (("a", status.READY), ("b", status.CANCELLED), ("c", status.FAULT)):
        PreparedCopy.objects.filter(item__title=title).update(
            status=one, key="prepared/x.mp4", frames=16
        )
    assert prepare_playlists().startswith("0 requested")
    MediaItem.objects.filter(title="a").update(etag="another")
    assert prepare_playlists().startswith("1 requested")
    statuses = dict(PreparedCopy.objects.values_list("item__title", "status"))
    assert statuses == {"a": "queued", "b": "cancelled", "c": "fault"}


def test_items_that_no_channel_plays_any_more_come_last(channel: Channel) -> None:
    assert channel.playlist is not None
    prepare_playlists()
    channel.playlist.entries.filter(item__title="a").delete()
    assert prepare_playlists().startswith("0 requested")
    assert set(minutes()) == {"b", "c"}
    # A new logo makes a new house format.
    Channel.objects.update(logo="0123456789abcdef")
    assert prepare_playlists().startswith("2 requested")
    old = PreparedCopy.objects.filter(house_format=channel.house_format.signature)
    assert set(old.values_list("due_at", flat=True)) == {None}
    assert set(minutes()) == {"b", "c"}


def test_a_faulty_item_is_not_requested(channel: Channel) -> None:
    MediaItem.objects.filter(title="a").update(status="fault", fault="It is not a video.")
    assert prepare_playlists().startswith("2 requested")


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
        PreparedCopy(item=item, house_format=channel.house_format.signature, queued_at=NOON)
        for item in items
    )
    with django_assert_max_num_queries(60):
        assert prepare_playlists() == "3 requested, 2000 with a new due time."
    with django_assert_max_num_queries(20):
        assert prepare_playlists() == "0 requested, 0 with a new due time."


def test_one_channels_error_does_not_keep_others_from_being_prepared(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own items are not moved behind all others either."""
    other = rows.channel(
        "other", playlist=rows.playlist("z", name="Other"), time_zone="Nowhere/Land"
    )
    rows.on_air(other)
    # An unknown time zone causes no error.
    assert prepare_playlists() == "4 requested, 0 with a new due time."
    PreparedCopy.objects.filter(item__title="a").delete()
    forecast_of = forecast.compute

    def fails(of: Channel, now: datetime, until: datetime) -> forecast.Forecast:
        if of == other:
            raise ArithmeticError("Nobody thought of it.")
        return forecast_of(of, now, until)

    monkeypatch.setattr(forecast, "compute", fails)
    assert prepare_playlists() == "1 requested, 0 with a new due time."
    assert minutes()["z"] == 0
