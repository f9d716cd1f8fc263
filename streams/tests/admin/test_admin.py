"""The admin: keys are never shown, history is read-only, channels on air are not deleted."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db.models import CASCADE, Model
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings

from media_library.admin import items
from media_library.models import MediaItem, Playlist
from streams.admin import alerts, channels, ingest
from streams.admin.forms import ChannelForm
from streams.models import (
    AlertReceiver,
    AsRun,
    Block,
    Broadcaster,
    Channel,
    Incident,
    Node,
    Output,
    Run,
)
from streams.tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(admin_client: Client) -> Client:
    return admin_client


def form_of(channel: Channel, *outputs: Mapping[str, object]) -> dict[str, object]:
    """The POST data of the channel's form."""
    sent = rows.channel_form(channel) | {
        "outputs-TOTAL_FORMS": len(outputs),
        "outputs-INITIAL_FORMS": sum("id" in output for output in outputs),
    }
    for number, output in enumerate(outputs):
        sent |= {f"outputs-{number}-channel": channel.pk}
        sent |= {f"outputs-{number}-{name}": value for name, value in output.items()}
    return sent


def url_of(channel: Channel) -> str:
    return reverse("admin:streams_channel_change", args=[channel.pk])


def save(browser: Client, channel: Channel, *outputs: Mapping[str, object]) -> None:
    answer = browser.post(url_of(channel), form_of(channel, *outputs))
    assert answer.status_code == 302, answer.context["errors"]


def key_of(channel: Channel) -> str:
    output = channel.outputs.get()
    assert output.key is not None
    return output.key.reveal()


NEW = {"name": "YouTube", "platform": "youtube", "url": "", "key": rows.KEY, "enabled": "on"}


def test_a_key_is_stored_and_never_shown(browser: Client) -> None:
    channel = rows.channel()
    save(browser, channel, NEW)
    assert key_of(channel) == rows.KEY
    output = channel.outputs.get()
    for url in (
        url_of(channel),
        reverse("admin:streams_output_change", args=[output.pk]),
        reverse("admin:streams_output_changelist"),
        reverse("admin:streams_channel_history", args=[channel.pk]),
    ):
        page = browser.get(url).content.decode()
        assert rows.KEY not in page
        assert "********" not in page
    assert "Stored. Leave empty to keep it." in browser.get(url_of(channel)).content.decode()
    assert not [entry for entry in LogEntry.objects.all() if rows.KEY in entry.change_message]


def test_an_empty_key_keeps_the_old_one(browser: Client) -> None:
    channel = rows.channel()
    output = rows.output(channel)
    save(browser, channel, NEW | {"id": output.pk, "key": "", "name": "Main"})
    assert (channel.outputs.get().name, key_of(channel)) == ("Main", rows.KEY)


def test_a_new_key_replaces_the_old_one(browser: Client) -> None:
    channel = rows.channel()
    output = rows.output(channel)
    save(browser, channel, NEW | {"id": output.pk, "key": " other-key "})
    assert key_of(channel) == "other-key"
    messages = [entry.change_message for entry in LogEntry.objects.all()]
    assert any("Stream key" in message for message in messages)
    assert not any("other-key" in message for message in messages)


def test_a_key_can_be_deleted(browser: Client) -> None:
    channel = rows.channel()
    output = rows.output(channel)
    url = reverse("admin:streams_output_change", args=[output.pk])
    sent = {"channel": channel.pk, "name": "YouTube", "platform": "youtube", "enabled": "on"}
    assert browser.post(url, sent).status_code == 302
    assert key_of(channel) == rows.KEY
    assert browser.post(url, sent | {"forget_key": "on"}).status_code == 302
    assert key_of(channel) == ""


def test_an_invalid_form_keeps_an_entered_key_in_its_password_field_only(
    browser: Client,
) -> None:
    channel = rows.channel()
    answer = browser.post(url_of(channel), form_of(channel, NEW | {"url": "ftp://x"}))
    page = answer.content.decode()
    assert "The address must begin with rtmp://" in page
    assert page.count(rows.KEY) == 1
    (field,) = re.findall(rf"<input[^>]*{rows.KEY}[^>]*>", page)
    assert 'type="password"' in field


def test_saving_does_not_undo_a_concurrent_order(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = rows.channel()
    clean = Channel.full_clean

    def slow_clean(self: Channel, *args: object, **kwargs: object) -> None:
        # Another user presses Start and Skip while this form is being validated.
        Channel.objects.update(desired_state="on", skips=3)
        clean(self, *args, **kwargs)  # type: ignore[arg-type]  # fields of any type, or wrong on purpose

    monkeypatch.setattr(Channel, "full_clean", slow_clean)
    channel.name = "Renamed"
    save(browser, channel)
    stored = Channel.objects.get()
    assert (stored.name, stored.desired_state, stored.skips) == ("Renamed", "on", 3)


def test_the_house_format_is_read_only_on_air(browser: Client) -> None:
    channel = rows.channel()
    rows.on_air(channel)
    answer = browser.post(url_of(channel), form_of(channel) | {"fps": 25})
    assert answer.status_code == 302
    assert Channel.objects.get().fps == 30


def test_a_channel_on_air_is_not_deleted(browser: Client) -> None:
    channel = rows.channel()
    rows.on_air(channel)
    url = reverse("admin:streams_channel_delete", args=[channel.pk])
    page = browser.post(url, {"post": "yes"}, follow=True).content.decode()
    assert "Demo is on air. Stop it first." in page
    chosen = {"action": "delete_selected", "_selected_action": [channel.pk], "post": "yes"}
    page = browser.post(reverse("admin:streams_channel_changelist"), chosen).content.decode()
    assert "Demo is on air. Stop it first." in page
    assert Channel.objects.exists()


def test_a_channel_off_air_is_deleted_with_its_history(browser: Client) -> None:
    channel = rows.channel()
    run = rows.on_air(channel)
    Run.objects.filter(pk=run.pk).update(ended_at=run.started_at)
    Channel.objects.update(desired_state="off")
    answer = browser.post(
        reverse("admin:streams_channel_delete", args=[channel.pk]), {"post": "yes"}
    )
    assert answer.status_code == 302
    assert not Channel.objects.exists()


@pytest.mark.parametrize(
    ("deleted", "along"),
    [
        (Channel, channels.HISTORY),
        (MediaItem, items.GOES_ALONG),
        (Playlist, set()),
        (Block, set()),
        (Broadcaster, ingest.GOES_ALONG),
        (Output, set()),
        (AlertReceiver, alerts.GOES_ALONG),
    ],
)
def test_read_only_history_does_not_prevent_deletion(
    deleted: type[Model], along: set[str]
) -> None:
    """Rows that are deleted with a channel are read-only, but do not prevent its deletion."""
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    seen, left = set[type[Model]](), [deleted]
    while left:
        model = left.pop()
        seen.add(model)
        left += [
            relation.related_model
            for relation in model._meta.related_objects
            if relation.on_delete is CASCADE and relation.related_model not in seen
        ]
    held = {
        model._meta.verbose_name
        for model in seen - {deleted}
        if (page := admin.site._registry.get(model)) and not page.has_delete_permission(request)
    }
    assert held <= along


def test_the_fillers_help_text_names_its_storage(browser: Client, settings: Settings) -> None:
    page = f"/admin/streams/channel/{rows.channel().pk}/change/"
    assert "It is in the media folder, like all" in browser.get(page).content.decode()
    settings.STORAGE_PROVIDER = "cloudflare"
    settings.STORAGES = dict(settings.STORAGES)
    form = ChannelForm()
    assert form.fields["filler"].help_text.endswith("stored on this machine's disk.")


def test_the_list_and_the_settings_have_the_buttons(browser: Client) -> None:
    on, off = rows.channel("on"), rows.channel("off")
    rows.node()
    rows.on_air(on)
    listed = browser.get(reverse("admin:streams_channel_changelist")).content.decode()
    for page in (listed, browser.get(url_of(on)).content.decode()):
        assert 'formaction="/channels/on/stop/"' in page
    assert 'formaction="/channels/off/start/"' in listed
    # The buttons belong to their own form, not to the list's form.
    assert listed.index('id="sx-order-form"') < listed.index('id="changelist-form"')
    assert browser.get(url_of(off)).status_code == 200


@pytest.mark.parametrize("model", [Run, AsRun, Incident, Node])
def test_history_is_read_only(browser: Client, model: type) -> None:
    channel = rows.channel()
    run = rows.on_air(channel)
    rows.node()
    AsRun.objects.create(run=run, title="First", started_at=run.started_at)
    Incident.objects.create(
        channel=channel,
        subject="programme",
        severity="lost",
        cause="Gone.",
        opened_at=run.started_at,
    )
    name = f"admin:streams_{model.__name__.lower()}"
    assert browser.get(reverse(f"{name}_changelist")).status_code == 200
    row = model.objects.get()  # type: ignore[attr-defined]  # the type is narrower at run time
    assert browser.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
    assert browser.get(reverse(f"{name}_add")).status_code == 403
    assert browser.post(reverse(f"{name}_change", args=[row.pk]), {}).status_code == 403
    assert (
        browser.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code
        == 403
    )


def test_the_library_shows_items_and_playlists(browser: Client) -> None:
    rows.channel()
    playlist = Playlist.objects.get()
    items = browser.get(reverse("admin:media_library_mediaitem_changelist")).content.decode()
    assert "1:00" in items
    lists = browser.get(reverse("admin:media_library_playlist_changelist")).content.decode()
    assert "2:00" in lists
    editor = reverse("admin:media_library_playlist_change", args=[playlist.pk])
    entries = f"/api/v1/playlists/{playlist.pk}/entries"
    assert entries in browser.get(editor).content.decode()


def test_prepare_queues_a_copy_for_every_channel_that_plays_the_item(browser: Client) -> None:
    channel = rows.channel(width=640, height=360)
    item = channel.playlist.items.first()  # type: ignore[union-attr]  # there is one
    assert item is not None
    chosen = {"action": "prepare", "_selected_action": [item.pk]}
    browser.post(reverse("admin:media_library_mediaitem_changelist"), chosen)
    assert [copy.house_format for copy in item.copies.all()] == [channel.house_format.signature]


def test_every_admin_page_opens(browser: Client) -> None:
    rows.output(rows.channel())
    for name in ("streams_channel", "streams_output", "media_library_mediaitem", "auth_user"):
        for page in ("changelist", "add"):
            assert browser.get(reverse(f"admin:{name}_{page}")).status_code == 200
    assert Output.objects.count() == 1


def test_times_have_seconds(browser: Client) -> None:
    run = rows.on_air(rows.channel())
    page = browser.get(reverse("admin:streams_run_changelist")).content.decode()
    assert f"{run.started_at:%H:%M:%S}" in page
