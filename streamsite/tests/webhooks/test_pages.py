"""Webhooks out: set up, tried and sent again, in the admin and by the API."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from streams.tests import rows
from streamsite.api.permissions import KeyPermission
from streamsite.tests.api_calls import api_caller
from streamsite.tests.receiving import Hook
from streamsite.tests.webhook_rows import ALL, emit, endpoint, hook
from streamsite.webhooks import sender
from streamsite.webhooks.models import Delivery, Endpoint

__all__ = ["hook"]

pytestmark = pytest.mark.django_db


# ---- the admin -------------------------------------------------------------------------------
def test_secret_is_shown_once_and_kept_encrypted(admin_client: Client) -> None:
    form = {"name": "CRM", "url": "https://crm.example/in", "events": ALL[:2], "enabled": "on"}
    page = admin_client.post("/admin/streamsite/endpoint/add/", form)
    (row,) = Endpoint.objects.all()
    secret = row.secret.reveal()
    assert secret in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    change = f"/admin/streamsite/endpoint/{row.pk}/change/"
    for path in (change, "/admin/streamsite/endpoint/", f"{change[:-8]}/history/"):
        assert secret not in admin_client.get(path).content.decode()
    admin_client.post(change, form | {"name": "New", "events": [ALL[3]]})
    row.refresh_from_db()
    assert (row.name, row.events, row.secret.reveal()) == ("New", [ALL[3]], secret)
    admin_client.post(
        "/admin/streamsite/endpoint/", {"action": "renew_secret", "_selected_action": [row.pk]}
    )
    row.refresh_from_db()
    assert row.secret.reveal() != secret


@pytest.mark.parametrize(
    "url", ["ftp://a.example", "https://", "https://ada:pw@a.example/", "nonsense"]
)
def test_addresses_that_no_request_can_go_to(admin_client: Client, url: str) -> None:
    form = {"name": "CRM", "url": url, "events": ALL, "enabled": "on"}
    assert admin_client.post("/admin/streamsite/endpoint/add/", form).status_code == 200
    assert not Endpoint.objects.exists()


def test_test_and_replay_by_button(admin_client: Client, hook: Hook) -> None:
    row = endpoint(hook.address, [])
    action = {"action": "send_ping", "_selected_action": [row.pk]}
    admin_client.post("/admin/streamsite/endpoint/", action)
    sender.send_due()
    assert hook.bodies[0]["type"] == "ping"
    (delivery,) = Delivery.objects.all()
    page = admin_client.get("/admin/streamsite/delivery/").content.decode()
    assert "Replay the selected deliveries" in page
    action = {"action": "replay", "_selected_action": [delivery.pk]}
    admin_client.post("/admin/streamsite/delivery/", action)
    sender.send_due()
    assert [body["id"] for body in hook.bodies] == [str(delivery.message_id)] * 2


def test_who_only_checks_replays_nothing(client: Client, hook: Hook) -> None:
    viewer: User = rows.user("streamsite.view_delivery")
    client.force_login(viewer)
    endpoint(hook.address)
    row = emit()
    sender.send_due()
    action = {"action": "replay", "_selected_action": [row.pk]}
    client.post("/admin/streamsite/delivery/", action)
    row.refresh_from_db()
    assert row.state == "delivered"


# ---- the API ---------------------------------------------------------------------------------
def test_a_program_sets_up_its_own_webhook(client: Client, hook: Hook) -> None:
    call = api_caller(client)
    new = {"name": "CRM", "url": hook.address, "events": ["channel.on_air"]}
    status, made = call("POST", "webhooks", new)
    assert (status, made["events"], made["enabled"]) == (201, ["channel.on_air"], True)
    secret = made.pop("secret_value")
    assert Endpoint.objects.get().secret.reveal() == secret
    where = f"webhooks/{made['id']}"
    assert call("GET", where) == (200, made)
    assert secret not in str([call("GET", "webhooks"), call("PATCH", where, {"enabled": True})])
    assert call("POST", f"{where}/ping")[0] == 202
    (waiting,) = call("GET", "deliveries?state=waiting")[1]["items"]
    one = f"deliveries/{waiting['id']}"
    assert waiting["next_at"]
    assert call("POST", f"{one}/replay")[0] == 409
    sender.send_due()
    reported = call("GET", one)[1]
    assert (reported["event"], reported["state"], reported["webhook_id"]) == (
        "ping",
        "delivered",
        made["id"],
    )
    assert reported["next_at"] is None
    assert call("POST", f"{one}/replay")[0] == 202
    sender.send_due()
    assert [body["id"] for body in hook.bodies] == [reported["message_id"]] * 2
    status, renewed = call("POST", f"{where}/secret")
    assert (status, renewed["secret_value"] != secret) == (200, True)
    assert call("DELETE", where) == (204, None)
    assert call("GET", "deliveries")[1]["items"] == []


SLACK = "https://hooks.example.org:8443/services/T0/B0/s3cr3t?sig=s3cr3t"
MASKED = "https://hooks.example.org:8443/…"


@pytest.mark.parametrize("level", [KeyPermission.READ_ONLY, KeyPermission.DOWNLOAD])
def test_who_may_not_change_a_webhook_sees_its_host(
    client: Client, level: KeyPermission
) -> None:
    row = endpoint(SLACK)
    call = api_caller(client, level)
    for reported in (
        call("GET", "webhooks")[1]["items"],
        [call("GET", f"webhooks/{row.pk}")[1]],
        call("GET", "webhooks?limit=1")[1]["items"],
    ):
        assert [item["url"] for item in reported] == [MASKED]
        assert "s3cr3t" not in str(reported)
    assert Endpoint.objects.get().url == SLACK


def test_who_may_change_a_webhook_sees_it_whole(client: Client) -> None:
    row = endpoint(SLACK)
    call = api_caller(client, KeyPermission.ADMIN)
    assert call("GET", f"webhooks/{row.pk}")[1]["url"] == SLACK
    assert call("GET", "webhooks")[1]["items"][0]["url"] == SLACK
    client.force_login(rows.user("streamsite.view_endpoint", "streamsite.change_endpoint"))
    assert "T0/B0/s3cr3t" in client.get("/admin/streamsite/endpoint/").content.decode()


def test_staff_that_only_checks_sees_and_finds_the_host_alone(client: Client) -> None:
    row = endpoint(SLACK)
    client.force_login(rows.user("streamsite.view_endpoint", "streamsite.view_delivery"))
    pages = "/admin/streamsite/endpoint/"
    for path in (pages, f"{pages}{row.pk}/change/"):
        page = client.get(path).content.decode()
        assert MASKED in page
        assert "s3cr3t" not in page
    assert client.get(f"/api/v1/webhooks/{row.pk}").json()["url"] == MASKED
    # Nor letter by letter.
    guess = f"{pages}?url__startswith=https://hooks.example.org:8443/services/T0/B0/s"
    assert client.get(guess).status_code == 400
    deliveries = "/admin/streamsite/delivery/?endpoint__url__contains=s3"
    assert client.get(deliveries).status_code == 400


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"url": "ftp://a.example/"}, "url"),
        ({"url": "https://ada:pw@a.example/"}, "url"),
        ({"events": ["channel.exploded"]}, "events"),
        ({"name": ""}, "name"),
        ({"secret": "mine"}, "secret"),
    ],
)
def test_what_a_webhook_can_t_be(client: Client, wrong: dict[str, object], field: str) -> None:
    call = api_caller(client)
    new = {"name": "CRM", "url": "https://a.example/", "events": ALL} | wrong
    status, refused = call("POST", "webhooks", new)
    assert (status, refused["type"]) == (422, "urn:streamsite:problem:invalid")
    assert field in refused["errors"][0]["loc"]
    assert not Endpoint.objects.exists()
