"""Checks over real HTTP, against the stand-in."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from streams.models import (
    AccountState,
    Channel,
    Incident,
    OutputState,
    PlatformReport,
    Run,
)
from streams.node import history_writer
from streams.platforms import connections, incidents, quota, reports, transport
from streams.tests.platforms.accounts import (
    a_minute_passes,
    check,
    connected,
    on_air,
    report,
)
from streams.tests.platforms.stand_in import REFRESH, TOKEN, RefusedError, StandIn
from streams.tests.rows import KEY
from streamsite.tests.webhook_rows import endpoint
from streamsite.webhooks.models import Delivery

pytestmark = pytest.mark.django_db


def _incident() -> Incident | None:
    return Incident.objects.filter(subject__startswith="platform-", closed_at=None).first()


def test_a_live_broadcast_is_healthy(platform: StandIn) -> None:
    account = connected()
    output = on_air(account)
    platform.add_broadcast(platform.add_stream("another-key"), "live")
    mine = platform.add_stream(KEY)
    # The right one is on the second page.
    for _ in range(55):
        platform.add_broadcast("another")
    video = platform.add_broadcast(mine)
    check(account)
    row = report(output)
    assert (row.level, row.broadcast_id, row.stream_id) == ("healthy", video, mine)
    assert row.details["viewers"] == 17
    assert row.sentence == "The broadcast is live."
    lists = [call for call in platform.calls if "liveBroadcasts?" in call]
    assert len(lists) == 2
    assert AccountState.objects.get().quota_spent == len(platform.calls) == 3
    assert _incident() is None


def test_ended_while_we_push_is_an_incident_until_it_is_live_again(platform: StandIn) -> None:
    account = connected()
    output = on_air(account)
    video = platform.add_broadcast(platform.add_stream(KEY))
    endpoint("http://127.0.0.1/x", ["incident.opened", "incident.closed"])
    check(account)
    platform.broadcasts[video]["status"]["lifeCycleStatus"] = "complete"
    check(account)
    row = report(output)
    assert row.level == "down"
    incident = _incident()
    assert incident is not None
    assert (incident.subject, incident.severity) == (f"platform-{output.pk}", "lost")
    assert incident.output == output
    assert "has ended" in incident.cause
    assert "Create a broadcast" in incident.cause
    # Unknown closes nothing.
    platform.raw = b"<html>"
    check(account)
    assert report(output).level == "unknown"
    assert _incident() is not None
    platform.raw = None
    platform.broadcasts[video]["status"]["lifeCycleStatus"] = "live"
    check(account)
    assert _incident() is None
    assert list(Delivery.objects.order_by("pk").values_list("event", flat=True)) == [
        "incident.opened",
        "incident.closed",
    ]


def test_bad_health_is_a_degraded_incident_that_becomes_a_lost_one(platform: StandIn) -> None:
    account = connected()
    on_air(account)
    platform.add_broadcast(platform.add_stream(KEY, health="bad"))
    check(account)
    assert _incident() is None
    a_minute_passes(account)
    check(account)
    first = _incident()
    assert first is not None
    assert first.severity == "degraded"
    platform.streams[0]["status"]["streamStatus"] = "inactive"
    check(account)
    a_minute_passes(account)
    check(account)
    second = _incident()
    assert second is not None
    assert (second.severity, second.pk != first.pk) == ("lost", True)


@pytest.mark.parametrize(
    ("status", "reason", "part"),
    [
        (403, "forbidden", "403 (forbidden)"),
        (429, "rateLimitExceeded", "429 (rateLimitExceeded)"),
        (500, "backendError", "500 (backendError)"),
        (503, "", "503"),
    ],
)
def test_a_refusal_is_unknown(platform: StandIn, status: int, reason: str, part: str) -> None:
    account = connected()
    output = on_air(account)

    def refuse(_: str) -> None:
        raise RefusedError(status, reason)

    platform.before = refuse
    check(account)
    row = report(output)
    assert (row.level, part in row.sentence, row.details) == ("unknown", True, {})
    assert _incident() is None
    due = AccountState.objects.get().due_at
    assert due is not None
    wait = due - timezone.now()
    assert (wait > timedelta(minutes=4)) is (status == 429)


def test_the_quota_is_used_up_by_others(platform: StandIn) -> None:
    account = connected()
    output = on_air(account)

    def refuse(_: str) -> None:
        raise RefusedError(403, "quotaExceeded")

    platform.before = refuse
    check(account)
    assert report(output).level == "unknown"
    state = AccountState.objects.get()
    assert state.quota_spent == account.daily_units
    assert state.due_at is not None
    assert state.due_at - timezone.now() > timedelta(minutes=29)
    # Nothing is asked before tomorrow, and a new job does not forget it.
    count = len(platform.calls)
    check(account)
    assert len(platform.calls) == count
    assert "used up" in report(output).sentence
    AccountState.objects.update(quota_day=F("quota_day") - timedelta(days=1))
    platform.before = lambda _: None
    platform.add_broadcast(platform.add_stream(KEY))
    check(account)
    assert report(output).level == "healthy"


def test_a_stall_is_bounded(platform: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    account = connected()
    output = on_air(account)
    monkeypatch.setattr(transport, "CALL_TIMEOUT_S", 0.3)

    def stall(_: str) -> None:
        time.sleep(1)

    platform.before = stall
    began = time.monotonic()
    check(account)
    assert time.monotonic() - began < 1
    assert "did not answer" in report(output).sentence


def test_one_job_at_a_time(platform: StandIn) -> None:
    account = connected()
    on_air(account)
    with connections.claimed(account.pk) as job:
        assert job is not None
        AccountState.objects.update(worker="another")
        assert check(account) == "Another job has it."
    assert platform.calls == []
    # One that was killed is followed when its claim is over.
    AccountState.objects.update(worker_until=timezone.now() - timedelta(seconds=1))
    assert check(account).startswith("1 of 1")


def test_an_access_token_that_is_refused_is_renewed_once(platform: StandIn) -> None:
    account = connected()
    output = on_air(account)
    platform.add_broadcast(platform.add_stream(KEY))
    platform.access = "renewed-token"
    platform.tokens = [(200, {"access_token": "renewed-token", "expires_in": 3600})]
    check(account)
    assert report(output).level == "healthy"
    state = AccountState.objects.get()
    assert state.access_token.reveal() == "renewed-token"
    # Google gives no new one: the old one stays.
    assert state.refresh_token.reveal() == REFRESH


def test_a_connection_that_was_withdrawn(platform: StandIn) -> None:
    account = connected()
    output = on_air(account)
    platform.access = "another"
    platform.tokens = [(400, {"error": "invalid_grant"})]
    check(account)
    assert "connect the account again" in report(output).sentence
    assert "connect the account again" in AccountState.objects.get().fault


def test_twitch(platform: StandIn) -> None:
    account = connected("twitch")
    output = on_air(account)
    check(account)
    assert report(output).level == "down"
    assert "Europe: Frankfurt" in report(output).details["advice"]
    assert _incident() is None
    a_minute_passes(account)
    platform.ingests = [{"name": 1, "priority": "x"}]
    check(account)
    assert _incident() is not None
    platform.twitch = [
        {"type": "live", "title": "Day", "game_name": "Music", "viewer_count": 5}
    ]
    check(account)
    assert (report(output).level, report(output).details["category"]) == ("healthy", "Music")
    assert _incident() is None


def test_twitch_title_follows_the_programme(platform: StandIn) -> None:
    account = connected("twitch", may_write_titles=True)
    on_air(account, title_template="{channel}: {now}, then {next}", category="509670")
    platform.twitch = [{"type": "live", "title": "Day", "game_id": "1"}]
    check(account)
    check(account)
    assert platform.patched == [{"title": "Demo: First, then Second", "game_id": "509670"}]


def test_a_title_that_is_not_written_is_shown_beside_the_verdict(platform: StandIn) -> None:
    account = connected("twitch", may_write_titles=True)
    output = on_air(account, title_template="{channel}: {now}")
    platform.twitch = [{"type": "live", "title": "Day", "game_id": "1", "viewer_count": 5}]

    def refuse(call: str) -> None:
        if call.startswith("PATCH"):
            raise RefusedError(403, "forbidden")

    platform.before = refuse
    check(account)
    assert report(output).level == "healthy"
    assert report(output).sentence.startswith(
        "The channel is live, 5 watching. The title was not written: api.twitch.tv answered 403"
    )


def test_youtube_title_is_written_within_the_quota(platform: StandIn) -> None:
    account = connected(may_write_titles=True)
    output = on_air(account, title_template="{channel}: {now} <3")
    video = platform.add_broadcast(platform.add_stream(KEY))
    AccountState.objects.update(
        quota_day=quota.day(timezone.now()),
        quota_spent=9_700,
    )
    check(account)
    assert platform.broadcasts[video]["snippet"]["title"] == "Ours, day and night"
    AccountState.objects.update(quota_spent=0)
    check(account)
    snippet = platform.broadcasts[video]["snippet"]
    assert snippet["title"] == "Demo: First ‹3"
    assert snippet["description"] == "All day."
    assert report(output).titled_at is not None


def test_a_new_session_is_checked_at_once(platform: StandIn) -> None:
    account = connected()
    on_air(account)
    platform.add_broadcast(platform.add_stream(KEY))
    check(account)
    assert reports.check(account.pk) == "Not due."
    OutputState.objects.update(session_since=timezone.now())
    assert reports.check(account.pk).startswith("1 of 1")


def test_no_secret_leaves(platform: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    account = connected()
    on_air(account)
    platform.streams = [{"id": "s", "cdn": {"ingestionInfo": {"streamName": KEY}}}]
    platform.raw = json.dumps({"items": [{"token": TOKEN, "key": KEY}]}).encode()
    check(account)
    shown: list[Any] = [caplog.text, *PlatformReport.objects.values_list("sentence", "details")]
    shown += AccountState.objects.values_list("fault", flat=True)
    assert not any(one in str(shown) for one in (TOKEN, REFRESH, KEY, "client-secret"))
    assert not any(TOKEN in call or KEY in call for call in platform.calls)


def test_the_node_does_not_write_these_incidents(platform: StandIn) -> None:
    account = connected()
    output = on_air(account)
    platform.add_broadcast(platform.add_stream(KEY), "complete")
    video = platform.broadcasts["video0"]["id"]
    PlatformReport.objects.create(output=output, broadcast_id=video)
    check(account)
    assert _incident() is not None
    # The end of the run closes it with all others.
    run = Run.objects.get()
    history_writer.end_run(output.channel_id, run.pk, timezone.now(), "stopped")
    assert _incident() is None
    check(account)
    assert _incident() is None


def test_an_output_that_is_not_checked_has_no_incident(platform: StandIn) -> None:
    account = connected()
    output = on_air(account)
    platform.add_broadcast(platform.add_stream(KEY), "complete")
    PlatformReport.objects.create(output=output, broadcast_id="video0")
    check(account)
    assert _incident() is not None
    assert incidents.close_abandoned(timezone.now()) == 0
    Channel.objects.update(desired_state="off")
    assert incidents.close_abandoned(timezone.now()) == 1
    assert _incident() is None
