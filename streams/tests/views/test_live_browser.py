"""Going live with a real browser, nginx-rtmp and FFmpeg."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings
from selenium.webdriver import Chrome

from streams.ingest.reconciler import reconciled
from streams.models import Broadcaster, LiveStream
from streams.tests import rows
from streams.tests.bench.ingest import NginxIngest, Publisher
from streams.tests.bench.waiting import until
from streamsite.security.secret import Secret
from streamsite.tests.browsing import browser, complaints, seen, shows_text, site, words

__all__ = ["browser", "site"]

pytestmark = pytest.mark.slow

TOKEN = "shared-token-of-the-test"


@pytest.fixture
def ingest(
    site: str, transactional_db: None, settings: Settings, tmp_path: Path, nginx_rtmp: Path
) -> Iterator[NginxIngest]:
    settings.INGEST_SERVER = "nginx-rtmp"
    settings.INGEST_TOKEN = Secret(TOKEN)
    made = NginxIngest(tmp_path / "ingest", nginx_rtmp, site, TOKEN)
    settings.INGEST_API_URL = made.api_url
    settings.PUBLIC_INGEST_URL = made.address
    settings.PUBLIC_PLAYBACK_URL = made.hls_url
    made.start()
    with reconciled():
        yield made
    made.stop()


def log_in(browser: Chrome, site: str) -> None:
    user = rows.user()
    user.is_superuser = True
    user.save()
    browser.get(f"{site}/admin/")
    seen(browser, "[name=username]").send_keys("ada")
    seen(browser, "[name=password]").send_keys("correct horse")
    seen(browser, "[type=submit]").click()
    seen(browser, ".sx")


def resize(browser: Chrome, width: int) -> None:
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def fits(browser: Chrome) -> None:
    """Nothing runs over the edge."""
    wide = browser.execute_script(
        "return [...document.querySelectorAll('.sx *')].filter((e) => "
        "e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.sx-scroll')"
        ").map((e) => e.className || e.tagName)"
    )
    assert wide == []


def test_mint_go_live_watch_and_revoke(
    ingest: NginxIngest, browser: Chrome, site: str, ffmpeg: str
) -> None:
    log_in(browser, site)
    ada = Broadcaster.objects.create(name="Ada Lovelace", slug="ada")
    browser.get(f"{site}/admin/live/")
    shows_text(browser, ".sx-nothing", "Nobody is live.")

    browser.get(f"{site}{ada.get_absolute_url()}")
    seen(browser, "[name=label]").send_keys("OBS at home")
    seen(browser, ".sx-mint button").click()
    key = words(browser, "[data-key]") or seen(browser, "[data-key]").text
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", key)
    screenshot(browser, "minted")
    address = words(browser, ".sx-settings dd:nth-of-type(3) code")
    assert address.endswith(f"/live/ada?token={key}")

    browser.get(f"{site}/admin/live/")
    publisher = Publisher(address)
    try:
        shows_text(browser, "[data-f=label]", "Live", 20)
        shows_text(browser, "[data-f=name]", "Ada Lovelace")
        shows_text(browser, "[data-f=bitrate]", "bit/s", 20)
        shows_text(browser, "[data-f=tracks]", "H264, AAC", 20)
        until((ingest.folder / "hls/live/ada/index.m3u8").exists, 60, "there is a picture")
        seen(browser, "[data-watch]").click()
        played = "return document.querySelector('[data-stream] video').currentTime"
        until(lambda: browser.execute_script(played) > 1, 60, "the picture plays")
        screenshot(browser, "live")

        browser.get(f"{site}{ada.get_absolute_url()}")
        shows_text(browser, "[data-key-state]", "In use", 10)
        screenshot(browser, "broadcaster")
        seen(browser, ".sx-table .sx-link").click()
        shows_text(browser, ".sx-confirm", "ended at once")
        screenshot(browser, "revoke")
        seen(browser, ".sx-confirm .sx-stop").click()
        shows_text(browser, "[data-key-state]", "Revoked", 20)
        publisher.until_ended(10, "FFmpeg is cut off")
    finally:
        publisher.end()
    assert not LiveStream.objects.filter(ended_at=None).exists()
    browser.get(f"{site}/admin/live/")
    shows_text(browser, ".sx-nothing", "Nobody is live.")
    assert complaints(browser) == []


def screenshot(browser: Chrome, name: str) -> None:
    """Checks that the page fits on desktop and phone screens."""
    for width in (390, 1440):
        resize(browser, width)
        fits(browser)
        if "SHOTS" in os.environ:
            browser.save_screenshot(f"{os.environ['SHOTS']}/{name}-{width}.png")
