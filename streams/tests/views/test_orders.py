"""Start, stop, restart and skip: the pages' scripts call the API, forms work without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import Settings

from streams.models import Channel, Run
from streams.tests import rows

pytestmark = pytest.mark.django_db

CONFIRMED = {"confirmed": "1"}


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


@pytest.fixture
def browser(client: Client) -> Client:
    client.force_login(rows.operator())
    return client


def order(browser: Client, verb: str) -> tuple[int, dict[str, Any]]:
    """The answer to a page's script."""
    answer = browser.post(f"/api/v1/channels/demo/{verb}", {}, content_type="application/json")
    return answer.status_code, answer.json()


def test_start_by_the_form_comes_back_with_a_message(browser: Client) -> None:
    rows.channel()
    answer = browser.post("/channels/demo/start/", {"next": "/admin/"}, follow=True)
    assert answer.redirect_chain == [("/admin/", 302)]
    assert "Start of Demo is ordered." in answer.content.decode()
    assert Channel.objects.get().desired_state == "on"
    assert Run.objects.get().started_by == "ada"


def test_redirects_stay_on_this_site(browser: Client) -> None:
    rows.channel()
    answer = browser.post("/channels/demo/start/", {"next": "https://evil.example/"})
    assert answer["Location"] == "/admin/monitor/demo/"


def test_two_clicks_of_start_make_one_run(browser: Client) -> None:
    rows.channel()
    assert order(browser, "start")[1]["detail"] == "Start of Demo is ordered."
    status, body = order(browser, "start")
    assert (status, body["detail"]) == (409, "Demo is already on air.")
    page = browser.post("/channels/demo/start/", follow=True)
    assert "Demo is already on air." in page.content.decode()
    assert Run.objects.count() == 1


@pytest.mark.parametrize("verb", ["stop", "restart", "skip"])
def test_an_order_to_a_stopped_channel_is_refused(browser: Client, verb: str) -> None:
    rows.channel()
    status, body = order(browser, verb)
    assert status == 404
    assert "is not running" in body["detail"]
    page = browser.post(f"/channels/demo/{verb}/", CONFIRMED, follow=True)
    assert "is not running" in page.content.decode()


def test_a_start_with_faults_lists_them(browser: Client) -> None:
    rows.channel(playlist=None, preview=False)
    status, body = order(browser, "start")
    assert status == 422
    assert [finding["detail"] for finding in body["findings"]] == [
        "Demo has no playlist. Choose one in its settings.",
        "Demo has no destination. Enable an output or the preview in its settings.",
    ]
    assert not Run.objects.exists()
    page = browser.post("/channels/demo/start/", follow=True).content.decode()
    assert "has no playlist" in page


@pytest.mark.parametrize("verb", ["stop", "restart", "skip"])
def test_orders_that_interrupt_the_air_need_confirmation(browser: Client, verb: str) -> None:
    channel = rows.channel()
    rows.on_air(channel)

    answer = browser.post(f"/channels/demo/{verb}/", {"next": "/admin/"})
    assert answer.status_code == 200
    page = answer.content.decode()
    assert 'name="confirmed" value="1"' in page
    assert 'name="next" value="/admin/"' in page
    channel.refresh_from_db()
    assert (channel.desired_state, channel.restarts, channel.skips) == ("on", 0, 0)
    ordered_at = channel.ordered_at

    assert browser.post(f"/channels/demo/{verb}/", CONFIRMED).status_code == 302
    channel.refresh_from_db()
    assert (channel.desired_state, channel.restarts, channel.skips) == {
        "stop": ("off", 0, 0),
        "restart": ("on", 1, 0),
        "skip": ("on", 0, 1),
    }[verb]
    # A skip does not change who started the channel.
    assert (channel.ordered_at == ordered_at) is (verb == "skip")


def test_orders_are_logged_with_their_user(browser: Client) -> None:
    rows.channel()
    browser.post("/channels/demo/start/")
    browser.post("/channels/demo/start/")
    order(browser, "stop")
    entries = LogEntry.objects.order_by("pk")
    assert [(e.user.get_username(), e.change_message) for e in entries] == [
        ("ada", "Start ordered."),
        ("ada", "Stop ordered."),
    ]


def test_a_get_request_gives_no_order(browser: Client) -> None:
    rows.channel()
    assert browser.get("/channels/demo/start/").status_code == 405
    assert not Run.objects.exists()


def test_cross_site_orders_are_refused() -> None:
    rows.channel()
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(rows.operator())
    assert browser.post("/channels/demo/start/").status_code == 403
    assert not Run.objects.exists()


def test_orders_need_the_operate_permission(client: Client) -> None:
    rows.channel()
    assert client.post("/channels/demo/start/")["Location"].startswith("/admin/login/")

    client.force_login(rows.user("streams.operate_channel", name="viewer", staff=False))
    assert client.post("/channels/demo/start/")["Location"].startswith("/admin/login/")

    client.force_login(rows.user("streams.view_channel", name="clerk"))
    assert client.post("/channels/demo/start/").status_code == 403
    assert "data-verb" not in client.get("/admin/").content.decode()
    assert not Run.objects.exists()


def test_a_missing_channel_is_404(browser: Client) -> None:
    assert browser.post("/channels/none/start/").status_code == 404
