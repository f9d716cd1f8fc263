"""Webhooks out: what is written, how it is signed and sent."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from media_library import events as announce
from media_library.analysis import queue
from media_library.downloads import jobs
from media_library.downloads.errors import Code, verdict
from media_library.models import DownloadJob, MediaItem
from streams.models import Broadcaster, Incident, LiveStream
from streams.node import history_writer
from streams.playout.contract import ledger
from streams.tests import rows
from streamsite.management.commands.run_cluster import SCHEDULES
from streamsite.security.secret import Secret
from streamsite.tests.receiving import Hook
from streamsite.tests.webhook_rows import NOW, emit, endpoint, hook
from streamsite.webhooks import client, outbox, sender
from streamsite.webhooks.models import Delivery, Event

__all__ = ["hook"]

pytestmark = [pytest.mark.django_db, pytest.mark.database]


# ---- what is written -------------------------------------------------------------------------


def test_only_what_was_chosen_is_written_and_with_the_event_itself() -> None:
    chosen = endpoint("https://a.example", [Event.ON_AIR.value])
    endpoint("https://b.example", [Event.OFF_AIR.value], "other")
    endpoint("https://c.example", name="off", enabled=False)
    row = emit()
    assert [one.endpoint for one in Delivery.objects.all()] == [chosen]
    assert json.loads(row.body) == {
        "id": str(row.message_id),
        "type": "channel.on_air",
        "timestamp": "2026-03-01T12:00:00Z",
        "data": {"channel": "demo"},
    }
    with transaction.atomic():
        emit()
        transaction.set_rollback(True)
    assert Delivery.objects.count() == 1


def received() -> list[tuple[str, dict[str, Any]]]:
    result = Delivery.objects.order_by("pk").values_list("event", "body")
    return [(event, json.loads(body)["data"]) for event, body in result]


def test_history_of_a_channel_is_reported() -> None:
    endpoint("https://a.example")
    channel = rows.channel()
    run = channel.runs.create(started_at=NOW, started_by="ada")
    who = Broadcaster.objects.create(name="Ada", slug="ada")
    stream = LiveStream.objects.create(
        broadcaster=who, path="live/ada", server="mediamtx", source_id="1", started_at=NOW
    )
    at = NOW.timestamp()
    pk = channel.pk
    history_writer.write(
        [
            ledger.RunOnAir(pk, run.pk, at),
            ledger.RunOnAir(pk, run.pk, at + 1),  # told once
            ledger.IncidentOpened(pk, run.pk, "hub", None, "lost", "It died.", at + 2),
            ledger.IncidentOpened(pk, run.pk, "hub", None, "lost", "It died.", at + 3),
            ledger.IncidentClosed(pk, "hub", at + 4),
            ledger.IncidentClosed(pk, "hub", at + 5),
            ledger.TakeoverRequested(pk, run.pk, stream.pk, who.pk, at + 6),
            ledger.TakeoverAired(pk, stream.pk, at + 7),
            ledger.TakeoverEnded(pk, stream.pk, at + 8, "The feed ended."),
            ledger.IncidentOpened(pk, run.pk, "channel", None, "lost", "Silence.", at + 9),
        ]
    )
    history_writer.end_run(pk, run.pk, NOW + timedelta(seconds=10), "stopped")
    events = received()
    assert [event for event, _ in events] == [
        "channel.on_air",
        "incident.opened",
        "incident.closed",
        "takeover.started",
        "takeover.ended",
        "incident.opened",
        "incident.closed",
        "channel.off_air",
    ]
    assert all(data["channel"]["slug"] == "demo" for _, data in events)
    assert events[1][1]["cause"] == "It died."
    assert events[2][1]["closed_at"] == "2026-03-01T12:00:04Z"
    assert events[4][1]["broadcaster"] == "ada"
    assert events[-1][1]["end_reason"] == "stopped"
    assert Incident.objects.filter(closed_at=None).count() == 0


def test_faulty_item_is_reported() -> None:
    endpoint("https://a.example")
    item = MediaItem.objects.create(key="a.mp4", title="A")
    queue.fault(item, "It is cut off: upload it again.")
    ((event, data),) = received()
    assert event == "library.fault"
    assert data["count"] == 1
    assert data["items"] == [{"id": item.pk, "key": "a.mp4", "title": "A"}]
    assert data["fault"] == "It is cut off: upload it again."


def test_downloads_that_end_are_reported_and_those_that_go_on_are_not() -> None:
    endpoint("https://a.example")
    url = "https://site.example/v?token=k3y"

    job = DownloadJob.objects.create(
        url=url, site="site.example", profile="x", status="downloading", claim="mine"
    )
    jobs.failed(job, verdict(Code.DRM), NOW, warnings=[])
    ((event, data),) = received()
    assert (event, data["site"], data["code"]) == ("download.failed", "site.example", "drm")
    assert data["fault"]
    assert "k3y" not in json.dumps(data)
    DownloadJob.objects.filter(pk=job.pk).update(
        status="done", title="A film", key="a.mp4", code="", fault=""
    )
    announce.download(job.pk)
    assert received()[1][0] == "download.finished"
    DownloadJob.objects.filter(pk=job.pk).update(status="downloading", claim=job.claim)
    jobs.failed(job, verdict(Code.NETWORK), NOW, warnings=[])
    job.refresh_from_db()
    assert job.status == "queued"
    assert len(received()) == 2


# ---- how it is sent --------------------------------------------------------------------------


def test_signed_so_that_the_receiver_of_the_docs_takes_it(hook: Hook) -> None:
    there = endpoint(hook.address)
    row = emit()
    assert sender.send_due() == "1 delivered, 0 not."
    headers = hook.headers[0]
    assert headers["webhook-id"] == headers["idempotency-key"] == str(row.message_id)
    row.refresh_from_db()
    assert (row.state, row.status, row.attempts) == ("delivered", 204, 1)
    # The ten lines of deploy/webhooks.md, run.
    check = documented()["check"]
    secret = there.secret.reveal()
    assert check(headers, hook.raw[0], secret)["type"] == "channel.on_air"
    for wrong in (
        {"webhook-signature": "v1,AAAA"},
        {"webhook-id": "another"},
        {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 301)},
    ):
        with pytest.raises(ValueError, match=r"signature|old"):
            check(headers | wrong, hook.raw[0], secret)
    with pytest.raises(ValueError, match="signature"):
        check(headers, hook.raw[0] + b" ", secret)


def documented() -> dict[str, Any]:
    page = (Path(__file__).parents[3] / "deploy" / "webhooks.md").read_text()
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    code = block[1]
    assert len(code.strip().splitlines()) <= 20
    scope: dict[str, Any] = {}
    exec(compile(code, "webhooks.md", "exec"), scope)  # noqa: S102 - our own page
    return scope


def test_signature_is_that_of_standard_webhooks() -> None:
    """The example of the specification's own libraries."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert (
        sender.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_failed_attempt_comes_again_later_every_time_until_it_is_given_up(hook: Hook) -> None:
    endpoint(hook.address)
    row = emit()
    hook.status = 500
    waits = []
    for attempt in range(1, len(sender.PAUSES) + 2):
        Delivery.objects.update(next_at=timezone.now())
        assert sender.send_due() == "0 delivered, 1 not."
        row.refresh_from_db()
        assert (row.attempts, row.status) == (attempt, 500)
        assert "answered 500" in row.fault
        waits.append(row.next_at - timezone.now())
        # Before its time nothing is sent.
        if row.state == "waiting":
            assert sender.send_due() == "0 delivered, 0 not."
    assert row.state == "failed"
    assert waits[:-1] == sorted(waits[:-1])
    assert waits[-2] > timedelta(hours=11)
    assert len(hook.bodies) == len(sender.PAUSES) + 1
    # Every one of them was the same message.
    assert len({headers["webhook-id"] for headers in hook.headers}) == 1
    assert outbox.replay([row.pk], timezone.now()) == 1
    hook.status = 204
    assert sender.send_due() == "1 delivered, 0 not."
    assert hook.headers[-1]["webhook-id"] == str(row.message_id)


@pytest.mark.parametrize("status", [302, 404, 410])
def test_only_success_counts_and_nothing_is_followed(hook: Hook, status: int) -> None:
    endpoint(hook.address)
    hook.status = status
    emit()
    assert sender.send_due() == "0 delivered, 1 not."
    assert hook.paths == ["/inbox"]


def test_sender_that_died_loses_nothing(hook: Hook) -> None:
    endpoint(hook.address)
    emit()
    (mine,) = sender.claimed(timezone.now())
    assert sender.claimed(timezone.now()) == []
    assert sender.claimed(timezone.now() + sender.CLAIMED)[0].pk == mine.pk
    # The one that was thought dead comes back: its word counts no more.
    assert sender.write_outcome(mine, client.Answer(204, ""), timezone.now())
    assert Delivery.objects.get().state == "waiting"


def test_the_sender_is_scheduled() -> None:
    assert outbox.SEND in {task for _, task, _ in SCHEDULES}
