"""Point 8: what an operator does and sees, in a real browser, with a real node behind it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from conftest import need
from streams.models import Channel, LogLine
from streams.tests import rows
from streams.tests.bench.clips import Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.waiting import until

pytestmark = pytest.mark.slow

FLAGS = (
    "--headless=new",
    # CI runs as root in a container, where Chromium's own sandbox can't be made.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,1000",
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    need(chromium and driver, "Chromium with chromedriver")
    options = ChromeOptions()
    options.binary_location = str(chromium)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(str(driver)))
    yield chrome
    chrome.quit()


@pytest.fixture
def site(live_server: LiveServer, settings: Settings) -> str:
    settings.ALLOWED_HOSTS = ["*"]
    return str(live_server.url)


def seen(browser: Chrome, selector: str) -> WebElement:
    """The element, once there is one that shows."""

    def look() -> WebElement | None:
        for element in browser.find_elements(By.CSS_SELECTOR, selector):
            try:
                if element.is_displayed():
                    return element
            except StaleElementReferenceException:
                # The page was drawn anew between the two questions.
                continue
        return None

    found = until(look, 10, f"{selector} shows")
    assert found is not None
    return found


def log_in(browser: Chrome, site: str) -> None:
    rows.operator()
    browser.get(f"{site}/admin/")
    seen(browser, "[name=username]").send_keys("ada")
    seen(browser, "[name=password]").send_keys("correct horse")
    seen(browser, "[type=submit]").click()
    seen(browser, ".sx-tile")


def state(browser: Chrome) -> Callable[[], str]:
    """The word that the page shows for the channel."""

    def look() -> str:
        word = browser.execute_script(
            "return document.querySelector('[data-channel] [data-f=label]').textContent"
        )
        return str(word).strip()

    return look


def complaints(browser: Chrome) -> list[str]:
    """What the browser found wrong: scripts that failed, policies that were broken."""
    told = [str(entry["message"]) for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]
    # The preview asks for a playlist that appears some seconds after the start.
    expected = ("favicon.ico", "/live.m3u8", "[DOM]")
    return [line for line in told if not any(word in line for word in expected)]


def test_start_watch_and_stop(
    node: Bench, browser: Chrome, site: str, shelf: dict[int, Clip]
) -> None:
    channel = node.channel(*(node.item(shelf[number]) for number in (2, 4)), slug="demo")
    log_in(browser, site)
    showing = state(browser)
    assert showing() == "Off"

    seen(browser, "[data-verb=start]").click()
    until(lambda: showing() == "On air", 20, "the tile says that it is on air")
    # No question is asked and no page is loaded: the tile changes where it stands.
    assert browser.current_url == f"{site}/admin/"
    until(
        lambda: browser.execute_script(
            "const i = document.querySelector('[data-picture]');"
            "return !i.hidden && i.naturalWidth === 480"
        ),
        25,
        "the tile shows the picture",
    )

    browser.get(f"{site}/admin/monitor/demo/")
    played = "return document.querySelector('video').currentTime"
    until(lambda: browser.execute_script(played) > 0, 20, "the preview begins to play")
    begun = float(browser.execute_script(played))
    until(lambda: browser.execute_script(played) > begun + 1, 20, "the preview goes on")
    LogLine.objects.create(
        channel=channel,
        at=channel.runs.get().started_at,
        role="hub",
        level="info",
        text="[FFMPEG] seen as it is written",
    )
    until(
        lambda: "seen as it is written" in seen(browser, ".sx-log").text, 10, "the log goes on"
    )

    seen(browser, "[data-verb=stop]").click()
    assert "off the air" in seen(browser, "#sx-dialog-cost").text
    seen(browser, "#sx-dialog [data-answer=no]").click()
    channel.refresh_from_db()
    assert channel.order == Channel.Order.ON

    seen(browser, "[data-verb=stop]").click()
    seen(browser, "#sx-dialog [data-answer=yes]").click()
    until(lambda: state(browser)() == "Off", 20, "the page says that it is off")
    seen(browser, "[data-verb=start]")
    assert complaints(browser) == []
    assert node.records(channel) == {}


def test_the_page_says_when_the_server_is_silent(
    transactional_db: None, browser: Chrome, site: str
) -> None:
    rows.channel()
    log_in(browser, site)
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": True})
    assert "The server doesn't answer." in seen(browser, "[data-lost]").text
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    until(
        lambda: not browser.find_element(By.CSS_SELECTOR, "[data-lost]").is_displayed(),
        10,
        "the warning goes when the server answers",
    )


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_runs_over_the_edge(
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
