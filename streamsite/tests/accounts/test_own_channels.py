"""Users and API keys that are limited to channels see and change nothing of the others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from streams.ingest import keys as stream_keys
from streams.models import (
    AsRun,
    Block,
    Broadcaster,
    Channel,
    Incident,
    LiveStream,
    LogLine,
    Output,
    PlatformAccount,
    Run,
    StreamKey,
    Takeover,
    TakeoverRight,
    UpcomingProblem,
)
from streams.models.own_channels import CHANNEL_OF
from streams.realtime import CHANNELS
from streams.tests import rows
from streamsite.accounts.models import ChannelLimit
from streamsite.accounts.roles import Role
from streamsite.api import keys
from streamsite.api.auth import Caller
from streamsite.api.permissions import KeyPermission
from streamsite.site import permission_table

pytestmark = pytest.mark.django_db

#: Stands in each row of the channel of others, and in nothing else.
OTHERS = "zephyr"
Get = Callable[[str], Any]


def furnished(name: str) -> Channel:
    """A channel on air, with a row of each kind, all of that name."""
    now = timezone.now()
    channel = rows.channel(name, playlist=rows.playlist(name=f"List {len(name)}"))
    rows.block(channel, f"Block {name}", playlist=channel.playlist)
    rows.output(channel, f"Output {name}")
    PlatformAccount.objects.create(name=f"Account {name}", channel=channel, client_id=name)
    run = rows.on_air(channel)
    AsRun.objects.create(run=run, title=f"Item {name}", started_at=now, ended_at=now)
    Incident.objects.create(
        channel=channel, subject=name, severity="lost", cause=f"Lost {name}", opened_at=now
    )
    LogLine.objects.create(channel=channel, at=now, role="hub", level="info", text=name)
    UpcomingProblem.objects.create(
        channel=channel, subject=name, sentence=f"Problem {name}", airs_at=now
    )
    owner = Broadcaster.objects.create(name=f"Caster {name}", slug=f"caster-{name}")
    TakeoverRight.objects.create(channel=channel, broadcaster=owner)
    key, _ = stream_keys.mint(owner, by="ada", now=now, label=f"Label {name}")
    stream = LiveStream.objects.create(
        broadcaster=owner, key=key, server="mediamtx", path=owner.path, source_id=name
    )
    Takeover.objects.create(
        channel=channel, run=run, broadcaster=owner, stream=stream, requested_at=now
    )
    return channel


@pytest.fixture
def own() -> Channel:
    return furnished("mine")


@pytest.fixture
def others() -> Channel:
    return furnished(OTHERS)


@pytest.fixture
def user(own: Channel, others: Channel) -> User:
    """May do all that a role may, but to one channel."""
    made = User.objects.create_user("ada", is_staff=True)
    made.groups.add(Group.objects.get(name=Role.ADMIN.value))
    limit = ChannelLimit.objects.create(user=made)
    limit.channels.add(own)
    return made


@pytest.fixture
def client(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def key_client(own: Channel, others: Channel) -> Client:
    """Asks with a key of all permissions, for one channel."""
    _, key = keys.mint(
        "Robot",
        KeyPermission.FULL_ACCESS,
        by="ada",
        now=timezone.now(),
        channels=[own.slug],
        requests_per_minute=100_000,
    )
    return Client(headers={"X-API-Key": key.reveal()})


def content(answer: Any) -> str:
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return str(body, errors="replace")


#: The routes of one row, and its model.
OF_A_ROW: dict[str, type[Model]] = {
    "outputs": Output,
    "blocks": Block,
    "runs": Run,
    "broadcasters": Broadcaster,
    "stream-keys": StreamKey,
    "streams": LiveStream,
}
LISTS = [
    *("channels", "channel-statuses", "outputs", "blocks", "runs", "broadcasters", "streams"),
    *("stream-keys", "upcoming-problems", "health/uptime", "health/detailed", "health/metrics"),
]


def test_lists_of_the_api_have_no_row_of_others(client: Client, key_client: Client) -> None:
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    # It would be seen, where there is something to see.
    assert sum(OTHERS in content(boss.get(f"/api/v1/{path}")) for path in LISTS) >= 10
    for limited in (client, key_client):
        for path in LISTS:
            text = content(limited.get(f"/api/v1/{path}"))
            assert OTHERS not in text, path
        assert "mine" in content(limited.get("/api/v1/channels"))
        assert "mine" in content(limited.get("/api/v1/broadcasters"))
        assert OTHERS not in content(limited.get("/streams"))


def body_of(route: str, own: Channel) -> dict[str, Any]:
    """A body with which the request would be good."""
    at = timezone.localdate().isoformat()
    bodies: dict[str, dict[str, Any]] = {
        "move": {"day": at, "starts_by": 0, "ends_by": 0, "seen": "x"},
        "copy-week": {"week": at, "to": at},
        "hours": {"hours": []},
        "takeover-rights": {"rights": []},
        "drills": {"faults": ["hub"]},
    }
    return bodies.get(route.rpartition("/")[2], {})


def test_no_route_reaches_a_row_of_others(
    client: Client, key_client: Client, own: Channel, others: Channel
) -> None:
    requests = 0
    for route in permission_table.table():
        method, _, path = route.partition(" ")
        kind = path.removeprefix("/api/v1").split("/")[1]
        row: Any = OF_A_ROW.get(kind)
        if "{slug}" not in path and not (row is not None and "{id}" in path):
            continue
        if path.startswith("/ws/") or path.endswith("/events"):
            continue
        pk = "" if row is None else str(of_channel(row, others).pk)
        url = path.replace("{slug}", others.slug).replace("{id}", pk)
        url = url.replace("{name}", "a.ts").replace("{incident}", "1")
        query = ""
        if path.endswith("/calendar"):
            query = "?first=2026-03-02&last=2026-03-09"
        for limited in (client, key_client):
            sent = json.dumps(body_of(path, own))
            answer = limited.generic(method, url + query, sent, "application/json")
            assert answer.status_code == 404, (route, answer.content)
            requests += 1
    assert requests > 60
    # Nothing was done, either.
    assert Channel.objects.filter(pk=others.pk, desired_state="on").exists()
    assert Broadcaster.objects.count() == 2


def of_channel(model: Any, channel: Channel) -> Any:
    return model.objects.filter(**{CHANNEL_OF[model]: channel.pk}).first()


def test_filters_and_bodies_name_no_channel_of_others(
    client: Client, others: Channel, own: Channel
) -> None:
    block = {"channel": others.slug, "name": "x", "starts": "20:00", "ends": "21:00"}
    block["playlist_id"] = str(others.playlist_id)
    for path, body in (
        ("blocks", block),
        ("outputs", {"channel": others.slug, "name": "x"}),
        ("stream-keys", {"broadcaster_id": of_channel(Broadcaster, others).pk}),
        (f"channels/{own.slug}/take", {"broadcaster_id": of_channel(Broadcaster, others).pk}),
    ):
        sent = client.post(f"/api/v1/{path}", body, content_type="application/json")
        assert sent.status_code in {404, 422}, (path, sent.content)
    right = {"rights": [{"broadcaster_id": of_channel(Broadcaster, others).pk}]}
    path = f"/api/v1/channels/{own.slug}/takeover-rights"
    assert client.put(path, right, content_type="application/json").status_code == 422
    assert Block.objects.filter(channel=others).count() == 1
    assert TakeoverRight.objects.filter(channel=own).count() == 1
    answer = client.get(f"/api/v1/runs?channel={others.slug}").json()
    assert answer["items"] == []


@pytest.mark.parametrize(
    "route",
    ["GET webhooks", "GET api-keys", "POST channels", "POST broadcasters", "POST api-keys"],
)
def test_what_is_of_the_whole_site_is_refused(
    route: str, client: Client, key_client: Client
) -> None:
    method, _, path = route.partition(" ")
    for limited in (client, key_client):
        sent = limited.generic(method, f"/api/v1/{path}", b"{}", "application/json")
        assert sent.status_code == 403


def test_lists_and_forms_of_the_admin_have_no_row_of_others(
    client: Client, own: Channel, others: Channel
) -> None:
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    shown = 0
    for model in admin.site._registry:
        if model not in CHANNEL_OF:
            continue
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        listing = reverse(f"{name}_changelist")
        shown += OTHERS in content(boss.get(listing))
        assert OTHERS not in content(client.get(listing)), listing
        for page in ("change", "delete", "history"):
            url = reverse(f"{name}_{page}", args=[of_channel(model, others).pk])
            assert client.get(url).status_code in {302, 403, 404}, url
        mine = reverse(f"{name}_change", args=[of_channel(model, own).pk])
        answer = client.get(mine)
        assert answer.status_code == 200, mine
        assert OTHERS not in content(answer), mine
    assert shown >= 10


def test_pages_have_no_channel_of_others(client: Client, own: Channel, others: Channel) -> None:
    for url in ("/admin/", "/admin/live/"):
        text = content(client.get(url))
        assert "mine" in text
        assert OTHERS not in text
    for name in ("monitor", "calendar", "calendar-preview", "calendar-why", "channel-panels"):
        assert client.get(reverse(name, args=[own.slug])).status_code == 200
        assert client.get(reverse(name, args=[others.slug])).status_code == 404
    assert client.get(reverse("guide", args=[others.slug])).status_code == 404
    assert client.get(f"/admin/as-run.csv?channel={others.slug}").status_code == 404
    text = content(client.get(reverse("watch-hours")))
    assert "mine" in text
    assert OTHERS not in text
    page = reverse("platform-connection", args=[of_channel(PlatformAccount, others).pk])
    assert client.get(page).status_code == client.post(page).status_code == 404
    order = reverse("order", args=[others.slug, "stop"])
    assert client.post(order, {"confirmed": "1"}).status_code == 404
    owner = of_channel(Broadcaster, others)
    assert client.post(reverse("mint-key", args=[owner.pk])).status_code == 404
    sidebar = content(client.get("/admin/"))
    assert re.findall(r"/admin/(?:auth|streamsite|django_q|axes)/", sidebar) == []


def test_a_form_takes_no_channel_of_others(
    client: Client, own: Channel, others: Channel
) -> None:
    url = reverse("admin:streams_output_add")
    sent = {"name": "x", "platform": "youtube", "enabled": "on"}
    assert client.post(url, sent | {"channel": str(others.pk)}).status_code == 200
    assert client.post(url, sent | {"channel": str(own.pk)}).status_code == 302
    assert not Output.objects.filter(channel=others, name="x").exists()
    answer = client.get(
        "/admin/autocomplete/",
        {"app_label": "streams", "model_name": "block", "field_name": "channel"},
    )
    assert [row["text"] for row in answer.json()["results"]] == ["Mine"]


def test_real_time_has_no_channel_of_others(user: User, own: Channel, others: Channel) -> None:
    who = Caller(user=user)
    assert CHANNELS.exists(who, own.slug)
    assert not CHANNELS.exists(who, others.slug)


def test_a_limit_outlives_its_last_channel(own: Channel, others: Channel, user: User) -> None:
    Run.objects.update(ended_at=timezone.now() + timedelta(seconds=1))
    own.delete()
    client = Client()
    client.force_login(user)
    assert client.get("/api/v1/channels").json()["items"] == []


def test_without_a_limit_and_as_superuser_all_is_seen(own: Channel, others: Channel) -> None:
    boss = User.objects.create_superuser("boss")
    ChannelLimit.objects.create(user=boss).channels.add(own)
    for user in (boss, rows.operator("plain")):
        client = Client()
        client.force_login(user)
        slugs = {row["slug"] for row in client.get("/api/v1/channels").json()["items"]}
        assert slugs == {own.slug, others.slug}


def test_a_key_names_its_channels(admin_client: Client, own: Channel, others: Channel) -> None:
    sent = {"name": "Robot", "channels": [own.slug]}
    answer = admin_client.post("/api/v1/api-keys", sent, content_type="application/json")
    assert answer.json()["channels"] == [own.slug]
    bad = {"name": "Robot", "channels": ["nothing"]}
    answer = admin_client.post("/api/v1/api-keys", bad, content_type="application/json")
    assert answer.status_code == 422
    listed = admin_client.get("/api/v1/api-keys").json()["items"]
    assert [row["channels"] for row in listed] == [[own.slug]]
