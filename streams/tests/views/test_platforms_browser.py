"""Pages of accounts at platforms in a real browser."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from selenium.webdriver import Chrome

from streams.models import AccountState, WatchDay
from streams.platforms import connections, quota, reports
from streams.tests.platforms.accounts import a_minute_passes, account, check, connected, on_air
from streams.tests.platforms.conftest import platform
from streams.tests.platforms.stand_in import StandIn
from streams.tests.rows import KEY
from streams.tests.views.test_live_browser import fits, log_in, resize
from streamsite.tests.browsing import browser, complaints, shows_text, site

__all__ = ["browser", "platform", "site"]

pytestmark = pytest.mark.slow


def test_connect_and_see(
    transactional_db: None, browser: Chrome, site: str, platform: StandIn
) -> None:
    log_in(browser, site)
    ours = connected(may_manage_broadcasts=True)
    output = on_air(ours, watch_url="https://www.youtube.com/watch?v=video0")
    platform.add_broadcast(platform.add_stream(KEY, health="bad"))
    platform.streams[0]["status"]["healthStatus"]["configurationIssues"] = [
        {"type": "bitrateLow", "severity": "error", "description": "The bitrate is too low."}
    ]
    check(ours)
    a_minute_passes(ours)
    check(ours)
    today = quota.day(timezone.now())
    WatchDay.objects.bulk_create(
        WatchDay(account=ours, day=today - timedelta(days=n), minutes=9) for n in range(3, 90)
    )
    for days, count in ((28, 300), (0, 412)):
        day = today - timedelta(days=days)
        WatchDay.objects.update_or_create(
            account=ours, day=day, defaults={"subscribers": count}
        )
    other = account("twitch")
    connections.order_device(other, "ada")
    reports.check(other.pk)
    account_page = f"/admin/platforms/{other.pk}/"
    pages = {
        f"/admin/streams/output/{output.pk}/change/": "The bitrate is too low.",
        "/admin/watch-hours/": "Estimate",
        account_page: "TWTCHXYZ",
    }
    resize(browser, 390)
    for path, text in pages.items():
        browser.get(f"{site}{path}")
        shows_text(browser, "body", text)
        fits(browser)
    # The page notices by itself that somebody has agreed.
    browser.get(f"{site}{account_page}")
    AccountState.objects.filter(pk=other.pk).update(flow_due_at=timezone.now())
    reports.check(other.pk)
    shows_text(browser, "[data-refreshed]", "Connected as OurTwitch", 20)
    assert complaints(browser) == []
