"""Pages and API of accounts at platforms."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from streams.models import (
    AccountState,
    Output,
    PlatformAccount,
    PlatformReport,
    WatchDay,
)
from streams.outputs.platforms import watch_url_fault
from streams.platforms import quota, reports
from streams.tests import rows
from streams.tests.platforms.accounts import account, check, connected, on_air
from streams.tests.platforms.conftest import platform
from streams.tests.platforms.stand_in import REFRESH, TOKEN, StandIn
from streams.tests.rows import KEY
from streamsite.accounts import groups
from streamsite.accounts.models import AuditEntry
from streamsite.accounts.roles import Role

__all__ = ["platform"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def engineer() -> Client:
    user = rows.user(name="grace")
    groups.assign(user, Role.ENGINEER)
    client = Client()
    client.force_login(user)
    return client


def _text(client: Client, url: str) -> str:
    answer = client.get(url, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_an_account_is_added_and_its_secret_is_never_shown(engineer: Client) -> None:
    form = {
        "name": "Ours",
        "kind": "youtube",
        "client_id": "client-1",
        "client_secret": "client-secret-77",
        "daily_units": 10_000,
    }
    engineer.post("/admin/streams/platformaccount/add/", form)
    made = PlatformAccount.objects.get()
    assert made.client_secret.reveal() == "client-secret-77"
    page = f"/admin/streams/platformaccount/{made.pk}/change/"
    shown = _text(engineer, page) + _text(engineer, "/admin/streams/platformaccount/")
    assert "client-secret-77" not in shown
    assert "Not connected" in shown
    # Saved again without a secret: the stored one stays.
    engineer.post(page, form | {"client_secret": "", "name": "Ours, renamed"})
    made.refresh_from_db()
    assert (made.name, made.client_secret.reveal()) == ("Ours, renamed", "client-secret-77")
    assert AuditEntry.objects.filter(object_name="Ours, renamed").exists()


def test_by_a_code_on_the_page(engineer: Client, platform: StandIn) -> None:
    of = account()
    page = f"/admin/platforms/{of.pk}/"
    engineer.post(page, {"verb": "device"})
    # The page asks nobody; a job does.
    assert platform.calls == []
    reports.check(of.pk)
    shown = _text(engineer, page)
    assert "ABCD-EFGH" in shown
    assert "https://www.google.com/device" in shown
    assert "device-code-55" not in shown
    AccountState.objects.update(flow_due_at=timezone.now())
    reports.check(of.pk)
    shown = _text(engineer, page)
    assert "Connected as Our channel" in shown
    assert "by grace" in shown
    assert TOKEN not in shown
    assert REFRESH not in shown
    engineer.post(page, {"verb": "disconnect"})
    assert "Not connected" in _text(engineer, page)


def test_by_the_browser_with_state_and_pkce(engineer: Client, platform: StandIn) -> None:
    of = account()
    page = f"/admin/platforms/{of.pk}/"
    engineer.post(page, {"verb": "web"})
    shown = _text(engineer, page)
    address = shown.split('href="https://accounts.google.com')[1].split('"')[0]
    query = parse_qs(urlsplit(address.replace("&amp;", "&")).query)
    assert query["redirect_uri"] == ["http://testserver/admin/platforms/back/"]
    # Another state, or none: nothing is exchanged, and the flow is over.
    assert "not begun here" in _text(engineer, "/admin/platforms/back/?code=x&state=y")
    assert "not begun here" in _text(
        engineer, f"/admin/platforms/back/?code=x&state={query['state'][0]}"
    )
    engineer.post(page, {"verb": "web"})
    shown = _text(engineer, page)
    address = shown.split('href="https://accounts.google.com')[1].split('"')[0]
    state = parse_qs(urlsplit(address.replace("&amp;", "&")).query)["state"][0]
    engineer.get(f"/admin/platforms/back/?code=code-9&state={state}")
    assert platform.calls == []
    reports.check(of.pk)
    assert AccountState.objects.get().remote_name == "Our channel"
    assert b"code=code-9" in platform.sent[0]


def test_who_may_not_connect(client: Client, engineer: Client) -> None:
    of = account()
    viewer = rows.user(name="vera")
    groups.assign(viewer, Role.OPERATOR)
    client.force_login(viewer)
    page = f"/admin/platforms/{of.pk}/"
    assert client.post(page, {"verb": "device"}).status_code == 403
    assert client.get(page).status_code == 403
    assert engineer.post(page, {"verb": "nonsense"}).status_code == 403
    other = account("twitch")
    assert engineer.post(f"/admin/platforms/{other.pk}/", {"verb": "web"}).status_code == 403


def test_an_output_shows_the_report_of_its_platform(
    engineer: Client, platform: StandIn
) -> None:
    of = connected()
    output = on_air(of, watch_url="https://www.youtube.com/watch?v=video0")
    page = f"/admin/streams/output/{output.pk}/change/"
    assert "was not asked yet" in _text(engineer, page)
    platform.add_broadcast(platform.add_stream(KEY))
    check(of)
    shown = _text(engineer, page)
    assert "The broadcast is live." in shown
    assert "17 watching" in shown
    body = engineer.get(f"/api/v1/outputs/{output.pk}/platform").json()
    assert (body["level"], body["broadcast_id"], body["account"]) == (
        "healthy",
        "video0",
        of.pk,
    )
    assert KEY not in shown + str(body)
    status = engineer.get("/api/v1/channels/demo/status").json()
    assert status["outputs"][0]["verdict"]["theirs"] == {
        "level": "healthy",
        "sentence": "The broadcast is live.",
    }
    # Later it is unknown, never good.
    PlatformReport.objects.update(valid_until=timezone.now() - timedelta(seconds=1))
    body = engineer.get(f"/api/v1/outputs/{output.pk}/platform").json()
    assert body["level"] == "unknown"
    assert "last asked" in body["sentence"]
    assert "The broadcast is live." not in _text(engineer, page)


def test_accounts_in_the_api(engineer: Client) -> None:
    of = connected()
    listed = engineer.get("/api/v1/platform-accounts")
    (row,) = listed.json()["items"]
    assert (row["id"], row["kind"], row["channel"], row["quota_spent"]) == (
        *(of.pk, "youtube", None, 0),
    )
    assert not any(
        secret in listed.content.decode() for secret in (TOKEN, REFRESH, "client-secret")
    )


@pytest.mark.parametrize(
    ("kind", "others", "status"),
    [("youtube", False, 200), ("twitch", False, 422), ("youtube", True, 422)],
)
def test_an_output_takes_an_account_that_fits(
    engineer: Client, kind: str, status: int, *, others: bool
) -> None:
    output = rows.output(rows.channel())
    of = account(kind, channel=rows.channel("other") if others else None)
    sent = engineer.patch(
        f"/api/v1/outputs/{output.pk}", {"account": of.pk}, content_type="application/json"
    )
    assert sent.status_code == status, sent.content
    assert sent.json().get("account") == (of.pk if status == 200 else None)
    output.refresh_from_db()
    assert (output.account_id == of.pk) is (status == 200)
    of.delete()
    assert Output.objects.get(pk=output.pk).account is None


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("", True),
        ("https://www.youtube.com/watch?v=abc", True),
        ("http://127.0.0.1:8888/live/index.m3u8", True),
        ("https://player.example/?channel=demo", True),
        ("javascript:alert(1)", False),
        ("ftp://host/x", False),
        ("https://", False),
        ("https://user:password@host/x", False),
        ("https://host/x?token=abc", False),
        ("https://host/ x", False),
        ("https://host\n/x", False),
        ("https://host:port/", False),
    ],
)
def test_an_address_to_watch(url: str, *, good: bool) -> None:
    assert (not watch_url_fault(url)) is good


def test_watch_hours_are_typed_where_no_account_is_connected(engineer: Client) -> None:
    of = account()
    today = quota.day(timezone.now())
    form = {
        "account": of.pk,
        "first_day": (today - timedelta(days=364)).isoformat(),
        "last_day": today.isoformat(),
        "hours": "1000",
        "subscribers": "250",
    }
    assert "Unknown number of 4,000 hours" in _text(engineer, "/admin/watch-hours/")
    assert engineer.post("/admin/watch-hours/", form).status_code == 302
    assert WatchDay.objects.count() == 365
    shown = _text(engineer, "/admin/watch-hours/")
    assert "1,000 of 4,000 hours" in shown
    assert "250 of 1,000 subscribers" in shown
    assert "Estimate" in shown
    body = engineer.get(f"/api/v1/platform-accounts/{of.pk}/watch-hours").json()
    assert round(body["hours"]) == 1000
    assert body["subscribers"] == 250
    late = engineer.post(
        "/admin/watch-hours/", form | {"last_day": (today + timedelta(days=1)).isoformat()}
    )
    assert "This day is not over yet." in late.content.decode()
    AccountState.objects.update_or_create(account=of, defaults={"connected_at": timezone.now()})
    refused = engineer.post("/admin/watch-hours/", form, follow=True)
    assert "disconnect it to type some" in refused.content.decode()
    for nobody in ("", "x", "-1", "9" * 30):
        answer = engineer.post("/admin/watch-hours/", form | {"account": nobody})
        assert answer.status_code == 404
