"""The calendar in a real browser: dragging, resizing, copying and overlaps."""

from __future__ import annotations

import base64
import os
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from streams.models import Block, Channel, ChannelState
from streams.tests import rows
from streamsite.tests.browsing import browser, complaints, seen, shows_text, site
from streamsite.tests.waiting import until

__all__ = ["browser", "site"]

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

MONDAY = date(2026, 3, 2)
#: In this week the clocks go forward, so that Sunday has no 02:30.
CHANGE = date(2026, 3, 23)


@pytest.fixture
def inside(browser: Chrome, site: str) -> str:
    """Logs in as a superuser; returns the address of the site."""
    User.objects.create_superuser("ada", password="correct horse")
    browser.get(f"{site}/admin/login/")
    seen(browser, "[name=username]").send_keys("ada")
    seen(browser, "[name=password]").send_keys("correct horse")
    seen(browser, "[type=submit]").click()
    seen(browser, ".sx")
    return site


@pytest.fixture
def berlin(transactional_db: None) -> Channel:
    return rows.channel(time_zone="Europe/Berlin")


def shot(browser: Chrome, name: str) -> None:
    """Saves a screenshot in the folder SHOTS, for work on the pages."""
    if folder := os.environ.get("SHOTS"):
        whole = {"captureBeyondViewport": True}
        picture = browser.execute_cdp_cmd("Page.captureScreenshot", whole)["data"]
        Path(folder, f"{name}.png").write_bytes(base64.b64decode(picture))


def screen(browser: Chrome, width: int) -> None:
    size = {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def too_wide(browser: Chrome) -> list[str]:
    """Returns the site's elements that overflow the right edge."""
    sentences: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('.sx *')].filter((e) => e.checkVisibility() && "
        "e.getBoundingClientRect().right > innerWidth + 1 && "
        "!e.closest('.sx-vh, .sx-scroll, .cal-days')).map((e) => e.className || e.tagName)"
    )
    return sentences


def opened(browser: Chrome, inside: str, week: date = MONDAY) -> None:
    browser.get(f"{inside}/admin/calendar/demo/?week={week}")


def settled(browser: Chrome) -> None:
    """Waits until the calendar has finished redrawing."""
    script = "return document.querySelector('[aria-busy=false]') !== null"
    until(lambda: browser.execute_script(script), 60, "the calendar is drawn")


def event(browser: Chrome, title: str) -> WebElement:
    """Returns the block's first occurrence on the page."""
    settled(browser)
    seen(browser, ".fc-event")
    events = [
        event
        for event in browser.find_elements(By.CSS_SELECTOR, ".fc-timegrid-event")
        if title in event.text
    ]
    return events[0]


def hour(browser: Chrome) -> float:
    """Pixels."""
    day = browser.find_element(By.CSS_SELECTOR, ".fc-timegrid-body")
    return float(browser.execute_script("return arguments[0].offsetHeight", day)) / 24


def column(browser: Chrome) -> float:
    """Returns the pixels between two days."""
    return float(browser.find_element(By.CSS_SELECTOR, ".fc-timegrid-col.fc-day").rect["width"])


def drag(browser: Chrome, what: WebElement, right: float, down: float) -> None:
    # Dragging snaps when 15 minutes are reached, so it needs a little more.
    down += hour(browser) / 8
    actions = ActionChains(browser, duration=60)
    actions.move_to_element(what).click_and_hold().move_by_offset(0, 6)
    actions.move_by_offset(round(right), round(down) - 6).pause(0.1).release().perform()


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overflows_the_page(
    browser: Chrome, inside: str, berlin: Channel, width: int
) -> None:
    screen(browser, width)
    long = "A block whose name goes on for quite a while and then some more"
    of = rows.block(berlin, long, priority=3, start="hard", fit=True)
    rows.block(berlin, "Late", starts=time(21), ends=time(23, 30), priority=3)
    rows.block(berlin, "Night", starts=time(23), ends=time(4), days=0b1100000)
    rows.block(berlin, "Off", starts=time(10), ends=time(11), enabled=False)
    berlin.hours.create(starts=time(0), ends=time(0))
    now = timezone.now()
    rows.node()
    rows.on_air(
        berlin,
        now_title=long * 2,
        now_since=now,
        now_until=now + timedelta(minutes=3),
        now_rule="base",
        now_why="The base playlist, because no block is on.",
    )
    pages = {
        "calendar": "/admin/calendar/demo/",
        "change": f"/admin/calendar/demo/?week={CHANGE}",
        "preview": "/admin/calendar/demo/preview/",
        "why": "/admin/calendar/demo/why/",
        "why-later": f"/admin/calendar/demo/why/?at={now + timedelta(days=1):%Y-%m-%dT21:10}",
        "monitor": "/admin/monitor/demo/",
        "blocks": "/admin/streams/block/",
        "block": f"/admin/streams/block/{of.pk}/change/",
        "channel": f"/admin/streams/channel/{berlin.pk}/change/",
        "channels": "/admin/streams/channel/",
    }
    for name, page in pages.items():
        browser.get(inside + page)
        seen(browser, ".sx, #content-main")
        if name in {"calendar", "change"}:
            shows_text(browser, ".fc", "Late")
            shows_text(browser, "[data-overlaps]", "“Late” wins, for it begins later.")
        shot(browser, f"{name}-{width}")
        assert too_wide(browser) == [], name
        inner = "return document.documentElement.scrollWidth - innerWidth"
        assert browser.execute_script(inner) <= 0, name
    assert complaints(browser) == []


def minutes(of: Block) -> tuple[int, int]:
    """Returns the times of day at which it starts and ends."""
    of.refresh_from_db()
    return of.starts.hour * 60 + of.starts.minute, of.ends.hour * 60 + of.ends.minute


def shows(browser: Chrome, of: Block) -> None:
    of.refresh_from_db()
    shows_text(browser, ".fc-timegrid-event", f"{of.starts:%H:%M} - {of.ends:%H:%M}")


def test_a_block_is_moved_and_resized(browser: Chrome, inside: str, berlin: Channel) -> None:
    of = rows.block(berlin, starts=time(8), ends=time(10), first_day=MONDAY, last_day=MONDAY)
    opened(browser, inside)
    drag(browser, event(browser, "Evening"), column(browser), 2 * hour(browser))
    shows_text(browser, "[data-messages]", "“Evening” is moved: only on 3 Mar 2026, ")
    shows(browser, of)
    begins, ends = minutes(of)
    # By two hours, within the 15 minutes to which it snaps.
    assert abs(begins - 10 * 60) <= 30
    assert ends - begins == 120
    assert (of.first_day, of.weekdays) == (date(2026, 3, 3), frozenset({1}))

    shown = event(browser, "Evening")
    ActionChains(browser).move_to_element(shown).perform()
    drag(
        browser, shown.find_element(By.CSS_SELECTOR, ".fc-event-resizer-end"), 0, hour(browser)
    )
    until(lambda: minutes(of) != (begins, ends), 60, "its end is moved")
    shows(browser, of)
    assert minutes(of)[0] == begins
    assert abs(minutes(of)[1] - ends - 60) <= 30
    assert complaints(browser) == []


def test_a_series_moves_only_after_confirmation(
    browser: Chrome, inside: str, berlin: Channel
) -> None:
    of = rows.block(berlin, starts=time(8), ends=time(10), days=0b101)
    opened(browser, inside)
    drag(browser, event(browser, "Evening"), 0, 3 * hour(browser))
    shows_text(browser, "[data-question]", "“Evening” has one time for all its days")
    seen(browser, "[data-question] [data-answer='']").click()
    shows_text(browser, ".fc-timegrid-event", "08:00 - 10:00")
    assert minutes(of) == (480, 600)
    drag(browser, event(browser, "Evening"), 0, 3 * hour(browser))
    shows_text(browser, "[data-question]", "to Mon, Wed, 1")
    shot(browser, "ask")
    seen(browser, "[data-question] [data-answer=yes]").click()
    shows_text(browser, "[data-messages]", "“Evening” is moved: Mon, Wed, ")
    shows(browser, of)
    assert minutes(of)[0] > 600
    assert complaints(browser) == []


def test_a_refused_move_is_reverted(browser: Chrome, inside: str, berlin: Channel) -> None:
    of = rows.block(berlin, starts=time(8), ends=time(10), first_day=MONDAY, last_day=MONDAY)
    opened(browser, inside)
    shown = event(browser, "Evening")
    Block.objects.filter(pk=of.pk).update(ends=time(11))
    drag(browser, shown, 0, 3 * hour(browser))
    shows_text(
        browser, "[data-messages]", "Somebody else has changed “Evening” in the meantime"
    )
    shows_text(browser, ".fc", "08:00 - 11:00")


def test_an_empty_time_becomes_a_block(browser: Chrome, inside: str, berlin: Channel) -> None:
    opened(browser, inside, CHANGE)
    lane = browser.find_element(By.CSS_SELECTOR, f".fc-timegrid-col[data-date='{CHANGE}']")
    top = -float(lane.rect["height"]) / 2
    # From 09:00 to 11:00.
    actions = ActionChains(browser, duration=60)
    browser.execute_script("arguments[0].scrollIntoView({block: 'start'})", lane)
    actions.move_to_element_with_offset(lane, 0, round(top + 9.1 * hour(browser)))
    actions.click_and_hold().move_by_offset(0, round(1.8 * hour(browser))).pause(0.1)
    actions.release().perform()
    shows_text(browser, "[data-question]", "A block from 09:00 to 11:00")
    # The dialog for a new block says Cancel.
    assert seen(browser, "[data-question] [data-answer='']").text == "Cancel"
    seen(browser, "[data-question] [data-answer=once]").click()
    seen(browser, "[name=name]").send_keys("Drawn")
    filled = {
        name: seen(browser, f"[name={name}]").get_attribute("value")
        for name in ("starts", "ends", "first_day", "last_day")
    }
    assert filled == {
        "starts": "09:00",
        "ends": "11:00",
        "first_day": "2026-03-23",
        "last_day": "2026-03-23",
    }
    ticked = browser.find_elements(By.CSS_SELECTOR, "[name=days]:checked")
    assert [box.get_attribute("value") for box in ticked] == ["0"]
    assert complaints(browser) == []


def test_a_copied_week_shows_its_overlap(browser: Chrome, inside: str, berlin: Channel) -> None:
    rows.block(berlin, "Gala", first_day=MONDAY, last_day=MONDAY)
    rows.block(berlin, "Late", starts=time(21), ends=time(23), days=1)
    opened(browser, inside)
    shows_text(
        browser, "[data-overlaps]", "Mon 2 Mar 21:00 to 22:00: “Gala” and “Late” both have"
    )
    shows_text(browser, "[data-overlaps]", "“Late” wins, for it begins later.")
    shows_text(browser, ".cal-clash", "Overlap")
    seen(browser, "[data-copy]").click()
    shows_text(
        browser,
        "[data-copy-text]",
        "Copies “Gala”: the blocks whose dates are within this week.",
    )
    shot(browser, "copy")
    seen(browser, "[data-copy-yes]").click()
    shows_text(browser, "[data-messages]", "1 block copied.")
    shows_text(browser, "[data-title]", "9 – 15 Mar 2026")
    shows_text(browser, ".fc", "Gala, 9 Mar 2026")
    shows_text(browser, "[data-blocks]", "Gala, 9 Mar 2026")
    assert Block.objects.filter(first_day=MONDAY + timedelta(days=7)).count() == 1
    assert complaints(browser) == []


def test_seconds_are_shown_and_the_list_view_hides_the_drag_hint(
    browser: Chrome, inside: str, berlin: Channel
) -> None:
    rows.block(berlin, starts=time(20, 26), ends=time(20, 26, 30), days=1)
    opened(browser, inside)
    shows_text(browser, ".fc-timegrid-event", "20:26 - 20:26:30")
    shows_text(browser, ".cal-foot", "Drag a block to move it")
    seen(browser, "[data-view=listWeek]").click()
    shows_text(browser, ".fc-list-event-time", "20:26 - 20:26:30")
    foot = seen(browser, ".cal-foot").text
    assert "In the channel's time" in foot
    assert "Drag" not in foot
    assert "Draw" not in foot
    assert complaints(browser) == []


@pytest.mark.parametrize("width", [1440, 390])
def test_times_are_in_the_zone_that_the_page_names(
    browser: Chrome, inside: str, width: int
) -> None:
    """Also times written by scripts: the browser's time zone has no effect."""
    screen(browser, width)
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "America/New_York"})
    tokyo = rows.channel(time_zone="Asia/Tokyo")
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    tokyo.incidents.create(
        subject="x", severity="lost", cause="Away.", opened_at=noon, closed_at=noon
    )
    tokyo.log_lines.create(at=noon, role="hub", level="info", text="Hello.")
    tokyo.hours.create(starts=time(8), ends=time(8, 1))
    ChannelState.objects.create(channel=tokyo, hours_done=timezone.now())
    browser.get(f"{inside}/admin/monitor/demo/")
    shows_text(browser, "[data-log]", "21:00:00")
    shows_text(browser, "[data-panels]", "05 Jan 21:00:00")
    shows_text(browser, ".sx-side", "All times on this page are in Asia/Tokyo.")
    shot(browser, f"zone-monitor-{width}")
    browser.get(f"{inside}/admin/")
    shows_text(browser, "[data-f=incident]", "Last incident 05 Jan, 12:00:00")
    shows_text(browser, "[data-f=outlook]", "The on-air hours start the channel at ")
    shows_text(browser, ".sx-zone", "Times without a zone are in UTC.")
    shot(browser, f"zone-room-{width}")
    assert too_wide(browser) == []
    assert complaints(browser) == []


def test_the_night_of_a_clock_change_is_shown_as_it_plays(
    browser: Chrome, inside: str, berlin: Channel
) -> None:
    rows.block(berlin, "Gap", starts=time(2, 30), ends=time(5), days=1 << 6)
    opened(browser, inside, CHANGE)
    shows_text(browser, ".fc", "03:30 - 05:00")
    shows_text(browser, "[data-clock]", "On Sun 29 Mar the clock goes forward by 60 minutes")


def test_a_block_is_opened_by_keyboard(browser: Chrome, inside: str, berlin: Channel) -> None:
    of = rows.block(berlin, days=1)
    opened(browser, inside)
    event(browser, "Evening").send_keys(Keys.ENTER)
    assert seen(browser, "[name=name]").get_attribute("value") == "Evening"
    assert f"/block/{of.pk}/change/?calendar=2026-03-02" in browser.current_url
    seen(browser, "[name=_save]").click()
    shows_text(browser, "[data-title]", "2 – 8 Mar 2026")
