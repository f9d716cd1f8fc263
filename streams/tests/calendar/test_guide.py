"""The XMLTV guide for players, and the now-and-next data."""

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
    """Guides are cached for a minute by channel id, and tests share these ids."""
    cache.clear()


# ---- the document ----------------------------------------------------------------------------


def test_a_listing_follows_the_xmltv_format() -> None:
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
    assert [(element.tag, element.text) for element in programme if element.text] == [
        ("title", "Tom & Jerry <1>"),
        ("desc", "Goes on."),
        ("category", "Film"),
        ("category", "Fun"),
    ]
    assert root.findtext("programme/rating/value") == "12"
    assert root.findtext("channel/display-name") == "Demo"


def test_times_distinguish_both_hours_when_the_clock_goes_back() -> None:
    begins = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    hours = [
        Listing("x", begins + timedelta(hours=n), begins + timedelta(hours=n + 1))
        for n in (0, 1)
    ]
    root = valid(document("x", "x", hours, ZoneInfo("Europe/Berlin")))
    assert [element.get("start") for element in root.findall("programme")] == [
        "20261025023000 +0200",
        "20261025023000 +0100",
    ]


def test_entries_below_a_second_are_omitted() -> None:
    listing = Listing("x", NOON, NOON + timedelta(microseconds=999_999))
    assert valid(document("x", "x", [listing], UTC)).findall("programme") == []


@given(st.text(), st.text(min_size=1), st.lists(st.text(min_size=1), max_size=3))
def test_any_text_makes_a_valid_document(title: str, desc: str, categories: list[str]) -> None:
    listing = Listing(title, NOON, NOON + timedelta(hours=1), desc, categories, 0)
    root = valid(document("x", title, [listing], UTC))
    # Characters that XML forbids are removed; an XML parser normalises line ends.
    text = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", title)
    assert (root.findtext("programme/title") or "") == re.sub("\r\n?", "\n", text)


# ---- of a channel ----------------------------------------------------------------------------


@pytest.fixture
def channel(db: None) -> Channel:
    """A channel on air with “First”, which ends in ten seconds; “Second” is next."""
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


def test_the_guide_covers_past_present_and_future(channel: Channel) -> None:
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
    programmes = root.findall("programme")
    titles = [element.findtext("title") for element in programmes]
    # Filler and slates are one entry with the channel's name.
    assert titles[:4] == ["Demo", "First", "Second", "First"]
    second = programmes[2]
    assert (second.findtext("category"), second.findtext("rating/value")) == ("Drama", "12")
    assert programmes[1].findtext("category") == "loop of demo"
    assert programmes[1].findtext("desc") == "Continues at 0:04."
    times = [(element.get("start", ""), element.get("stop", "")) for element in programmes]
    assert all(begins < ends for begins, ends in times)
    assert all(one[1] <= other[0] for one, other in pairwise(times))
    assert all(one[1] == other[0] for one, other in pairwise(times[1:]))
    # Items of one minute for seven days.
    assert len(programmes) == pytest.approx(7 * 24 * 60, abs=3)


def test_parts_of_a_cut_item_are_separate_programmes(channel: Channel) -> None:
    """The parts of an item before and after a block."""
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
    programmes = valid(guide.xmltv(channel, timezone.now())).findall("programme")
    parts = [
        (element.findtext("title"), element.findtext("desc")) for element in programmes[1:4]
    ]
    assert [title for title, _ in parts] == ["Second", "News", "Second"]
    assert parts[0][1] is None
    assert (parts[2][1] or "").startswith("Continues at ")


def test_the_last_programme_is_not_cut(channel: Channel) -> None:
    MediaItem.objects.update(duration_seconds=5 * 3600)
    now = timezone.now()
    airings = guide.programme(Channel.objects.select_related("state").get(), now)
    last = airings[-1]
    assert last.begins < now + guide.AHEAD < last.ends
    # It lasts as long as all of them, up to rounding.
    assert abs((last.ends - last.begins) - timedelta(hours=5)) < timedelta(seconds=1)


def test_the_guide_of_a_channel_that_is_off_has_only_its_on_air_hours(channel: Channel) -> None:
    Channel.objects.update(desired_state="off")
    AsRun.objects.all().delete()
    off = Channel.objects.get()
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert guide.programme(off, now) == []
    OnAirHours.objects.create(channel=off, starts=time(20), ends=time(21), days=1)
    airings = guide.programme(off, now)
    assert (airings[0].begins, airings[-1].ends) == (now.replace(hour=20), now.replace(hour=21))
    assert len(airings) == 60


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
    # Only the channel is queried.
    with django_assert_num_queries(1):
        again = client.get("/channels/demo/guide.xml", headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


# ---- now and next ----------------------------------------------------------------------------


def now_next(client: Client) -> dict[str, Any]:
    answer = client.get("/channels/demo/now.json")
    assert answer["Access-Control-Allow-Origin"] == "*"
    body: dict[str, Any] = answer.json()
    return body


def test_now_is_measured_and_next_is_forecast(channel: Channel, client: Client) -> None:
    body = now_next(client)
    assert (body["state"], body["channel"]) == ("on_air", {"slug": "demo", "name": "Demo"})
    now = body["now"]
    assert (now["title"], now["in_point"], now["rule"]) == ("First", 4.0, "Base playlist")
    assert [element["title"] for element in (body["next"], *body["later"])] == [
        "Second", "First", "Second", "First",
    ]  # fmt: skip
    # With milliseconds, as in JSON.
    assert body["next"]["at"] == now["until"]


def test_an_unmeasured_channel_has_no_current_item(channel: Channel, client: Client) -> None:
    Node.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    body = now_next(client)
    assert (body["now"], body["state"]) == (None, "unknown")


def test_a_channel_that_is_off_has_nothing_next(channel: Channel, client: Client) -> None:
    Channel.objects.update(desired_state="off")
    channel.runs.update(ended_at=timezone.now())
    ChannelState.objects.update(state="off", now_title="", now_until=None)
    body = now_next(client)
    assert (body["now"], body["next"], body["later"], body["state"]) == (None, None, [], "off")


def test_the_rule_of_a_block_is_its_name(channel: Channel, client: Client) -> None:
    block = Block.objects.create(
        channel=channel,
        name="All day",
        playlist=rows.playlist("Film", name="Films"),
        starts=time(0),
        ends=time(0),
    )
    AsRun.objects.update(rule=f"block-{block.pk}")
    body = now_next(client)
    assert body["now"]["rule"] == "All day"
    assert (body["next"]["title"], body["next"]["rule"]) == ("Film", "All day")


def test_an_overlay_can_poll_every_second(
    channel: Channel, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    now_next(client)
    with django_assert_max_num_queries(9):
        now_next(client)


# ---- performance -----------------------------------------------------------------------------


def test_a_stale_guide_is_served_while_a_new_one_is_computed() -> None:
    """Guides of other channels are not blocked."""
    begun, end = Event(), Event()

    def slowly() -> str:
        begun.set()
        assert end.wait(20)
        return "new"

    assert guide.cached_or_made("a", "a", 60, lambda: "old") == "old"
    cache.delete("a-fresh")
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(guide.cached_or_made, "a", "a", 60, slowly)
        assert begun.wait(20)
        assert guide.cached_or_made("a", "a", 60, lambda: "not this") == "old"
        assert guide.cached_or_made("b", "b", 60, lambda: "other") == "other"
        end.set()
        assert made.result(20) == "new"
    assert guide.cached_or_made("a", "a", 60, lambda: "not this") == "new"


def test_a_guide_of_very_short_items_ends_earlier(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guide, "MAX_PICKS", 5)
    airings = guide.programme(channel, timezone.now())
    # The item on air and five more.
    assert len(airings) == 6


def test_past_blocks_do_not_slow_down_the_guide(channel: Channel) -> None:
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
    # Yesterday's occurrence ends today.
    assert names == {"Block 0", "Block 1"}
    # The channel's own clock decides the date: there it is already the 2nd of June.
    Channel.objects.update(time_zone="Pacific/Kiritimati")
    there = Channel.objects.get()
    names = {block.name for block in forecast.compute(there, now, now).programme.blocks}
    assert names == {"Block 0"}


def test_now_and_next_are_computed_once_a_second(
    channel: Channel, client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    before = now_next(client)
    ChannelState.objects.update(now_title="Changed")
    # Only the channel is queried.
    with django_assert_num_queries(1):
        assert now_next(client) == before
    until(lambda: now_next(client)["now"]["title"] == "Changed", 60, "it is looked up again")


def test_an_unknown_zone_is_treated_as_utc(channel: Channel, client: Client) -> None:
    Channel.objects.update(time_zone="Nowhere/Land")
    root = valid(guide.xmltv(Channel.objects.get(), timezone.now()))
    assert root.findall("programme")[0].get("start", "").endswith(" +0000")
    client.force_login(rows.user("streams.view_channel", "streams.view_asrun"))
    for name in ("calendar", "calendar-preview", "calendar-why"):
        assert client.get(reverse(name, args=["demo"])).status_code == 200
