"""An entered stream key survives an error of another field. A stored one is never shown."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from streams.models import Broadcaster, Channel, Output, StreamKey
from streams.tests import rows
from streamsite.security.secret import Secret

TYPED = 'typed-"key"-4711'
pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ada"))
    return client


def inputs(page: str, name: str) -> list[str]:
    return [tag for tag in re.findall(r"<input[^>]*>", page) if f'name="{name}"' in tag]


def posted(**fields: str) -> dict[str, str]:
    empty = {
        f"{prefix}-{name}": "0"
        for prefix in ("outputs", "takeover_rights", "hours")
        for name in ("TOTAL_FORMS", "INITIAL_FORMS")
    }
    return empty | fields


def test_an_entered_key_survives_an_error_in_the_channels_form(staff: Client) -> None:
    channel = rows.channel()
    stored = Output.objects.create(
        channel=channel, name="Old", url="rtmp://127.0.0.1/live", key=Secret(rows.KEY)
    )
    url = reverse("admin:streams_channel_change", args=[channel.pk])
    fields = posted(
        name="",  # the fault
        **{
            "outputs-TOTAL_FORMS": "2", "outputs-INITIAL_FORMS": "1",
            "outputs-0-id": str(stored.pk), "outputs-0-name": "Old",
            "outputs-0-url": stored.url, "outputs-0-channel": str(channel.pk),
            "outputs-1-name": "New", "outputs-1-platform": "custom",
            "outputs-1-url": "rtmp://127.0.0.1/live", "outputs-1-key": TYPED,
            "outputs-1-channel": str(channel.pk),
        },
    )  # fmt: skip
    answer = staff.post(url, fields)
    assert answer.status_code == 200
    page = answer.content.decode()
    (again,) = inputs(page, "outputs-1-key")
    assert 'type="password"' in again
    assert 'value="typed-&quot;key&quot;-4711"' in again
    assert page.count("typed-") == 1
    assert "no-store" in answer["Cache-Control"]
    # The page contains neither the stored key nor its mask.
    (kept,) = inputs(page, "outputs-0-key")
    assert "value=" not in kept
    assert rows.KEY not in page
    assert Channel.objects.get().name == channel.name


@pytest.mark.parametrize("field", ["name", "url"])
def test_an_entered_key_survives_an_error_in_the_outputs_form(
    staff: Client, field: str
) -> None:
    channel = rows.channel()
    fields = {
        "channel": str(channel.pk), "name": "New", "platform": "custom",
        "url": "rtmp://127.0.0.1/live", "key": TYPED,
    }  # fmt: skip
    answer = staff.post(reverse("admin:streams_output_add"), fields | {field: ""})
    assert answer.status_code == 200
    (again,) = inputs(answer.content.decode(), "key")
    assert 'type="password"' in again
    assert "typed-" in again


def test_a_stored_key_is_not_shown(staff: Client) -> None:
    channel = rows.channel()
    output = Output.objects.create(
        channel=channel, name="Old", url="rtmp://127.0.0.1/live", key=Secret(rows.KEY)
    )
    pages = {
        "key": reverse("admin:streams_output_change", args=[output.pk]),
        "outputs-0-key": reverse("admin:streams_channel_change", args=[channel.pk]),
    }
    for name, url in pages.items():
        page = staff.get(url).content.decode()
        (shown,) = inputs(page, name)
        assert "value=" not in shown
        assert rows.KEY not in page


def test_entered_passwords_survive_an_error_in_the_user_form(staff: Client) -> None:
    typed = {
        "username": "ada",
        "password1": "long-enough-4711",
        "password2": "long-enough-4711",
    }
    page = staff.post(reverse("admin:auth_user_add"), typed).content.decode()
    assert "already exists" in page
    for name in ("password1", "password2"):
        (again,) = inputs(page, name)
        assert 'value="long-enough-4711"' in again


def test_entered_values_survive_a_refused_stream_key(staff: Client) -> None:
    ada = Broadcaster.objects.create(name="Ada", slug="ada")
    typed = {"label": 'OBS "home"', "expires_at": "2020-01-01T10:00", "single_use": "on"}
    answer = staff.post(reverse("mint-key", args=[ada.pk]), typed, follow=True)
    page = answer.content.decode()
    assert "That time has passed." in page
    assert 'value="OBS &quot;home&quot;"' in inputs(page, "label")[0]
    assert 'value="2020-01-01T10:00"' in inputs(page, "expires_at")[0]
    assert "checked" in inputs(page, "single_use")[0]
    assert not StreamKey.objects.exists()


def test_entered_values_survive_a_refused_api_key(staff: Client) -> None:
    typed = {
        "name": "Robot", "permissions": "read", "allowed_addresses": "10.0.0.0/8 nonsense",
        "requests_per_minute": "7",
    }  # fmt: skip
    page = staff.post(reverse("admin:streamsite_apikey_add"), typed).content.decode()
    for name in ("name", "allowed_addresses", "requests_per_minute"):
        assert f'value="{typed[name]}"' in inputs(page, name)[0]
