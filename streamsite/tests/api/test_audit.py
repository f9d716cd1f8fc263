"""The history of an object has changes by users and by keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django import Settings

from streams.models import Channel
from streams.tests import rows
from streamsite.api.models import ApiKey, KeyChange
from streamsite.tests.api_calls import api_caller

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


def history(page: str) -> list[str]:
    """The cells of the history's table, without its dates."""
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)
    return [" ".join(cell.split()) for cell in cells]


@pytest.mark.slow
def test_a_channels_history_names_users_and_keys(admin_client: Client) -> None:
    call = api_caller(Client())
    call(
        "POST", "channels", {"name": "News", "slug": "news", "playlist_id": rows.playlist().pk}
    )
    sent = {"name": "Other"}
    admin_client.patch("/api/v1/channels/news", sent, content_type="application/json")
    call("POST", "channels/news/start")
    call("POST", "channels/news/skip")
    page = admin_client.get(f"/admin/streams/channel/{Channel.objects.get().pk}/history/")
    key = f"API key {ApiKey.objects.get()}"
    assert history(page.content.decode()) == [
        *(key, "Added."),
        *("admin", "Changed name."),
        *(key, "Start ordered."),
        *(key, "Skip ordered."),
    ]


def test_orders_of_users_are_noted_once(client: Client) -> None:
    rows.channel()
    client.force_login(rows.operator())
    assert client.post("/api/v1/channels/demo/start").status_code == 202
    assert LogEntry.objects.get().get_change_message() == "Start ordered."
    assert not KeyChange.objects.exists()


def test_what_failed_is_in_no_history() -> None:
    call = api_caller(Client())
    rows.channel(playlist=None)
    assert call("POST", "channels/demo/start")[0] == 422
    assert call("PATCH", "channels/demo", {"width": 1281})[0] == 422
    assert not KeyChange.objects.exists()


def test_what_a_key_did_is_listed_also_of_what_is_gone(admin_client: Client) -> None:
    call = api_caller(Client())
    rows.output(rows.channel())
    output = Channel.objects.get().outputs.get()
    call("PATCH", f"outputs/{output.pk}", {"key": rows.KEY, "name": "Main"})
    call("DELETE", f"outputs/{output.pk}")
    page = admin_client.get("/admin/streamsite/keychange/").content.decode()
    assert "Changed key, name." in page
    assert "Deleted." in page
    assert rows.KEY not in page
    row = KeyChange.objects.latest("pk")
    assert admin_client.get(f"/admin/streamsite/keychange/{row.pk}/delete/").status_code == 403
    assert admin_client.get("/admin/streamsite/keychange/add/").status_code == 403


@pytest.mark.slow
def test_pages_of_a_long_history(admin_client: Client) -> None:
    call = api_caller(Client())
    rows.channel()
    for number in range(101):
        call("PATCH", "channels/demo", {"name": f"Name {number}"})
    path = f"/admin/streams/channel/{Channel.objects.get().pk}/history/"
    assert len(history(admin_client.get(path).content.decode())) == 200
    assert len(history(admin_client.get(f"{path}?p=2").content.decode())) == 2
