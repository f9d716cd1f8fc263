"""What each role may: pages, the API and the document keep to one table."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from streams.tests import rows
from streamsite.accounts import groups, roles
from streamsite.accounts.roles import Role, permissions_of
from streamsite.site import permission_table

pytestmark = pytest.mark.django_db

ROUTES = {route: rule for route, rule in permission_table.table().items() if rule is not None}
ALL = [pytest.param(role, id=role.value) for role in Role]


def member(role: Role, name: str = "ada") -> User:
    """A user of the role's group alone: not the superuser that the form makes of an admin."""
    made = User.objects.create_user(name, is_staff=True)
    made.groups.add(Group.objects.get(name=role.value))
    return made


def browser(role: Role) -> Client:
    client = Client()
    client.force_login(member(role))
    return client


# ---- the table -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (Role.VIEWER, "streams.view_channel", "streams.add_block"),
        (Role.VIEWER, "media_library.view_playlist", "streams.view_streamkey"),
        (Role.SCHEDULER, "streams.change_block", "streams.operate_channel"),
        (Role.SCHEDULER, "media_library.add_playlist", "streams.change_channel"),
        (Role.OPERATOR, "streams.operate_channel", "streams.change_output"),
        (Role.OPERATOR, "streams.add_streamkey", "streamsite.view_endpoint"),
        (Role.ENGINEER, "streams.change_output", "streamsite.add_apikey"),
        (Role.ENGINEER, "media_library.download_from_any_site", "auth.view_user"),
        (Role.ADMIN, "streamsite.view_auditentry", "auth.add_group"),
    ],
)
def test_what_a_role_may(role: Role, may: str, may_not: str) -> None:
    user = member(role)
    assert user.has_perm(may)
    assert not user.has_perm(may_not)


def test_a_role_includes_those_before_it() -> None:
    given = [permissions_of(role) for role in Role]
    assert all(less < more for less, more in itertools.pairwise(given))


def test_the_table_names_permissions_that_exist_and_all_that_routes_need() -> None:
    existing = {
        f"{app}.{codename}"
        for app, codename in Permission.objects.values_list(
            "content_type__app_label", "codename"
        )
    }
    assert permissions_of(Role.ADMIN) <= existing
    assert {rule.staff_permission for rule in ROUTES.values()} <= permissions_of(Role.ADMIN)


def test_the_document_has_the_table() -> None:
    page = (Path(__file__).parents[3] / "deploy" / "roles.md").read_text()
    assert roles.as_markdown() in page, "Run `make docs`."


# ---- the groups ------------------------------------------------------------------------------


def test_groups_are_kept_in_step_with_the_table() -> None:
    group = Group.objects.get(name="Viewer")
    group.permissions.clear()
    Group.objects.filter(name="Operator").delete()
    groups.keep_in_step()
    assert Permission.objects.filter(group=group).count() == len(permissions_of(Role.VIEWER))
    assert Group.objects.filter(name="Operator").exists()


def test_nobody_edits_the_group_of_a_role(admin_client: Client) -> None:
    shipped, own = Group.objects.get(name="Viewer"), Group.objects.create(name="Own")
    for group, status in ((shipped, 403), (own, 302)):
        url = reverse("admin:auth_group_change", args=[group.pk])
        assert admin_client.post(url, {"name": "New"}).status_code == status
    listing = reverse("admin:auth_group_changelist")
    chosen = [str(shipped.pk)]
    sent = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    admin_client.post(listing, sent)
    assert Group.objects.filter(name="Viewer").exists()


# ---- the API ---------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ALL)
def test_routes_let_in_the_roles_that_have_their_permission(role: Role) -> None:
    client, allowed = browser(role), permissions_of(role)
    wrong = {}
    for route, rule in ROUTES.items():
        method, _, path = route.partition(" ")
        if path.startswith("/ws/"):
            continue
        # Nothing is there: who is let in gets 404, or 422 for the missing body.
        url = re.sub(r"\{slug\}|\{name\}", "nothing", path)
        url = re.sub(r"\{\w+\}", "987654321", url)
        sent = client.generic(method, url, b"", "application/json").status_code
        if (sent != 403) != (rule.staff_permission in allowed):
            wrong[route] = sent
    assert wrong == {}


# ---- pages -----------------------------------------------------------------------------------


def pages(patterns: list[Any], before: str = "") -> Iterator[str]:
    """The paths of all pages of the admin's site, as Django writes them."""
    for pattern in patterns:
        path = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from pages(pattern.url_patterns, path)
        elif isinstance(pattern, URLPattern):
            yield path


#: Pages beside those of models, and the permission that each needs.
PAGES = {
    "admin/sessions/": "streamsite.view_usersession",
    "admin/monitor/<slug:slug>/": "streams.view_channel",
    "admin/drills/<slug:slug>/": "streams.view_drill",
    "admin/calendar/<slug:slug>/": "streams.view_channel",
    "admin/calendar/<slug:slug>/preview/": "streams.view_channel",
    "admin/calendar/<slug:slug>/why/": "streams.view_channel",
    "admin/as-run.csv": "streams.view_asrun",
    "admin/uptime/": "streams.view_channel",
    "admin/uptime/<slug:slug>/": "streams.view_channel",
    "admin/uptime/<slug:slug>/print": "streams.view_channel",
    "admin/uptime/<slug:slug>/<str:what>.csv": "streams.view_incident",
    "admin/wall/": "streams.view_channel",
    "admin/wall/strips": "streams.view_channel",
    "admin/platforms/<int:pk>/": "streams.change_platformaccount",
    "admin/platforms/back/": "streams.change_platformaccount",
    "admin/watch-hours/": "streams.view_watchday",
    "admin/live/": "streams.view_livestream",
    "admin/live/broadcasters/<int:pk>/mint/": "streams.add_streamkey",
    "admin/live/keys/<int:pk>/revoke/": "streams.change_streamkey",
    "admin/media/import/": "media_library.add_playlist",
    "admin/media/playlists/<int:pk>/import/": "media_library.change_playlist",
    "admin/media/upload/": "media_library.add_mediaitem",
    "admin/media/download/": "media_library.add_downloadjob",
    "admin/media/download-tool/": "media_library.view_downloadjob",
}
#: Pages that all staff may open.
FOR_ALL = {
    *("admin/", "admin/login/", "admin/logout/", "admin/jsi18n/", "admin/autocomplete/"),
    # unfold's search finds names of pages among those that the visitor may see.
    "admin/search/",
    *("admin/account/", "admin/account/end/", "admin/account/set-up/"),
    *("admin/account/passkeys/", "admin/account/codes/", "admin/account/remove/"),
    *("admin/login/second-factor/", "admin/login/passkey/"),
    *("admin/password_change/", "admin/password_change/done/"),
    r"admin/^(?P<app_label>auth|axes|django_q|media_library|streams|streamsite)/$",
    "admin/r/<path:content_type_id>/<path:object_id>/",
    "admin/(?P<url>.*)$",
}


def of_models() -> set[str]:
    return {
        f"admin/{model._meta.app_label}/{model._meta.model_name}/"
        for model in admin.site._registry
    }


def test_every_page_is_of_a_model_or_in_the_list() -> None:
    every = {path for path in pages(get_resolver().url_patterns) if path.startswith("admin/")}
    models = tuple(of_models())
    rest = {path for path in every if not path.startswith(models)}
    unknown = {path for path in rest if "app_label" not in path} - PAGES.keys() - FOR_ALL
    assert unknown == set()
    assert PAGES.keys() <= every


@pytest.mark.parametrize("role", ALL)
def test_pages_let_in_the_roles_that_have_their_permission(role: Role) -> None:
    client, allowed = browser(role), permissions_of(role)
    wrong: dict[str, int] = {}
    for path, permission in PAGES.items():
        url = "/" + path.replace("<slug:slug>", "nothing").replace("<int:pk>", "987654321")
        method = "POST" if path.endswith("/mint/") else "GET"
        if (sent := client.generic(method, url).status_code) == 403:
            wrong |= {} if permission not in allowed else {path: sent}
        elif permission not in allowed:
            wrong[path] = sent
    assert wrong == {}


@pytest.mark.parametrize("role", ALL)
def test_pages_of_models_let_in_the_roles_that_have_their_permission(role: Role) -> None:
    """Lists and forms: as the table says, or nobody where only workers write."""
    client, allowed = browser(role), permissions_of(role)
    wrong = {}
    for model, page in admin.site._registry.items():
        app, name = model._meta.app_label, model._meta.model_name
        sees = {f"{app}.view_{name}", f"{app}.change_{name}"} & allowed
        listing = reverse(f"admin:{app}_{name}_changelist")
        if (client.get(listing).status_code == 200) != bool(sees):
            wrong[listing] = "list"
        status = client.get(f"{listing}add/").status_code
        if status == 200 and f"{app}.add_{name}" not in allowed:
            wrong[listing] = "add"
        if status != 200 and f"{app}.add_{name}" in allowed and writable(page):
            wrong[listing] = "no add"
    assert wrong == {}


def writable(page: admin.ModelAdmin[Any]) -> bool:
    """Whether a superuser may add a row by its form."""
    from django.test import RequestFactory  # noqa: PLC0415 - for this question alone

    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    return page.has_add_permission(request)


# ---- the form --------------------------------------------------------------------------------

PASSWORD = "Zaphod-1977-Beeblebrox"


def form(role: str, name: str = "new") -> dict[str, str]:
    return {"username": name, "password1": PASSWORD, "password2": PASSWORD, "role": role}


@pytest.mark.parametrize("role", ALL)
def test_a_new_user_has_a_name_a_password_and_a_role(role: Role, admin_client: Client) -> None:
    url = reverse("admin:auth_user_add")
    page = admin_client.get(url).content.decode()
    fields = set(re.findall(r'<(?:input|select)[^>]* name="(\w+)"', page))
    assert fields >= {"username", "password1", "password2", "role"}
    assert not fields & {"is_superuser", "is_staff", "groups", "usable_password"}
    assert admin_client.post(url, form(role)).status_code == 302
    user = User.objects.get(username="new")
    assert (user.is_staff, user.is_superuser) == (True, role is Role.ADMIN)
    assert groups.role_of(user) is role
    assert user.get_all_permissions() >= permissions_of(role)
    assert user.check_password(PASSWORD)


def test_a_new_user_without_a_role_is_refused(admin_client: Client) -> None:
    assert admin_client.post(reverse("admin:auth_user_add"), form("")).status_code == 200
    assert not User.objects.filter(username="new").exists()


def test_nobody_gives_a_role_that_may_more_than_he_may() -> None:
    clerk = member(Role.OPERATOR)
    for codename in ("add_user", "change_user", "view_user"):
        clerk.user_permissions.add(Permission.objects.get(codename=codename))
    client = Client()
    client.force_login(clerk)
    url = reverse("admin:auth_user_add")
    for role in (Role.ENGINEER, Role.ADMIN):
        assert client.post(url, form(role)).status_code == 200
    assert client.post(url, form(Role.OPERATOR)).status_code == 302
    assert groups.role_of(User.objects.get(username="new")) is Role.OPERATOR


def change(client: Client, user: User, **fields: Any) -> int:
    limit = {"channel_limit-TOTAL_FORMS": "0", "channel_limit-INITIAL_FORMS": "0"}
    sent = {"username": user.username, "is_active": "on", "is_staff": "on", **limit, **fields}
    url = reverse("admin:auth_user_change", args=[user.pk])
    return client.post(url, sent).status_code


def test_a_change_of_role_keeps_own_groups(admin_client: Client) -> None:
    user, own = member(Role.VIEWER), Group.objects.create(name="Own")
    assert change(admin_client, user, role="Engineer", groups=[str(own.pk)]) == 302
    assert {group.name for group in user.groups.all()} == {"Own", "Engineer"}
    assert change(admin_client, user, role="", groups=[str(own.pk)]) == 302
    assert {group.name for group in user.groups.all()} == {"Own"}


def test_a_superuser_from_before_is_an_admin_and_stays_one(admin_user: User) -> None:
    client = Client()
    client.force_login(admin_user)
    assert groups.role_of(admin_user) is Role.ADMIN
    # Not by himself: nobody might be left who could give it back.
    assert change(client, admin_user, role="Viewer") == 200
    assert change(client, admin_user, role="Admin") == 302
    admin_user.refresh_from_db()
    assert admin_user.is_superuser


def test_users_from_before_keep_what_they_may() -> None:
    user = rows.operator()
    groups.keep_in_step()
    assert groups.role_of(user) is None
    assert user.has_perm("streams.operate_channel")
