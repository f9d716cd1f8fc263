"""Nobody runs a function by its name, and nobody gives himself more than he has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success, Task

from streams.tests import rows
from streamsite.api.models import ApiKey
from streamsite.api.permissions import KeyPermission, django_permissions_of
from streamsite.management.commands.run_cluster import TASKS
from streamsite.processes.cluster import FORMER_TASKS, Registered

pytestmark = pytest.mark.django_db


# ---- no function by its name -----------------------------------------------------------------


@pytest.mark.parametrize("name", FORMER_TASKS)
def test_a_cluster_runs_what_an_earlier_version_enqueued(name: str) -> None:
    assert callable(Registered(TASKS).locate(name))


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.run",
        "builtins.eval",
        "streamsite.processes.cluster.run",
        "",
        "x",
    ],
)
def test_a_cluster_runs_nothing_that_is_not_registered(name: str) -> None:
    assert Registered(TASKS).locate(name) is None


def test_every_registered_function_is_there() -> None:
    registered = Registered(TASKS)
    assert [name for name in TASKS if not callable(registered.locate(name))] == []


def requested() -> Iterator[str]:
    """Names that the product's code hands on."""
    for app in ("media_library", "streams", "streamsite"):
        for path in (Path(settings.BASE_DIR) / app).rglob("*.py"):
            if "tests" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                enqueues = getattr(getattr(node, "func", None), "id", "") in {
                    "async_task",
                    "enqueue",
                }
                if isinstance(node, ast.Call) and enqueues:
                    first = node.args[0]
                    if isinstance(first, ast.Constant):
                        yield str(first.value)


def test_all_that_is_requested_for_is_registered() -> None:
    names = set(requested())
    assert len(names) >= 5
    assert names <= TASKS


@pytest.mark.parametrize("model", ["schedule", "ormq", "success", "failure"])
def test_the_queue_s_tables_are_read_only_even_to_a_superuser(
    admin_client: Client, model: str
) -> None:
    now = timezone.now()
    row: Any = {
        "schedule": lambda: Schedule.objects.create(name="s", func="os.system", args="'id',"),
        "ormq": lambda: OrmQ.objects.create(key="streamsite", payload="x", lock=now),
        "success": lambda: task(success=True),
        "failure": lambda: task(success=False),
    }[model]()
    listing = reverse(f"admin:django_q_{model}_changelist")
    assert admin_client.get(listing).status_code == 200
    chosen = {"_selected_action": [str(row.pk)], "action": "resubmit_task"}
    before = OrmQ.objects.count()
    for action in ("resubmit_task", "delete_selected"):
        admin_client.post(listing, chosen | {"action": action, "post": "yes"})
    assert OrmQ.objects.count() == before
    assert type(row).objects.filter(pk=row.pk).exists()
    assert admin_client.get(reverse(f"admin:django_q_{model}_add")).status_code == 403
    one = reverse(f"admin:django_q_{model}_change", args=[row.pk])
    assert admin_client.get(one).status_code == 200
    assert admin_client.post(one, {"func": "os.system"}).status_code == 403
    gone = reverse(f"admin:django_q_{model}_delete", args=[row.pk])
    assert admin_client.post(gone, {"post": "yes"}).status_code == 403


def task(*, success: bool) -> Task:
    now = timezone.now()
    made: Task = Task.objects.create(
        id="a" * 32,
        name="t",
        func="os.system",
        started=now - timedelta(seconds=1),
        stopped=now,
        success=success,
        result="x",
    )
    return (Success if success else Failure).objects.get(pk=made.pk)


# ---- users -----------------------------------------------------------------------------------


def staff(name: str, *permissions: str) -> tuple[User, Client]:
    user = rows.user(*permissions, name=name)
    assert isinstance(user, User)
    client = Client()
    client.force_login(user)
    return user, client


def form(user: User, **fields: Any) -> dict[str, Any]:
    joined = timezone.localtime(user.date_joined)
    return {
        "username": user.username,
        "is_active": "on",
        "date_joined_0": f"{joined:%Y-%m-%d}",
        "date_joined_1": f"{joined:%H:%M:%S}",
        "channel_limit-TOTAL_FORMS": "0",
        "channel_limit-INITIAL_FORMS": "0",
        **fields,
    }


def change(client: Client, user: User, **fields: Any) -> int:
    url = reverse("admin:auth_user_change", args=[user.pk])
    return client.post(url, form(user, **fields)).status_code


def test_who_may_change_users_makes_nobody_a_superuser() -> None:
    clerk, client = staff("clerk", "auth.change_user", "auth.view_user")
    every = [str(item.pk) for item in Permission.objects.all()]
    boss = Group.objects.create(name="Bosses")
    boss.permissions.set(Permission.objects.all())
    change(
        client,
        clerk,
        is_superuser="on",
        is_staff="on",
        user_permissions=every,
        groups=[str(boss.pk)],
        first_name="Cora",
    )
    clerk.refresh_from_db()
    assert clerk.first_name == "Cora"
    assert not clerk.is_superuser
    assert list(clerk.groups.all()) == []
    assert clerk.user_permissions.count() == 2


def test_who_may_change_users_gets_no_hold_of_one_who_may_more() -> None:
    _, client = staff(
        "clerk", "auth.change_user", "auth.view_user", "auth.delete_user", "auth.add_user"
    )
    root = User.objects.create_superuser("root", password="x")
    other = rows.user("streams.change_channel", name="operator")
    sleeper = rows.user("streams.change_channel", name="sleeper")
    sleeper.is_active = False
    sleeper.save()
    for user in (root, other, sleeper):
        assert isinstance(user, User)
        before = user.password
        assert change(client, user, username="mine") == 403
        password = reverse("admin:auth_user_password_change", args=[user.pk])
        sent = {"password1": "Zaphod-1977", "password2": "Zaphod-1977"}
        assert client.post(password, sent).status_code == 403
        gone = reverse("admin:auth_user_delete", args=[user.pk])
        assert client.post(gone, {"post": "yes"}).status_code == 403
        client.post(
            reverse("admin:auth_user_changelist"),
            {"action": "delete_selected", "_selected_action": [str(user.pk)], "post": "yes"},
        )
        user.refresh_from_db()
        assert user.password == before
    plain = User.objects.create_user("plain")
    assert change(client, plain, first_name="Pia") == 302


def test_who_may_change_groups_gives_his_own_no_more() -> None:
    clerk, client = staff("clerk", "auth.change_group", "auth.view_group", "auth.add_group")
    group = Group.objects.create(name="Clerks")
    clerk.groups.add(group)
    every = [str(item.pk) for item in Permission.objects.all()]
    one = reverse("admin:auth_group_change", args=[group.pk])
    assert client.post(one, {"name": "Clerks", "permissions": every}).status_code == 403
    assert client.get(reverse("admin:auth_group_add")).status_code == 403
    assert group.permissions.count() == 0


def test_a_superuser_still_gives_rights(admin_client: Client) -> None:
    user = User.objects.create_user("new")
    some = Permission.objects.get(codename="change_channel")
    assert change(admin_client, user, is_staff="on", user_permissions=[str(some.pk)]) == 302
    user.refresh_from_db()
    assert user.is_staff
    assert user.has_perm("streams.change_channel")


# ---- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", KeyPermission)
def test_nobody_mints_a_key_that_may_more_than_he_may(level: KeyPermission) -> None:
    _, client = staff("clerk", "streamsite.add_apikey", "streamsite.view_apikey")
    sent = {
        "name": "Robot",
        "permissions": level.value,
        "requests_per_minute": "60",
        "concurrent_downloads": "1",
    }
    answer = client.post(reverse("admin:streamsite_apikey_add"), sent)
    assert "may do what you may not" in answer.content.decode()
    assert not ApiKey.objects.exists()
    _, able = staff("able", "streamsite.add_apikey", *django_permissions_of(level))
    able.post(reverse("admin:streamsite_apikey_add"), sent)
    assert ApiKey.objects.get().permissions == level.value
