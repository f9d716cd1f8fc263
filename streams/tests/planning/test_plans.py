"""Plans from rows: which copy of an item is played, and which items may be filler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from media_library.house_format import HouseFormat, Logo
from media_library.models import MediaItem, Playlist, PreparedCopy
from streams.models import Channel
from streams.planning import plans
from streams.programme.item import Item, Kind, Mode
from streams.tests import rows

pytestmark = pytest.mark.django_db

BARE = HouseFormat()
BRANDED = replace(BARE, logo=Logo("0123456789abcdef"))
OLD = replace(BARE, logo=Logo("fedcba9876543210"))


@pytest.fixture
def channel() -> Channel:
    return rows.channel()


@pytest.fixture
def first(channel: Channel) -> MediaItem:
    return MediaItem.objects.get(title="First")


def copy(item: MediaItem, house_format: HouseFormat = BARE, **fields: Any) -> PreparedCopy:
    facts: dict[str, Any] = {
        "source_etag": item.etag,
        "key": f"prepared/{house_format.signature}/1.mp4",
        "frames": 64,
        "status": "ready",
        "made_at": timezone.now(),
    }
    return PreparedCopy.objects.create(
        item=item, house_format=house_format.signature, **facts | fields
    )


def items(channel: Channel) -> list[Item]:
    return [entry.item for entry in plans.programme(channel).base.entries]


def test_an_item_is_played_from_its_copy_if_it_has_one(
    channel: Channel, first: MediaItem
) -> None:
    made = copy(first)
    one, two = items(channel)
    assert (one.mode, one.key, one.frames) == (Mode.PREPARED, made.key, 64)
    assert (two.mode, two.key) == (Mode.TRANSCODE, "loop of demo/second.mp4")


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "queued", "key": "", "frames": None},
        {"status": "running", "key": "", "frames": None},
        {"status": "fault"},
        {"status": "cancelled", "source_etag": "of another content"},
    ],
)
def test_a_missing_or_failed_copy_is_not_played(
    channel: Channel, first: MediaItem, fields: dict[str, Any]
) -> None:
    copy(first, **fields)
    assert items(channel)[0].mode is Mode.TRANSCODE


@pytest.mark.parametrize(
    "fields",
    [
        {"source_etag": "of the content before"},
        {"status": "queued"},
        {"status": "running", "source_etag": "of the content before"},
    ],
)
def test_the_old_copy_plays_until_the_new_one_is_ready(
    channel: Channel, first: MediaItem, fields: dict[str, Any]
) -> None:
    made = copy(first, **fields)
    MediaItem.objects.filter(pk=first.pk).update(status=MediaItem.Status.NEW)
    item = items(channel)[0]
    assert (item.mode, item.key) == (Mode.PREPARED, made.key)


def test_a_copy_of_the_present_content_is_preferred_to_one_with_the_logo(
    channel: Channel, first: MediaItem
) -> None:
    channel.logo = "0123456789abcdef"
    channel.save()
    copy(first, BRANDED, source_etag="of the content before")
    current = copy(first)
    assert items(channel)[0].key == current.key


def test_a_remade_copy_is_another_edition(channel: Channel, first: MediaItem) -> None:
    made = copy(first)
    before = items(channel)[0].edition
    PreparedCopy.objects.filter(pk=made.pk).update(made_at=timezone.now())
    assert items(channel)[0].edition != before


def test_while_a_new_logo_is_burnt_in_the_old_copies_keep_playing(
    channel: Channel, first: MediaItem
) -> None:
    channel.logo = "0123456789abcdef"
    copy(first)
    assert items(channel)[0].key == f"prepared/{BARE.signature}/1.mp4"
    copy(first, OLD)
    assert items(channel)[0].key == f"prepared/{OLD.signature}/1.mp4"
    copy(first, BRANDED)
    assert items(channel)[0].key == f"prepared/{BRANDED.signature}/1.mp4"


def test_a_copy_of_a_similar_format_is_not_used(channel: Channel, first: MediaItem) -> None:
    channel.audio_bitrate = 12_000
    copy(first, replace(BARE, audio_bitrate=128_000))
    assert items(channel)[0].mode is Mode.TRANSCODE


def test_a_faulty_or_missing_item_is_left_out_even_if_its_copy_exists(
    channel: Channel, first: MediaItem
) -> None:
    copy(first)
    MediaItem.objects.filter(pk=first.pk).update(status="fault", fault="It is gone.")
    assert [item.title for item in items(channel)] == ["Second"]


def test_only_prepared_items_may_be_filler(channel: Channel) -> None:
    channel.filler = rows.playlist("Ready", "Not yet", name="Filler")
    assert isinstance(channel.filler, Playlist)
    copy(MediaItem.objects.get(title="Ready"))
    (filler,) = [entry.item for entry in plans.programme(channel).filler.entries]
    assert (filler.title, filler.kind) == ("Ready", Kind.FILLER)
