"""What viewers are told: a guide that players can read, and what is on now and next."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from pytest_django import DjangoAssertNumQueries

from media_library.models import MediaItem, Tag
from streams.calendar import guide
from streams.models import AsRun, Block, Channel, ChannelState, Node, OnAirHours
from streams.planning import forecast
from streams.planning.plans import encode_cursors
from streams.programme.model import Cursor
from streams.programme.xmltv import Listing, document
from streams.tests import rows
from streams.tests.bench.waiting import until

DTD = etree.DTD(str(Path(__file__).parent / "xmltv.dtd"))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def valid(written: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    root = etree.fromstring(written, parser)
    assert DTD.validate(root), DTD.error_log
    return root


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Guides are kept for a minute, under the numbers of channels, which tests share."""
    cache.clear()


# ---- the document ----------------------------------------------------------------------------


def test_a_listing_is_written_as_the_format_has_it() -> None:
    listing = Listing(
        "Tom & Jerry <1>", NOON, NOON + timedelta(minutes=90), "Goes on.", ("Film", "Fun"), 12
    )
    root = valid(document("demo.streamsite", "Demo", [listing], ZoneInfo("Europe/Berlin")))
    (programme,) = root.findall("programme")
    assert dict(programme.items()) == {
        "start": "20260301130000 +0100",
        "stop": "20260301143000 +0100",
        "channel": "demo.streamsite",
    }
    assert [(each.tag, each.text) for each in programme if each.text] == [
        ("title", "Tom & Jerry <1>"),
        ("desc", "Goes on."),
        ("category", "Film"),
        ("category", "Fun"),
    ]
    assert root.findtext("programme/rating/value") == "12"
    assert root.findtext("channel/display-name") == "Demo"


def test_times_tell_both_hours_when_the_clock_goes_back() -> None:
    begins = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    hours = [
        Listing("x", begins + timedelta(hours=n), begins + timedelta(hours=n + 1))
        for n in (0, 1)
    ]
    root = valid(document("x", "x", hours, ZoneInfo("Europe/Berlin")))
    assert [each.get("start") for each in root.findall("programme")] == [
        "20261025023000 +0200",
        "20261025023000 +0100",
    ]


def test_what_lasts_less_than_a_second_is_left_out() -> None:
    listing = Listing("x", NOON, NOON + timedelta(microseconds=999_999))
    assert valid(document("x", "x", [listing], UTC)).findall("programme") == []


@given(st.text(), st.text(min_size=1), st.lists(st.text(min_size=1), max_size=3))
def test_any_words_make_a_valid_document(title: str, desc: str, categories: list[str]) -> None:
    listing = Listing(title, NOON, NOON + timedelta(hours=1), desc, categories, 0)
    root = valid(document("x", title, [listing], UTC))
    # What XML can't hold at all is left out; an XML parser reads each line end as one.
    told = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", title)
    assert (root.findtext("programme/title") or "") == re.sub("\r\n?", "\n", told)


# ---- of a channel ----------------------------------------------------------------------------


@pytest.fixture
def channel(db: None) -> Channel:
    """On air with “First”, which ends in ten seconds; “Second” comes next."""
    now = timezone.now()
    rows.node(now)
    made = rows.channel(public_guide=True)
    assert made.playlist is not None
    first = made.playlist.entries.all()[0]
    run = rows.on_air(
        made,
        at=now,
        now_since=now - timedelta(seconds=50),
        now_until=now + timedelta(seconds=10),
        now_rule="base",
        cursors=encode_cursors({"base": Cursor(first.pk)}, {}),
    )
    AsRun.objects.create(
        run=run,
        title="First",
        item=first.item,
        started_at=now - timedelta(seconds=50),
        rule="base",
        in_point=4.0,
    )
    return made


def test_the_guide_tells_what_was_is_and_will_be(channel: Channel) -> None:
    MediaItem.objects.filter(title="Second").update(age_rating=12)
    MediaItem.objects.get(title="Second").tags.add(Tag.objects.create(name="Drama"))
    run = channel.runs.get()
    now = timezone.now()
    for ago, kind, title in ((36, "item", "Long ago"), (2, "slate", "x"), (1, "filler", "y")):
        AsRun.objects.create(
            run=run,
            title=title,
            kind=kind,
            started_at=now - timedelta(hours=ago),
            ended_at=now - timedelta(hours=ago - 1, minutes=0 if kind == "slate" else 5),
            ending="whole",
        )
    root = valid(guide.xmltv(channel, now))
    told = root.findall("programme")
    titles = [each.findtext("title") for each in told]
    # What fills gaps is one entry, with the channel's name.
    assert titles[:4] == ["Demo", "First", "Second", "First"]
    second = told[2]
    assert (second.findtext("category"), second.findtext("rating/value")) == ("Drama", "12")
    assert told[1].findtext("category") == "loop of demo"
    assert told[1].findtext("desc") == "Goes on at 0:04."
    times = [(each.get("start", ""), each.get("stop", "")) for each in told]
    assert all(begins < ends for begins, ends in times)
    assert all(one[1] <= other[0] for one, other in pairwise(times))
    assert all(one[1] == other[0] for one, other in pairwise(times[1:]))
    # A minute each, for seven days.
    assert len(told) == pytest.approx(7 * 24 * 60, abs=3)


def test_parts_that_a_block_cuts_are_programmes_of_their_own(channel: Channel) -> None:
    """The film before a block and its rest behind it."""
    MediaItem.objects.update(duration_seconds=4 * 3600)
    evening = rows.playlist("News", name="News")
    MediaItem.objects.filter(title="News").update(duration_seconds=1800)
    begins = (timezone.now() + timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    Block.objects.create(
        channel=channel,
        name="Evening",
        playlist=evening,
        starts=begins.time(),
        ends=(begins + timedelta(minutes=30)).time(),
        start="hard",
    )
    told = valid(guide.xmltv(channel, timezone.now())).findall("programme")
    parts = [(each.findtext("title"), each.findtext("desc")) for each in told[1:4]]
    assert [title for title, _ in parts] == ["Second", "News", "Second"]
    assert parts[0][1] is None
    assert (parts[2][1] or "").startswith("Goes on at ")


def test_the_last_programme_ends_when_it_ends(channel: Channel) -> None:
    MediaItem.objects.update(duration_seconds=5 * 3600)
    now = timezone.now()
    told = guide.programme(Channel.objects.select_related("state").get(), now)
    last = told[-1]
    assert last.begins < now + guide.AHEAD < last.ends
    # It lasts as long as all of them, up to the rounding of a moment.
    assert abs((last.ends - last.begins) - timedelta(hours=5)) < timedelta(seconds=1)


def test_a_channel_that_is_off_promises_nothing_but_its_hours(channel: Channel) -> None:
    Channel.objects.update(order="off")
    AsRun.objects.all().delete()
    off = Channel.objects.get()
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert guide.programme(off, now) == []
    OnAirHours.objects.create(channel=off, starts=time(20), ends=time(21), days=1)
    told = guide.programme(off, now)
    assert (told[0].begins, told[-1].ends) == (now.replace(hour=20), now.replace(hour=21))
    assert len(told) == 60


def test_who_may_read_the_guide(channel: Channel, client: Client) -> None:
    for address in ("/channels/demo/guide.xml", "/channels/demo/now.json"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "Cookie" not in answer.get("Vary", "")
        assert answer["Cache-Control"].startswith("public")
        Channel.objects.update(public_guide=False)
        assert client.get(address).status_code == 404
        client.force_login(rows.user(name="stranger", staff=False))
        assert client.get(address).status_code == 404
        client.force_login(rows.operator())
        private = client.get(address)
        assert private.status_code == 200
        assert private["Cache-Control"] == "no-cache, private"
        assert "Access-Control-Allow-Origin" not in private
        client.logout()
        User.objects.all().delete()
        Channel.objects.update(public_guide=True)
    assert client.get("/channels/nowhere/guide.xml").status_code == 404
    assert client.post("/channels/demo/guide.xml").status_code == 405


def test_a_guide_is_computed_once_a_minute_and_sent_once(
    channel: Channel, client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = client.get("/channels/demo/guide.xml")
    assert first["Content-Type"] == "application/xml; charset=utf-8"
    # The channel alone is looked up.
    with django_assert_num_queries(1):
        again = client.get("/channels/demo/guide.xml", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


# ---- now and next ----------------------------------------------------------------------------


def asked(client: Client) -> dict[str, Any]:
    answer = client.get("/channels/demo/now.json")
    assert answer["Access-Control-Allow-Origin"] == "*"
    told: dict[str, Any] = answer.json()
    return told


def test_now_and_next_are_what_was_measured_and_what_comes(
    channel: Channel, client: Client
) -> None:
    told = asked(client)
    assert (told["state"], told["channel"]) == ("on_air", {"slug": "demo", "name": "Demo"})
    now = told["now"]
    assert (now["title"], now["in_point"], now["rule"]) == ("First", 4.0, "Base playlist")
    assert [each["title"] for each in (told["next"], *told["later"])] == [
        "Second", "First", "Second", "First",
    ]  # fmt: skip
    # To the millisecond, as JSON tells it.
    assert told["next"]["at"] == now["until"]


def test_what_nobody_measures_is_not_told(channel: Channel, client: Client) -> None:
    Node.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    told = asked(client)
    assert (told["now"], told["state"]) == (None, "unknown")


def test_a_channel_that_is_off_has_nothing_next(channel: Channel, client: Client) -> None:
    Channel.objects.update(order="off")
    channel.runs.update(ended_at=timezone.now())
    ChannelState.objects.update(state="off", now_title="", now_until=None)
    told = asked(client)
    assert (told["now"], told["next"], told["later"], told["state"]) == (None, None, [], "off")


def test_the_rule_of_a_block_is_its_name(channel: Channel, client: Client) -> None:
    block = Block.objects.create(
        channel=channel,
        name="All day",
        playlist=rows.playlist("Film", name="Films"),
        starts=time(0),
        ends=time(0),
    )
    AsRun.objects.update(rule=f"block-{block.pk}")
    told = asked(client)
    assert told["now"]["rule"] == "All day"
    assert (told["next"]["title"], told["next"]["rule"]) == ("Film", "All day")


def test_an_overlay_may_ask_every_second(
    channel: Channel, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    asked(client)
    with django_assert_max_num_queries(9):
        asked(client)


# ---- what it costs ---------------------------------------------------------------------------


def test_who_asks_while_a_guide_is_computed_gets_the_old_one() -> None:
    """And nobody waits for another channel's."""
    begun, end = Event(), Event()

    def slowly() -> str:
        begun.set()
        assert end.wait(20)
        return "new"

    assert guide._kept("a", "a", 60, lambda: "old") == "old"
    cache.delete("a-fresh")
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(guide._kept, "a", "a", 60, slowly)
        assert begun.wait(20)
        assert guide._kept("a", "a", 60, lambda: "not this") == "old"
        assert guide._kept("b", "b", 60, lambda: "other") == "other"
        end.set()
        assert made.result(20) == "new"
    assert guide._kept("a", "a", 60, lambda: "not this") == "new"


def test_a_guide_of_very_short_items_ends_earlier(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guide, "MOST_PICKS", 5)
    told = guide.programme(channel, timezone.now())
    # The one on air, and five more.
    assert len(told) == 6


def test_blocks_of_the_past_cost_nothing(channel: Channel) -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    today = date(2026, 6, 1)
    for ago in range(4):
        rows.block(
            channel,
            f"Block {ago}",
            last_day=today - ago * timedelta(days=1),
            starts=time(22),
            ends=time(2),
        )
    names = {block.name for block in forecast.compute(channel, now, now).programme.blocks}
    # Yesterday's ends today.
    assert names == {"Block 0", "Block 1"}
    # What today is, its own clock says: there it is the 2nd of June already.
    Channel.objects.update(time_zone="Pacific/Kiritimati")
    there = Channel.objects.get()
    names = {block.name for block in forecast.compute(there, now, now).programme.blocks}
    assert names == {"Block 0"}


def test_what_is_on_now_is_looked_up_once_a_second(
    channel: Channel, client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    before = asked(client)
    ChannelState.objects.update(now_title="Changed")
    # The channel alone is looked up.
    with django_assert_num_queries(1):
        assert asked(client) == before
    until(lambda: asked(client)["now"]["title"] == "Changed", 60, "it is looked up again")


def test_a_zone_that_nobody_knows_is_taken_for_utc(channel: Channel, client: Client) -> None:
    Channel.objects.update(time_zone="Nowhere/Land")
    root = valid(guide.xmltv(Channel.objects.get(), timezone.now()))
    assert root.findall("programme")[0].get("start", "").endswith(" +0000")
    client.force_login(rows.user("streams.view_channel", "streams.view_asrun"))
    for name in ("calendar", "calendar-preview", "calendar-why"):
        assert client.get(reverse(name, args=["demo"])).status_code == 200
