"""A real browser for the tests of the pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from conftest import need
from streamsite.tests.waiting import until

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


def chrome(profile: Path) -> Chrome:
    """Starts Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    need(program and driver, "Chromium with chromedriver")
    options = ChromeOptions()
    options.binary_location = str(program)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=ChromeService(str(driver)))


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """A new tab, to which no site is known: a browser of its own takes seconds to start."""
    (first,) = chromium.window_handles
    chromium.switch_to.new_window("tab")
    yield chromium
    for tab in chromium.window_handles:
        if tab != first:
            chromium.switch_to.window(tab)
            stored = {"origin": chromium.current_url, "storageTypes": "all"}
            chromium.execute_cdp_cmd("Storage.clearDataForOrigin", stored)
            chromium.close()
    chromium.switch_to.window(first)
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has no type for it


@pytest.fixture
def site(live_server: LiveServer, settings: Settings) -> str:
    settings.ALLOWED_HOSTS = ["*"]
    return str(live_server.url)


def seen(browser: Chrome, selector: str) -> WebElement:
    """The element, once there is one that shows."""

    def check() -> WebElement | None:
        for element in browser.find_elements(By.CSS_SELECTOR, selector):
            try:
                if element.is_displayed():
                    return element
            except StaleElementReferenceException:
                # The page was drawn anew between the two questions.
                continue
        return None

    result = until(check, 60, f"{selector} shows")
    assert result is not None
    return result


def words(browser: Chrome, selector: str) -> str:
    """The text of the first element that shows, "" for none.

    Asked in one question: between finding an element and reading it a page may be drawn anew.
    """
    script = (
        "for (const e of document.querySelectorAll(arguments[0]))"
        " if (e.checkVisibility()) return e.innerText;"
        "return '';"
    )
    return str(browser.execute_script(script, selector))


def shows_text(browser: Chrome, selector: str, text: str, within: float = 10) -> None:
    """Wait until what shows there has this text in it."""
    until(lambda: text in words(browser, selector), within, f"{selector} says: {text}")


def complaints(browser: Chrome) -> list[str]:
    """The browser's complaints: scripts that failed, policies that were broken."""
    reported = [str(entry["message"]) for entry in browser.get_log("browser")]  # type: ignore[no-untyped-call]  # selenium has no type for it
    # The preview and the picture appear some seconds after the start; a page shows conflicts.
    expected = ("favicon.ico", "/preview.m3u8", "/picture.jpg", "(Conflict)", "[DOM]")
    return [line for line in reported if not any(word in line for word in expected)]
