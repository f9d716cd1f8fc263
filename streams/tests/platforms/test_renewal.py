"""A broadcast has ended while we push: a new one, exactly once, whenever the job is killed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from streams.models import (
    AccountState,
    BroadcastRenewal,
    Incident,
    Output,
    PlatformAccount,
    PlatformReport,
)
from streams.platforms import transport
from streams.tests.platforms.accounts import check, connected, on_air, report
from streams.tests.platforms.stand_in import StandIn
from streams.tests.rows import KEY
from streamsite.accounts.models import AuditEntry

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """The job ends here, as by SIGKILL: nothing of it runs on."""


def _ended(platform: StandIn, life: str = "complete", **fields: Any) -> Output:
    account = connected(may_manage_broadcasts=True)
    output = on_air(account, **fields)
    video = platform.add_broadcast(platform.add_stream(KEY))
    check(account)
    platform.broadcasts[video]["status"]["lifeCycleStatus"] = life
    platform.calls.clear()
    return output


def _of(output: Output) -> PlatformAccount:
    assert output.account is not None
    return output.account


def _lives(platform: StandIn) -> list[str]:
    return [one["status"]["lifeCycleStatus"] for one in platform.broadcasts.values()]


def test_a_new_broadcast_is_created_bound_and_live(platform: StandIn) -> None:
    output = _ended(platform, title_template="{channel}, now {now}")
    check(_of(output))
    assert _lives(platform) == ["complete", "live"]
    # Its units do not delay the next check.
    due = AccountState.objects.get().due_at
    assert due is not None
    assert due - timezone.now() <= timedelta(minutes=1)
    new = platform.broadcasts["video1"]
    assert new["contentDetails"] == {
        "enableDvr": True,
        "latencyPreference": "low",
        "enableAutoStart": False,
        "enableAutoStop": False,
        "monitorStream": {"enableMonitorStream": False},
        "boundStreamId": "stream0",
    }
    assert new["status"]["privacyStatus"] == "unlisted"
    assert new["snippet"]["title"] == "Demo, now First"
    assert new["snippet"]["description"] == "All day."
    row = BroadcastRenewal.objects.get()
    assert (row.step, row.broadcast_id, row.ended_id) == ("live", "video1", "video0")
    assert "A new broadcast is live." in report(output).sentence
    assert AuditEntry.objects.filter(sentence__contains="video1").exists()
    check(_of(output))
    assert (report(output).level, report(output).broadcast_id) == ("healthy", "video1")
    assert not Incident.objects.filter(closed_at=None).exists()


def _calls_of_a_renewal(platform: StandIn) -> int:
    output = _ended(platform)
    check(_of(output))
    return len(platform.calls)


def test_how_many_calls_the_next_test_has_to_interrupt(platform: StandIn) -> None:
    # streams, active, by id; upcoming, insert; by id, bind; by id, transition; by id.
    assert _calls_of_a_renewal(platform) == 10


@pytest.mark.parametrize("answered", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("number", range(1, 11))
def test_killed_between_any_two_steps(
    platform: StandIn, monkeypatch: pytest.MonkeyPatch, number: int, *, answered: bool
) -> None:
    output = _ended(platform)
    real: Callable[..., bytes] = transport.call
    count = 0

    def call(*args: Any, **options: Any) -> bytes:
        nonlocal count
        count += 1
        if count != number:
            return real(*args, **options)
        if answered:
            # The platform has done it, and the job ends before it writes anything.
            real(*args, **options)
        raise Killed

    monkeypatch.setattr("streams.platforms.youtube.call", call)
    with pytest.raises(Killed):
        check(_of(output))
    # Nobody has given the claim back; it ends by itself.
    AccountState.objects.update(
        worker="killed", worker_until=timezone.now() + timedelta(seconds=9)
    )
    assert check(_of(output)) == "Another job has it."
    AccountState.objects.update(worker_until=timezone.now() - timedelta(seconds=1))
    check(_of(output))
    assert _lives(platform) == ["complete", "live"]
    assert BroadcastRenewal.objects.get().step == "live"
    check(_of(output))
    assert len(platform.broadcasts) == 2


def test_an_insert_whose_answer_is_lost_is_not_repeated(platform: StandIn) -> None:
    output = _ended(platform)

    def lose(call: str) -> None:
        if "liveBroadcasts?" in call and call.startswith("POST"):
            platform.after = lambda _: None
            raise ConnectionError

    platform.after = lose
    platform.handle_error = lambda *_: None  # type: ignore[method-assign]  # it is meant
    check(_of(output))
    assert "A change was not made" in report(output).sentence
    check(_of(output))
    assert _lives(platform) == ["complete", "live"]


def test_never_in_a_loop(platform: StandIn) -> None:
    output = _ended(platform)
    for _ in range(4):
        check(_of(output))
        for one in platform.broadcasts.values():
            one["status"]["lifeCycleStatus"] = "complete"
    check(_of(output))
    # The first one, and two that were created.
    assert len(platform.broadcasts) == 3
    assert "within the hour" in report(output).sentence
    BroadcastRenewal.objects.update(created_at=timezone.now() - timedelta(hours=2))
    check(_of(output))
    assert len(platform.broadcasts) == 4


@pytest.mark.parametrize(
    ("life", "allowed", "sent"),
    [("revoked", True, True), ("complete", False, True), ("complete", True, False)],
)
def test_not_after_a_take_down_nor_without_leave_nor_without_data(
    platform: StandIn, life: str, *, allowed: bool, sent: bool
) -> None:
    output = _ended(platform, life)
    PlatformAccount.objects.update(may_manage_broadcasts=allowed)
    if not sent:
        platform.streams[0]["status"]["streamStatus"] = "inactive"
    check(PlatformAccount.objects.get())
    assert len(platform.broadcasts) == 1
    assert not BroadcastRenewal.objects.exists()
    assert report(output).level == "down"


def test_a_primary_and_a_backup_of_one_key_get_one_broadcast(platform: StandIn) -> None:
    output = _ended(platform)
    backup = Output.objects.create(
        channel=output.channel,
        name="Backup",
        platform="youtube_backup",
        key=output.key,
        account=output.account,
    )
    PlatformReport.objects.create(output=backup, broadcast_id="video0")
    check(_of(output))
    check(_of(output))
    assert _lives(platform) == ["complete", "live"]


def test_one_that_does_not_go_live_is_given_up(platform: StandIn) -> None:
    output = _ended(platform)

    def never(call: str) -> None:
        if "transition" in call:
            platform.streams[0]["status"]["streamStatus"] = "active"
            raise ConnectionError

    platform.before = never
    platform.handle_error = lambda *_: None  # type: ignore[method-assign]  # it is meant
    check(_of(output))
    assert "A change was not made" in report(output).sentence
    BroadcastRenewal.objects.update(created_at=timezone.now() - timedelta(minutes=16))
    check(_of(output))
    assert BroadcastRenewal.objects.get().step == "failed"
    assert "did not go live" in report(output).sentence


def test_auto_stop_is_turned_off_once(platform: StandIn) -> None:
    account = connected(may_manage_broadcasts=True)
    output = on_air(account)
    video = platform.add_broadcast(platform.add_stream(KEY), enableAutoStop=True)
    check(account)
    content = platform.broadcasts[video]["contentDetails"]
    assert content["enableAutoStop"] is False
    assert content["enableDvr"] is True
    assert "boundStreamId" not in content
    assert "turned off" in report(output).sentence
    content["enableAutoStop"] = True
    content["boundStreamId"] = "stream0"
    check(account)
    assert len([call for call in platform.calls if call.startswith("PUT")]) == 1
    assert "Auto-stop is on" in report(output).sentence
