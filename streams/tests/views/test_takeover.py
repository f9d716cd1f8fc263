"""Take, return and automatic takeover on the channel's page, and the list of takeovers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from streams.models import Broadcaster, Channel, LiveStream, Run, Takeover, TakeoverRight


@pytest.fixture
def channel(db: None, settings: Settings) -> Channel:
    settings.INGEST_SERVER = "nginx-rtmp"
    made = Channel.objects.create(
        name="Demo", slug="demo", desired_state=Channel.DesiredState.ON
    )
    Run.objects.create(channel=made)
    for rank, name in ((1, "Ada"), (2, "Eve")):
        owner = Broadcaster.objects.create(name=name, slug=name.lower())
        TakeoverRight.objects.create(channel=made, broadcaster=owner, rank=rank)
    return made


def live(slug: str) -> LiveStream:
    owner = Broadcaster.objects.get(slug=slug)
    return LiveStream.objects.create(
        broadcaster=owner, server="nginx-rtmp", path=owner.path, source_id=slug
    )


def page(admin_client: Client) -> str:
    return admin_client.get(reverse("channel-panels", args=["demo"])).content.decode()


def test_only_live_broadcasters_can_be_taken(admin_client: Client, channel: Channel) -> None:
    assert "Not live" in page(admin_client)
    assert 'value="ada"' not in page(admin_client)
    live("ada")
    shown = page(admin_client)
    assert 'value="ada"' in shown
    assert 'value="eve"' not in shown
    assert "Return to the programme" in shown


def test_taking_needs_confirmation_and_stores_the_broadcaster(
    admin_client: Client, channel: Channel
) -> None:
    live("ada")
    live("eve")
    take = reverse("order", args=["demo", "take"])
    text = admin_client.post(take, {"broadcaster": "eve"}).content.decode()
    assert 'name="broadcaster" value="eve"' in text
    done = admin_client.post(take, {"broadcaster": "eve", "confirmed": "1"}, follow=True)
    assert "switches to the live feed" in done.content.decode()
    channel.refresh_from_db()
    assert channel.live_order == Channel.Live.TAKE
    assert channel.live_broadcaster == Broadcaster.objects.get(slug="eve")
    assert "Taken by an operator" in page(admin_client)
    assert LogEntry.objects.filter(change_message__contains="Take ordered").exists()
    for verb, order in (("return", Channel.Live.RETURN), ("release", Channel.Live.AUTO)):
        admin_client.post(reverse("order", args=["demo", verb]), {"confirmed": "1"})
        channel.refresh_from_db()
        assert channel.live_order == order
        assert channel.live_broadcaster_id is None


def test_taking_without_live_broadcasters_is_explained(
    admin_client: Client, channel: Channel
) -> None:
    take = "/api/v1/channels/demo/take"
    answer = admin_client.post(take, {}, content_type="application/json")
    assert answer.status_code == 409
    assert "No broadcaster who may take it over is live" in answer.json()["detail"]


def test_users_without_the_permission_get_no_buttons(client: Client, channel: Channel) -> None:
    answer = client.post(reverse("order", args=["demo", "take"]), {"confirmed": "1"})
    assert answer.status_code in {302, 403}
    channel.refresh_from_db()
    assert channel.live_order == Channel.Live.AUTO


def test_takeovers_are_listed_with_their_lengths(
    admin_client: Client, channel: Channel
) -> None:
    requested = timezone.now()
    made = Takeover.objects.create(
        channel=channel,
        broadcaster=Broadcaster.objects.get(slug="ada"),
        stream=live("ada"),
        requested_at=requested,
        on_air_at=requested + timedelta(seconds=4.2),
        ended_at=requested + timedelta(seconds=64.2),
        cause="Returned by hand.",
    )
    assert made.transition == 4.2
    for shown in (
        page(admin_client),
        admin_client.get(reverse("admin:streams_takeover_changelist")).content.decode(),
    ):
        for words in ("Ada", "4.2 s", "1:00", "Returned by hand."):
            assert words in shown


def test_a_channel_without_takeover_rights_shows_no_takeover_panel(
    admin_client: Client, channel: Channel
) -> None:
    channel.takeover_rights.all().delete()
    assert "Live takeover" not in page(admin_client)
