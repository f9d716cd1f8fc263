"""Downloads in a real browser: ordered from a list, watched, cancelled."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone
from pytest_django import Settings
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from media_library.downloads import jobs, worker
from media_library.models import DownloadJob
from media_library.tests import web as sites
from media_library.tests.web import Web, web_site
from streamsite.security.ssrf import networks
from streamsite.tests.browsing import browser, complaints, seen, shows_text, site, words
from streamsite.tests.waiting import until

__all__ = ["browser", "site"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("ffmpeg", "folder"),
]
Status = DownloadJob.Status


@pytest.fixture
def inside(browser: Chrome, site: str) -> str:
    """Logs in as a superuser; returns the address."""
    User.objects.create_superuser("ada", password="correct horse")
    browser.get(f"{site}/admin/login/")
    seen(browser, "[name=username]").send_keys("ada")
    seen(browser, "[name=password]").send_keys("correct horse")
    seen(browser, "[type=submit]").click()
    seen(browser, ".sx-empty")
    return site


@pytest.fixture
def site_of_videos(settings: Settings, tmp_path: Path) -> Iterator[Web]:
    settings.RUN_DIR = tmp_path / "run"
    settings.DATA_DIR = tmp_path / "data"
    settings.DOWNLOAD_NETWORKS = networks(["127.0.0.1/32"])
    (tmp_path / "site").mkdir()
    sites.make_videos(tmp_path / "site")
    with web_site(tmp_path / "site") as served:
        settings.DOWNLOAD_PORTS = (served.port,)
        sites.feed(served.folder, served, 3)
        yield served


def shot(browser: Chrome, name: str) -> None:
    """Saves a screenshot in the folder SHOTS, if it is set: for changes of the pages."""
    if folder := os.environ.get("SHOTS"):
        browser.save_screenshot(f"{folder}/{name}.png")


def test_a_list_is_chosen_from_watched_and_cancelled(
    browser: Chrome, inside: str, site_of_videos: Web
) -> None:
    site_of_videos.pace = 20_000
    browser.get(f"{inside}/admin/media/download/")
    seen(browser, "[name=urls]").send_keys(site_of_videos.url("feed.xml"))
    shot(browser, "download-form")
    seen(browser, "[name=look]").click()
    shows_text(browser, ".dl-inspected", "3 videos are shown", within=30)
    # One box unticks all; the first and the third are chosen.
    seen(browser, "[data-all]").click()
    for number in (2, 4):
        seen(browser, f".dl-entries li:nth-child({number}) input").click()
    shot(browser, "download-list")
    seen(browser, ".sx-start").click()
    shows_text(browser, "body", "2 downloads ordered.")
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".dl-job")) == 2, 30, "two wait")

    taken = jobs.take_next(timezone.now())
    assert taken is not None

    def do() -> None:
        try:
            worker.work(taken)
        finally:
            connections.close_all()

    thread = threading.Thread(target=do)
    thread.start()
    running = f'.dl-job[data-id="{taken.pk}"]'
    shows_text(browser, running, "Downloading", within=30)
    # The bar moves without a reload.
    first = bar(browser, running)
    until(lambda: bar(browser, running) > first, 60, "its bar goes on")
    assert "/s" in words(browser, running)
    shot(browser, "download-running")
    seen(browser, f"{running} .sx-stop").click()
    shows_text(browser, "body", "is cancelled")
    thread.join(15)
    until(lambda: not browser.find_elements(By.CSS_SELECTOR, running), 30, "it is gone")
    # The list below the bars updates automatically.
    until(lambda: "CANCELLED" in words(browser, "#result_list").upper(), 30, "the list has it")
    assert DownloadJob.objects.get(pk=taken.pk).status == Status.CANCELLED
    assert not complaints(browser)
    browser.get(f"{inside}/admin/media_library/downloadjob/{taken.pk}/change/")
    shot(browser, "download-job")
    browser.get(f"{inside}/admin/media_library/downloadschedule/add/")
    seen(browser, "[name=url]")
    shot(browser, "download-schedule")
    assert not complaints(browser)


def bar(browser: Chrome, selector: str) -> float:
    script = "return document.querySelector(`${arguments[0]} progress`)?.value || 0"
    return float(browser.execute_script(script, selector))
