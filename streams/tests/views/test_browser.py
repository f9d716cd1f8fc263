"""An operator's actions in a real browser, with a real node."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from selenium.webdriver import Chrome

from streams.models import Channel, LogLine
from streams.tests import rows
from streams.tests.bench.clips import Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.waiting import until
from streamsite.tests.browsing import browser, complaints, seen, shows_text, site, words

__all__ = ["browser", "site"]

pytestmark = pytest.mark.slow


def log_in(browser: Chrome, site: str) -> None:
    rows.operator()
    browser.get(f"{site}/admin/")
    seen(browser, "[name=username]").send_keys("ada")
    seen(browser, "[name=password]").send_keys("correct horse")
    seen(browser, "[type=submit]").click()
    seen(browser, ".sx-tile")


def state(browser: Chrome) -> Callable[[], str]:
    """Returns a function that reads the channel's state from the page."""

    def label() -> str:
        word = browser.execute_script(
            "return document.querySelector('[data-channel] [data-f=label]').textContent"
        )
        return str(word).strip()

    return label


def test_start_watch_and_stop(
    node: Bench, browser: Chrome, site: str, shelf: dict[int, Clip]
) -> None:
    channel = node.channel(*(node.item(shelf[number]) for number in (2, 4)), slug="demo")
    log_in(browser, site)
    showing = state(browser)
    assert showing() == "Off"

    seen(browser, "[data-verb=start]").click()
    until(lambda: showing() == "On air", 60, "the tile says that it is on air")
    # Start needs no confirmation and no page load: the tile changes in place.
    assert browser.current_url == f"{site}/admin/"
    until(
        lambda: browser.execute_script(
            "const i = document.querySelector('[data-picture]');"
            "return !i.hidden && i.naturalWidth === 480"
        ),
        60,
        "the tile shows the picture",
    )

    browser.get(f"{site}/admin/monitor/demo/")
    played = "return document.querySelector('video').currentTime"
    until(lambda: browser.execute_script(played) > 0, 60, "the preview begins to play")
    begun = float(browser.execute_script(played))
    until(lambda: browser.execute_script(played) > begun + 1, 60, "the preview goes on")
    LogLine.objects.create(
        channel=channel,
        at=channel.runs.get().started_at,
        role="hub",
        level="info",
        text="[FFMPEG] seen as it is written",
    )
    shows_text(browser, ".sx-log", "seen as it is written")

    seen(browser, "[data-verb=stop]").click()
    shows_text(browser, "#sx-dialog-cost", "off the air")
    seen(browser, "#sx-dialog [data-answer=no]").click()
    channel.refresh_from_db()
    assert channel.desired_state == Channel.DesiredState.ON

    seen(browser, "[data-verb=stop]").click()
    seen(browser, "#sx-dialog [data-answer=yes]").click()
    until(lambda: state(browser)() == "Off", 60, "the page says that it is off")
    seen(browser, "[data-verb=start]")
    assert complaints(browser) == []
    assert node.records(channel) == {}


def test_the_page_reports_an_unreachable_server(
    transactional_db: None, browser: Chrome, site: str
) -> None:
    rows.channel()
    log_in(browser, site)
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": True})
    shows_text(browser, "[data-lost]", "The server doesn't answer.")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    until(
        lambda: not words(browser, "[data-lost]"),
        60,
        "the warning goes when the server answers",
    )


def test_the_wall_without_a_connection_is_unknown(
    transactional_db: None, browser: Chrome, site: str
) -> None:
    channel = rows.channel()
    rows.output(channel)
    # Measured in the future, so that the server itself goes on saying On air.
    later = timezone.now() + timedelta(hours=1)
    rows.node(later)
    rows.on_air(channel, at=later)
    log_in(browser, site)
    browser.get(f"{site}/admin/wall/")
    showing = state(browser)
    until(lambda: showing() == "On air", 60, "the wall says that it is on air")
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": True})
    until(lambda: showing() == "Unknown", 60, "the wall does not keep the last good state")
    states = "return [...document.querySelectorAll('[data-state]')].map(e => e.dataset.state)"
    assert browser.execute_script(states) == ["unknown", "unknown"]
    assert "Mbit/s" not in words(browser, ".sx-tile")
    shows_text(browser, "[data-lost]", "The server doesn't answer.")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    until(lambda: showing() == "On air", 60, "it is back")


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overflows_the_page(
    transactional_db: None, browser: Chrome, site: str, width: int
) -> None:
    channel = rows.channel(name="A channel with quite a long name for its tile")
    rows.output(channel, "An output of which much is to be told")
    rows.node()
    rows.on_air(
        channel, state="degraded", cause="Something happened. " * 6, now_title="A title " * 20
    )
    log_in(browser, site)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for page in ("/admin/", "/admin/monitor/demo/"):
        browser.get(site + page)
        seen(browser, "[data-verb=stop]")
        wide = browser.execute_script(
            "return [...document.querySelectorAll('.sx *')].filter((e) => "
            "e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.sx-scroll')"
            ").map((e) => e.className)"
        )
        assert wide == []
