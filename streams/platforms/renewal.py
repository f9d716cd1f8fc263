"""A new YouTube broadcast in place of one that has ended while we send.

    intended ──insert──▶ created ──bind──▶ bound ──transition──▶ live

`next_step` is pure. Each step is written before the next: a job that is killed after the insert
finds the broadcast by its title and its scheduled start, which it wrote before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from streams.models import BroadcastRenewal, Output, PlatformAccount
from streams.platforms.answers import Broadcast, LiveStream
from streams.platforms.transport import PlatformError
from streams.platforms.youtube import YouTube
from streamsite.accounts import audit_log

Step = BroadcastRenewal.Step
#: New broadcasts of a stream in an hour: YouTube ends those that break its rules, again and
#: again.
MAX_PER_HOUR: Final = 2
#: After this a renewal is given up. A broadcast is live within a minute or two.
RENEWAL_TIMEOUT: Final = timedelta(minutes=15)
#: The scheduled start has to be in the future (invalidScheduledStartTime).
_LEAD: Final = timedelta(minutes=1)
#: What a new broadcast has from the old one (contentDetails).
_COPIED: Final = (
    *("enableDvr", "enableEmbed", "recordFromStart", "latencyPreference", "projection"),
    *("enableContentEncryption", "closedCaptionsType"),
)


class Action(Enum):
    WAIT = "wait"
    INSERT = "insert"
    ADOPT = "adopt"
    BIND = "bind"
    GO_LIVE = "go live"
    DONE = "done"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Remote:
    """What YouTube has now. `twin`: a broadcast that has what this renewal has asked for."""

    stream: LiveStream
    mine: Broadcast | None
    twin: Broadcast | None


def next_step(row: BroadcastRenewal, remote: Remote, now: datetime) -> Action:
    """Return what an open renewal needs next. Pure."""
    if now - row.created_at > RENEWAL_TIMEOUT:
        return Action.GIVE_UP
    if not row.broadcast_id:
        return Action.ADOPT if remote.twin is not None else Action.INSERT
    if remote.mine is None:
        # Deleted by a person, or not listed yet.
        return Action.WAIT
    if remote.mine.life_cycle in {"complete", "revoked"}:
        return Action.GIVE_UP
    if remote.mine.life_cycle == "live":
        return Action.DONE
    if remote.mine.stream_id != remote.stream.id:
        return Action.BIND
    if remote.mine.life_cycle in {"ready", "created"} and remote.stream.status == "active":
        return Action.GO_LIVE
    return Action.WAIT


def twin_of(row: BroadcastRenewal, broadcasts: Sequence[Broadcast]) -> Broadcast | None:
    """Return the broadcast that an insert has made whose answer was lost. Pure."""
    title, at = row.body["snippet"]["title"], row.body["snippet"]["scheduledStartTime"]
    start = datetime.fromisoformat(at)
    for one in broadcasts:
        bound = one.stream_id not in {None, "", row.stream_id}
        if one.title == title and one.scheduled_at == start and not bound:
            return one
    return None


def body_of(old: Broadcast, title: str, description: str, now: datetime) -> dict[str, Any]:
    """Return the new broadcast, with the privacy and the settings of the old one. Pure."""
    start = (now + _LEAD).astimezone(UTC).replace(microsecond=0)
    before = old.content or {}
    content = {name: before[name] for name in _COPIED if name in before}
    status: dict[str, Any] = {"privacyStatus": old.privacy}
    if old.for_kids is not None:
        status["selfDeclaredMadeForKids"] = old.for_kids
    return {
        "snippet": {
            "title": title or old.title or "",
            "description": description or old.description or "",
            "scheduledStartTime": start.isoformat(),
        },
        "status": status,
        "contentDetails": {
            **content,
            "enableAutoStart": False,
            "enableAutoStop": False,
            # With it, a broadcast has to be tested before it may go live.
            "monitorStream": {"enableMonitorStream": False},
        },
    }


# ---- rows and calls --------------------------------------------------------------------------


def begin(
    account: PlatformAccount, output: Output, old: Broadcast, title: str, description: str
) -> str:
    """Note that a new broadcast is to be created. Return why not, as a sentence."""
    now = timezone.now()
    stream = old.stream_id or ""
    if not old.privacy:
        return "Its privacy is unknown, so no new one is created."
    rows = BroadcastRenewal.objects.filter(account=account, stream_id=stream)
    if rows.filter(created_at__gt=now - timedelta(hours=1)).count() >= MAX_PER_HOUR:
        return f"{MAX_PER_HOUR} were created within the hour, so no more for now."
    if rows.filter(ended_id=old.id).exclude(step=Step.FAILED).exists():
        return ""
    try:
        with transaction.atomic():
            rows.create(
                account=account,
                output=output,
                stream_id=stream,
                ended_id=old.id,
                body=body_of(old, title, description, now),
                created_at=now,
            )
    except IntegrityError:
        # One is under way.
        return ""
    return ""


def open_of(account: PlatformAccount, stream: str) -> BroadcastRenewal | None:
    return BroadcastRenewal.objects.filter(
        account=account, stream_id=stream, finished_at=None
    ).first()


def successor(account: int | None, ended: str) -> str:
    """Return the broadcast that was created in place of this one; empty: none was."""
    rows = BroadcastRenewal.objects.filter(account=account, ended_id=ended, step=Step.LIVE)
    return rows.values_list("broadcast_id", flat=True).first() or ""


def advance(row: BroadcastRenewal, youtube: YouTube, stream: LiveStream) -> str:
    """Take steps until one has to wait. Return what is under way, as a sentence.

    Raises `PlatformError`; the next check goes on from the row.
    """
    for _ in Step:
        remote = _remote(row, youtube, stream)
        action = next_step(row, remote, timezone.now())
        if action is Action.WAIT:
            return "A new broadcast is being set up."
        if action is Action.GIVE_UP:
            _finish(row, Step.FAILED, "It was given up.")
            return "The new broadcast did not go live: look into YouTube Studio."
        if action is Action.DONE:
            _finish(row, Step.LIVE, "")
            return "A new broadcast is live."
        _act(row, youtube, action, remote)
    return "A new broadcast is being set up."


def _remote(row: BroadcastRenewal, youtube: YouTube, stream: LiveStream) -> Remote:
    if row.broadcast_id:
        listed = youtube.broadcasts_by_id([row.broadcast_id])
        return Remote(stream, next(iter(listed), None), None)
    return Remote(stream, None, twin_of(row, youtube.broadcasts("upcoming")))


def _act(row: BroadcastRenewal, youtube: YouTube, action: Action, remote: Remote) -> None:
    match action:
        case Action.INSERT:
            start = datetime.fromisoformat(row.body["snippet"]["scheduledStartTime"])
            if start <= timezone.now():
                # An insert was refused or never made; YouTube takes no start in the past.
                _restart(row)
            made = youtube.insert(row.body)
            _write(row, step=Step.CREATED, broadcast_id=made.id)
        case Action.ADOPT if remote.twin is not None:
            _write(row, step=Step.CREATED, broadcast_id=remote.twin.id)
        case Action.BIND:
            youtube.bind(row.broadcast_id, row.stream_id)
            _write(row, step=Step.BOUND)
        case Action.GO_LIVE:
            try:
                youtube.go_live(row.broadcast_id)
            except PlatformError as error:
                # A job that was killed has done it already.
                if error.reason != "redundantTransition":
                    raise
        case _:
            return


def _restart(row: BroadcastRenewal) -> None:
    start = (timezone.now() + _LEAD).astimezone(UTC).replace(microsecond=0)
    snippet = row.body["snippet"] | {"scheduledStartTime": start.isoformat()}
    _write(row, body=row.body | {"snippet": snippet})


def _write(row: BroadcastRenewal, **columns: Any) -> None:
    rows = BroadcastRenewal.objects.filter(pk=row.pk, finished_at=None)
    if not rows.update(**columns):
        raise PlatformError("The new broadcast was cancelled.")
    for name, value in columns.items():
        setattr(row, name, value)


def _finish(row: BroadcastRenewal, step: Step, note: str) -> None:
    now = timezone.now()
    with transaction.atomic():
        _write(row, step=step, note=note, finished_at=now)
        sentence = (
            f"Broadcast {row.broadcast_id} was created, because {row.ended_id} had ended."
            if step is Step.LIVE
            else f"The new broadcast in place of {row.ended_id} did not go live."
        )
        audit_log.record(audit_log.Event.ORDER, "streamsite", sentence, [row.account])
