"""The audit log: who did what, from where, with no secret in it, in one transaction."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from media_library.models import Tag
from streams.models import Broadcaster, Channel
from streams.tests import rows
from streamsite.accounts.models import AuditEntry
from streamsite.api import audit, keys
from streamsite.api.audit import WithKeys
from streamsite.api.permissions import KeyPermission

pytestmark = pytest.mark.django_db

Event = AuditEntry.Event
PASSWORD = "correct horse"
AGENT = "Mozilla/5.0 (Test)"


def entries(**fields: Any) -> list[tuple[str, str, str, str]]:
    """Event, who, what and sentence, the oldest first, of logins only where asked for."""
    listed = AuditEntry.objects.filter(**fields).order_by("pk")
    if not fields:
        listed = listed.exclude(event=Event.LOGIN)
    return list(listed.values_list("event", "who", "object_name", "sentence"))


def login(client: Client, name: str, password: str) -> int:
    sent = {"username": name, "password": password}
    return client.post(reverse("admin:login"), sent).status_code


# ---- what is recorded ------------------------------------------------------------------------


def test_logins_their_failures_and_logouts_are_recorded_with_their_origin() -> None:
    rows.operator("ada")
    client = Client(headers={"User-Agent": AGENT}, REMOTE_ADDR="203.0.113.7")
    login(client, "ada", "wrong secret")
    login(client, "my-password-in-the-wrong-field", "x")
    login(client, "ada", PASSWORD)
    client.post(reverse("admin:logout"))
    assert [(event, who) for event, who, _, _ in entries(pk__gt=0)] == [
        ("login_failed", "ada"),
        ("login_failed", "(unknown name)"),
        ("login", "ada"),
        ("logout", "ada"),
    ]
    origins = set(AuditEntry.objects.values_list("address", "user_agent"))
    assert origins == {("203.0.113.7", AGENT)}


def test_the_address_is_the_proxy_s_over_its_socket_and_no_stranger_s_word() -> None:
    user = rows.operator()
    for given, address in (("", "198.51.100.4"), ("203.0.113.7", "203.0.113.7")):
        client = Client(REMOTE_ADDR=given, headers={"X-Real-IP": "198.51.100.4"})
        assert login(client, user.username, PASSWORD) == 302
        assert AuditEntry.objects.latest("pk").address == address


def test_a_locked_name_fills_no_log() -> None:
    rows.operator("ada")
    for _ in range(30):
        login(Client(), "ada", "wrong")
    assert 0 < AuditEntry.objects.filter(event=Event.LOGIN_FAILED).count() <= 5


def test_changes_in_the_admin_are_recorded_without_secrets(admin_client: Client) -> None:
    channel = rows.channel()
    url = reverse("admin:streams_output_add")
    sent = {"channel": channel.pk, "name": "Main", "platform": "youtube", "key": rows.KEY}
    assert admin_client.post(url, sent).status_code == 302
    output = channel.outputs.get()
    change = reverse("admin:streams_output_change", args=[output.pk])
    assert admin_client.post(change, sent | {"name": "New"}).status_code == 302
    gone = reverse("admin:streams_output_delete", args=[output.pk])
    assert admin_client.post(gone, {"post": "yes"}).status_code == 302
    assert [(event, what) for event, _, what, _ in entries()] == [
        ("added", "Demo: Main"),
        ("changed", "Demo: New"),
        ("deleted", "Demo: New"),
    ]
    assert all(rows.KEY not in str(values) for values in AuditEntry.objects.values_list())


def test_every_row_that_a_list_deletes_is_recorded(admin_client: Client) -> None:
    tags = [Tag.objects.create(name=f"Tag {number}") for number in range(3)]
    chosen = [str(tag.pk) for tag in tags]
    sent = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    admin_client.post(reverse("admin:media_library_tag_changelist"), sent)
    listed = entries(event=Event.DELETED)
    assert sorted(what for _, _, what, _ in listed) == ["Tag 0", "Tag 1", "Tag 2"]


def test_orders_are_recorded_by_page_api_and_command(admin_client: Client) -> None:
    channel = rows.channel()
    rows.on_air(channel)
    admin_client.post(reverse("order", args=["demo", "skip"]), {"confirmed": "1"})
    _row, key = keys.mint("Robot", KeyPermission.ADMIN, by="ada", now=timezone.now())
    robot = Client(headers={"X-API-Key": key.reveal(), "User-Agent": AGENT})
    assert robot.post("/api/v1/channels/demo/skip").status_code == 202
    call_command("stop_channel", "demo")
    listed = entries(event=Event.ORDER)
    assert [(what, done) for _, _, what, done in listed] == [
        ("Demo", "Skip ordered."),
        ("Demo", "Skip ordered."),
        ("Demo", "Stop ordered."),
    ]
    names = [who for _, who, _, _ in listed]
    assert names[:2] == ["admin", "API key Robot"]
    assert names[2].endswith("command)")


def test_keys_and_exports_are_recorded(admin_client: Client) -> None:
    rows.channel()
    ada = Broadcaster.objects.create(name="Ada", slug="ada")
    sent = {"name": "Robot", "permissions": "ADMIN"}
    made = admin_client.post("/api/v1/api-keys", sent, content_type="application/json").json()
    admin_client.delete(f"/api/v1/api-keys/{made['id']}")
    page = admin_client.post(reverse("mint-key", args=[ada.pk]))
    admin_client.get("/admin/as-run.csv?channel=demo")
    listed = entries()
    assert [event for event, _, _, _ in listed] == ["added", "changed", "changed", "export"]
    text = str(list(AuditEntry.objects.values_list()))
    assert made["key_value"] not in text
    assert page.context["key"] not in text


def test_a_change_of_one_s_own_password_is_recorded(client: Client) -> None:
    user = rows.operator()
    client.force_login(user)
    url, new = reverse("admin:password_change"), "Zaphod-1977-Beeblebrox"
    sent = {"old_password": "wrong", "new_password1": new, "new_password2": new}
    assert client.post(url, sent).status_code == 200
    assert client.post(url, sent | {"old_password": PASSWORD}).status_code == 302
    assert [(who, done) for _, who, _, done in entries()] == [
        ("ada", "Changed their own password.")
    ]
    assert client.get("/admin/").status_code == 200


# ---- in one transaction ----------------------------------------------------------------------


def test_an_order_without_its_entry_is_not_given(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table refuses the entry."""
    channel = rows.channel()
    rows.on_air(channel)

    def refuse(*_: Any, **__: Any) -> None:
        nothing: Any = None
        AuditEntry.objects.create(event=nothing)

    monkeypatch.setattr(audit, "record", refuse)
    admin_client.raise_request_exception = False
    answer = admin_client.post("/api/v1/channels/demo/stop")
    assert answer.status_code >= 400
    assert Channel.objects.get().desired_state == "on"


def test_a_row_that_is_refused_leaves_no_entry(admin_client: Client) -> None:
    rows.channel()
    sent = {"name": "Demo", "slug": "other"}
    answer = admin_client.post("/api/v1/channels", sent, content_type="application/json")
    assert answer.status_code == 422
    assert entries() == []


def test_every_page_that_writes_records() -> None:
    """An admin without it would change rows in silence."""
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    silent = [
        model._meta.label
        for model, page in admin.site._registry.items()
        if not isinstance(page, WithKeys)
        and (
            page.has_add_permission(request)
            or page.has_change_permission(request)
            or page.has_delete_permission(request)
        )
    ]
    # django-axes' own, which clear failed logins.
    assert [label for label in silent if not label.startswith("axes.")] == []


# ---- the page --------------------------------------------------------------------------------


def test_the_log_is_read_filtered_and_exported_by_permission(admin_client: Client) -> None:
    Tag.objects.create(name="old")
    audit.record(Event.ADDED, "=cmd|' /C calc'!A0", "Added.", [Tag.objects.get()])
    audit.record(Event.ORDER, "ada", "Stop ordered.")
    listing = reverse("admin:streamsite_auditentry_changelist")
    export = reverse("admin:streamsite_auditentry_export")
    for page in (listing, export):
        assert b"Stop ordered." in b"".join(admin_client.get(page))
        assert b"Stop ordered." not in b"".join(admin_client.get(f"{page}?event__exact=added"))
        client = Client()
        assert client.get(page).status_code == 302
        client.force_login(rows.operator(page[-9:]))
        assert client.get(page).status_code == 403
        client.force_login(rows.user("streamsite.view_auditentry", name=f"may {page[-9:]}"))
        assert client.get(page).status_code == 200
    text = b"".join(admin_client.get(f"{export}?event__exact=added")).decode("utf-8-sig")
    (line,) = csv.DictReader(io.StringIO(text))
    assert line["who"] == "'=cmd|' /C calc'!A0"
    assert (line["kind"], line["object_name"]) == ("tag", "old")


def test_nobody_writes_the_log(admin_client: Client) -> None:
    audit.record(Event.ORDER, "ada", "Stop ordered.")
    entry = AuditEntry.objects.get(event=Event.ORDER)
    base = "admin:streamsite_auditentry"
    assert admin_client.post(reverse(f"{base}_add"), {"who": "x"}).status_code == 403
    change = reverse(f"{base}_change", args=[entry.pk])
    assert admin_client.post(change, {"who": "x"}).status_code == 403
    gone = reverse(f"{base}_delete", args=[entry.pk])
    assert admin_client.post(gone, {"post": "yes"}).status_code == 403
    entry.refresh_from_db()
    assert entry.who == "ada"
