"""Alerts from an incident to real receivers on this machine."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from apprise.plugins.discord import NotifyDiscord
from apprise.plugins.ntfy import NotifyNtfy
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from streams import events
from streams.alerts import outbox, sender, services
from streams.models import AlertMessage, AlertReceiver, Channel, Evidence, Incident
from streams.tests import rows
from streamsite.security.secret import Secret
from streamsite.tests.receiving import HUSH, Hook, Post

pytestmark = pytest.mark.django_db

TOKEN = "alert-token-51ce2b"


@pytest.fixture
def hook(settings: Settings) -> Iterator[Hook]:
    settings.WEBHOOK_PRIVATE_TARGETS = True
    made = Hook(TOKEN)
    yield made
    made.close()


@pytest.fixture
def channel() -> Channel:
    return rows.channel()


def receiver(hook: Hook, name: str = "Ops", **fields: Any) -> AlertReceiver:
    address = services.address("webhook", {"webhook_url": hook.address})
    defaults = {"kind": "webhook", "group_seconds": 0, "time_zone": "UTC"}
    return AlertReceiver.objects.create(name=name, address=Secret(address), **defaults | fields)


def incident(channel: Channel, severity: str = "lost", subject: str = "output-1") -> Incident:
    row = Incident.objects.create(
        channel=channel,
        subject=subject,
        severity=severity,
        cause="YouTube: The server refused the stream: check the stream key.",
        opened_at=timezone.now() - timedelta(seconds=42),
    )
    events.incident(row, timezone.now())
    return row


def close(row: Incident) -> None:
    row.closed_at = row.opened_at + timedelta(seconds=42)
    row.save()
    events.incident(row, row.closed_at)


def states() -> list[tuple[str, str]]:
    return list(AlertMessage.objects.order_by("pk").values_list("stage", "state"))


def test_an_incident_reaches_those_who_want_it(
    hook: Hook,
    channel: Channel,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    receiver(hook)
    other = receiver(hook, "Other channel")
    other.channels.add(rows.channel("other"))
    receiver(hook, "Worse only", lowest="lost")
    receiver(hook, "Off", enabled=False)
    with django_capture_on_commit_callbacks() as callbacks:
        row = incident(channel, "degraded")
    assert len(callbacks) == 1
    assert sender.send_due() == "1 sent, 0 not."
    close(row)
    sender.send_due()
    began, over = (body["text"] for body in hook.bodies)
    assert began.startswith("Demo: degraded\n• Demo: Degraded since ")
    assert "check the stream key" in began
    assert f"/admin/streams/incident/{row.pk}/change/" in began
    assert "over after 42 s" in over
    assert states() == [("opened", "delivered"), ("closed", "delivered")]


def test_what_happens_together_comes_together(hook: Hook, channel: Channel) -> None:
    receiver(hook, group_seconds=2)
    row = incident(channel)
    incident(channel, subject="storage")
    close(row)
    assert sender.send_due() == "1 sent, 0 not."
    (body,) = hook.bodies
    # One that is over already takes one line.
    assert body["text"].startswith("Demo: 1 open, 1 over\n")
    assert body["text"].count("•") == 2


def test_a_still_is_attached(hook: Hook, channel: Channel) -> None:
    receiver(hook)
    row = incident(channel, subject="picture")
    Evidence.objects.create(incident=row, still=b"\xff\xd8still")
    sender.send_due()
    (attached,) = hook.bodies[0]["attachments"]
    assert attached["filename"] == "still.jpg"
    assert base64.b64decode(attached["base64"]) == b"\xff\xd8still"


def test_an_incident_that_lasts_is_repeated(hook: Hook, channel: Channel) -> None:
    receiver(hook, repeat_minutes=10)
    row = incident(channel)
    sender.send_due()
    now = timezone.now()
    assert outbox.remind(now + timedelta(minutes=9)) == 0
    assert outbox.remind(now + timedelta(minutes=11)) == 1
    assert outbox.remind(now + timedelta(minutes=12)) == 0
    sender.send_due()
    close(row)
    assert outbox.remind(now + timedelta(hours=2)) == 0
    assert [stage for stage, _ in states()] == ["opened", "lasting", "closed"]


def test_a_receiver_that_fails_is_tried_again_for_a_day(hook: Hook, channel: Channel) -> None:
    receiver(hook)
    incident(channel)
    hook.status = 500
    now = timezone.now()
    for attempt in range(1, len(sender.PAUSES) + 2):
        (batch,) = sender.claimed(now)
        fault = sender._attempt(batch)
        assert "internal error" in fault
        sender.write_outcome(batch, fault, now)
        row = AlertMessage.objects.get()
        assert row.attempts == attempt
        now = row.next_at
    assert row.state == "failed"
    assert len(hook.bodies) == 11
    assert TOKEN not in row.fault
    assert sender.claimed(now + timedelta(days=2)) == []


def test_a_sender_that_was_killed_loses_nothing(hook: Hook, channel: Channel) -> None:
    receiver(hook)
    incident(channel)
    now = timezone.now()
    (batch,) = sender.claimed(now)
    # It has sent, and was killed before it wrote that down.
    assert sender._attempt(batch) == ""
    assert sender.claimed(now) == []
    later = now + sender.CLAIMED + timedelta(seconds=1)
    (again,) = sender.claimed(later)
    # The first one's late answer changes nothing any more.
    sender.write_outcome(batch, "late", now)
    sender.write_outcome(again, sender._attempt(again), later)
    assert states() == [("opened", "delivered")]
    assert len(hook.bodies) == 2


def test_a_discord_gets_its_shape(
    hook: Hook, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NotifyDiscord, "notify_url", hook.address.rpartition("/")[0])
    url = f"https://discord.com/api/webhooks/123456789012345678/{TOKEN}"
    address = services.address("discord", {"discord_url": url})
    made = receiver(hook, "Discord", kind="discord")
    AlertReceiver.objects.filter(pk=made.pk).update(address=Secret(address))
    incident(channel)
    sender.send_due()
    (body,) = hook.bodies
    assert "Demo: Off air since" in body["content"]
    assert hook.paths == [f"/123456789012345678/{TOKEN}"]


def test_ntfy_gets_its_shape(hook: Hook, channel: Channel) -> None:
    server, hook.status = hook.address.rpartition("/")[0], 200
    values = {"ntfy_topic": "ops-topic", "ntfy_server": server, "ntfy_token": TOKEN}
    made = receiver(hook, "ntfy", kind="ntfy")
    address = Secret(services.address("ntfy", values))
    AlertReceiver.objects.filter(pk=made.pk).update(address=address)
    incident(channel)
    sender.send_due()
    (body,) = hook.bodies
    assert body["topic"] == "ops-topic"
    assert "Demo: Off air since" in body["message"]
    assert hook.headers[0]["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (204, "Ops has taken the test."),
        (401, "It refuses the token or password: type it again. (HTTP status 401)"),
        (302, "It redirects, which is not followed: check the address. (HTTP status 302)"),
    ],
)
def test_the_test_button_shows_the_answer(
    hook: Hook, admin_client: Client, status: int, sentence: str
) -> None:
    row = receiver(hook)
    hook.status = status
    page = f"/admin/streams/alertreceiver/{row.pk}/"
    assert admin_client.get(f"{page}test/").status_code == 405
    answer = admin_client.post(f"{page}test/", follow=True)
    shown = answer.content.decode()
    assert sentence in shown
    assert TOKEN not in shown
    assert hook.paths == [f"/{TOKEN}"]


def test_a_receiver_in_the_own_network_is_refused_unless_allowed(
    hook: Hook, settings: Settings
) -> None:
    row = receiver(hook)
    settings.WEBHOOK_PRIVATE_TARGETS = False
    taken, sentence = sender.test(row)
    assert not taken
    assert "WEBHOOK_PRIVATE_TARGETS" in sentence
    assert hook.bodies == []


def form(**fields: str) -> dict[str, str]:
    return {
        "name": "Ops",
        "kind": "telegram",
        "lowest": "lost",
        "repeat_minutes": "30",
        "group_seconds": "5",
        "time_zone": "Europe/Berlin",
        "opened": "on",
        **fields,
    }


def test_a_receiver_is_set_up_by_its_services_fields(admin_client: Client) -> None:
    page = "/admin/streams/alertreceiver/"
    refused = admin_client.post(f"{page}add/", form(telegram_token=f"123456:{TOKEN}"))
    assert "Chat is missing." in refused.content.decode()
    admin_client.post(
        f"{page}add/", form(telegram_token=f"123456:{TOKEN}", telegram_chat="-100")
    )
    row = AlertReceiver.objects.get()
    assert row.address.reveal() == f"tgram://123456:{TOKEN}/-100/"
    shown = admin_client.get(f"{page}{row.pk}/change/").content.decode()
    assert TOKEN not in shown
    # Left empty, the fields keep what is stored; a half one does not.
    admin_client.post(f"{page}{row.pk}/change/", form(name="Night"))
    row.refresh_from_db()
    assert (row.name, row.address.reveal()) == ("Night", f"tgram://123456:{TOKEN}/-100/")
    answer = admin_client.post(f"{page}{row.pk}/change/", form(kind="slack"))
    assert "Webhook address is missing." in answer.content.decode()
    answer = admin_client.post(f"{page}{row.pk}/change/", form(quiet_from="22:00"))
    assert "both times" in answer.content.decode()


def test_the_api_lists_receivers_without_their_addresses(
    hook: Hook, admin_client: Client
) -> None:
    receiver(hook).channels.add(rows.channel("other"))
    answer = admin_client.get("/api/v1/alert-receivers")
    (item,) = answer.json()["items"]
    assert (item["name"], item["channels"]) == ("Ops", ["other"])
    assert TOKEN not in answer.content.decode()


def test_upcoming_problems_and_nodes_come_the_same_way(hook: Hook) -> None:
    receiver(hook)
    receiver(hook, "Not those", problems=False)
    lost = events.NodeLost(name="b", seen_at=datetime.fromisoformat("2026-03-01T00:00:00Z"))
    assert outbox.sink(lost, timezone.now())
    sender.send_due()
    (body,) = hook.bodies
    assert body["text"].startswith("Node b is lost\n")


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_mail_gets_text_and_still(settings: Settings, channel: Channel) -> None:
    post = Post()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", post.port
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "tv", Secret(HUSH)
    address = services.address("mail", {"mail_to": "ada@example.org, eve@example.org"})
    AlertReceiver.objects.create(
        name="Mail", kind="mail", address=Secret(address), group_seconds=0
    )
    row = incident(channel, subject="picture")
    Evidence.objects.create(incident=row, still=b"\xff\xd8still")
    try:
        assert sender.send_due() == "1 sent, 0 not."
    finally:
        post.controller.stop()
    (mail,) = post.taken
    assert mail["To"] == "ada@example.org, eve@example.org"
    assert mail["Subject"] == "Demo: off air"
    body = mail.get_body(("plain",))
    assert body is not None
    assert "check the stream key" in body.get_content()
    assert [part.get_filename() for part in mail.iter_attachments()] == ["still.jpg"]


def test_a_service_that_fails_by_itself_holds_up_no_other(
    hook: Hook, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver(hook)
    broken = receiver(hook, "Broken", kind="ntfy")
    address = services.address("ntfy", {"ntfy_server": hook.address, "ntfy_topic": "tv"})
    AlertReceiver.objects.filter(pk=broken.pk).update(address=Secret(address))

    def fail(*_: object, **__: object) -> bool:
        raise TypeError(f"{TOKEN} is no number")

    monkeypatch.setattr(NotifyNtfy, "send", fail)
    incident(channel)
    assert sender.send_due() == "1 sent, 1 not."
    faults = AlertMessage.objects.exclude(fault="").values_list("fault", flat=True)
    assert TOKEN not in "".join(faults)
    # It is tried again like any other.
    assert sorted(states()) == [("opened", "delivered"), ("opened", "waiting")]


def test_answers_of_several_receivers_are_not_mixed_up(hook: Hook, channel: Channel) -> None:
    """They are sent to at once, and Apprise has one logger."""
    statuses = (401, 404, 503)
    hooks = [Hook(TOKEN) for _ in statuses]
    for one, status in zip(hooks, statuses, strict=True):
        one.status = status
        receiver(one, f"{status}")
    incident(channel)
    try:
        assert sender.send_due() == "0 sent, 3 not."
    finally:
        for one in hooks:
            one.close()
    faults = AlertMessage.objects.order_by("pk").values_list("receiver__name", "fault")
    for name, fault in faults:
        assert fault.endswith(f"(HTTP status {name})")
