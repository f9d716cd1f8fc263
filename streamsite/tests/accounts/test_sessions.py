"""Logins end when they are idle, are listed, and can be ended."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.sessions.backends import db
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from streams.tests import rows
from streamsite.accounts.models import AuditEntry, UserSession
from streamsite.accounts.roles import Role
from streamsite.realtime.endpoints import staff_of

pytestmark = pytest.mark.django_db

PAGE = {"Accept": "text/html,application/xhtml+xml"}
POLL = "/api/v1/channel-statuses"


def login(user: User, **origin: Any) -> Client:
    client = Client(**origin)
    sent = {"username": user.get_username(), "password": "correct horse"}
    client.post(reverse("admin:login"), sent)
    return client


def row_of(client: Client) -> UserSession:
    return UserSession.objects.get(pk=client.cookies[settings.SESSION_COOKIE_NAME].value)


def let_pass(client: Client, minutes: int) -> None:
    """As if the last activity had been so many minutes ago."""
    row, past = row_of(client), timedelta(minutes=minutes)
    session = client.session
    session["active_at"] = session.get("active_at", 0) - past.total_seconds()
    session.save()
    UserSession.objects.filter(pk=row.pk).update(expire_date=row.expire_date - past)


# ---- idle ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers", "extends"),
    [
        ("GET", "/admin/", PAGE, True),
        ("POST", "/api/v1/channels/demo/skip", {"Accept": "*/*"}, True),
        ("GET", POLL, {"Accept": "*/*"}, False),
        ("GET", "/channels/demo/panels", {"Accept": "*/*"}, False),
        ("GET", "/api/v1/channels/demo/preview.m3u8", {}, False),
    ],
)
def test_a_person_s_activity_extends_a_session_and_polls_do_not(
    method: str, path: str, headers: dict[str, str], extends: bool
) -> None:
    rows.channel()
    client = login(rows.operator())
    client.get("/admin/", headers=PAGE)
    let_pass(client, 60)
    before = row_of(client).expire_date
    client.generic(method, path, headers=headers)
    assert (row_of(client).expire_date > before) is extends


def test_a_session_that_was_idle_for_too_long_is_over() -> None:
    rows.channel()
    client = login(rows.operator())
    client.get("/admin/", headers=PAGE)
    idle = settings.SESSION_COOKIE_AGE // 60
    cookie = f"{settings.SESSION_COOKIE_NAME}={row_of(client).pk}"
    let_pass(client, idle - 5)
    assert client.get(POLL).status_code == 200
    assert staff_of(cookie) is not None
    let_pass(client, 10)
    assert client.get(POLL).status_code == 401
    assert client.get("/admin/").status_code == 302
    # Streams check it again, too.
    assert staff_of(cookie) is None


def test_activity_is_written_once_a_minute() -> None:
    client = login(rows.operator())
    client.get("/admin/", headers=PAGE)
    seen = row_of(client).seen_at
    client.get("/admin/", headers=PAGE)
    assert row_of(client).seen_at == seen


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140 Safari/537 Edg/140", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; like Mac OS X) Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140 Safari/537", "Chrome on Android"),
        ("curl/8.5", "curl/8.5"),
        ("", "Unknown"),
    ],
)
def test_a_browser_is_named_as_people_know_it(agent: str, shown: str) -> None:
    assert UserSession(user_agent=agent).program == shown


# ---- the list --------------------------------------------------------------------------------


def test_one_s_sessions_are_listed_without_their_keys() -> None:
    user = rows.operator()
    here = login(user, REMOTE_ADDR="203.0.113.7", HTTP_USER_AGENT="Mozilla Firefox/140")
    there = login(user, REMOTE_ADDR="198.51.100.4", HTTP_USER_AGENT="Telephone")
    other = login(rows.operator("bob"), HTTP_USER_AGENT="Bob's")
    page = here.get(reverse("account")).content.decode()
    for word in ("203.0.113.7", "Firefox", "198.51.100.4", "Telephone", "This one"):
        assert word in page
    assert "Bob" not in page
    for client in (here, there, other):
        assert row_of(client).session_key not in page


def test_a_session_is_ended_and_needs_a_new_login() -> None:
    user = rows.operator()
    here, there = login(user), login(user)
    here.post(reverse("end-sessions"), {"session": row_of(there).handle})
    assert there.get("/admin/").status_code == 302
    assert here.get("/admin/").status_code == 200
    entry = AuditEntry.objects.get(event=AuditEntry.Event.SESSION_ENDED)
    assert (entry.who, entry.object_name) == ("ada", "ada")


def test_all_others_are_ended_and_nobody_else_s() -> None:
    user = rows.operator()
    here, *others = (login(user) for _ in range(3))
    bob = login(rows.operator("bob"))
    here.post(reverse("end-sessions"))
    assert [client.get("/admin/").status_code for client in (here, bob)] == [200, 200]
    assert {client.get("/admin/").status_code for client in others} == {302}


def test_those_of_others_are_ended_by_admins_alone() -> None:
    victim = login(rows.operator("bob"))
    sent = {"session": row_of(victim).handle, "everybody": "1"}
    clerk = login(rows.operator("clerk"))
    clerk.post(reverse("end-sessions"), sent)
    assert victim.get("/admin/").status_code == 200
    boss = rows.user(name="boss")
    boss.groups.add(Group.objects.get(name=Role.ADMIN.value))
    client = login(boss)
    assert "bob" in client.get(reverse("sessions")).content.decode()
    client.post(reverse("end-sessions"), sent)
    assert victim.get("/admin/").status_code == 302


def test_a_login_clears_sessions_that_are_over() -> None:
    old = login(rows.operator())
    past = timezone.now() - timedelta(days=1)
    UserSession.objects.filter(pk=row_of(old).pk).update(expire_date=past)
    login(rows.operator("bob"))
    assert UserSession.objects.count() == 1


def test_sessions_from_before_this_table_are_brought_along() -> None:
    user = rows.operator()
    client = Client()
    client.force_login(user)
    data = dict(client.session.items())
    UserSession.objects.all().delete()
    former = db.SessionStore()
    former.update(data)
    former.create()
    migration = import_module("streamsite.migrations.0008_sessions")
    migration.bring_along(apps, SimpleNamespace(connection=connection))
    client.cookies[settings.SESSION_COOKIE_NAME] = str(former.session_key)
    assert client.get("/admin/").status_code == 200
