"""The job that asks one account's platform about its outputs, and writes what it says.

The platform is asked outside of any transaction. One job at a time has the account's claim
(`connections.claimed`). Quota decides how often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db.models import Q
from django.utils import timezone

from streams.models import (
    AccountState,
    Channel,
    Output,
    PlatformAccount,
    PlatformReport,
)
from streams.platforms import (
    connections,
    incidents,
    quota,
    renewal,
    verdicts,
    watch_hours,
    writing,
)
from streams.platforms.answers import Broadcast, LiveStream, broadcast_of, stream_of
from streams.platforms.connections import Pass
from streams.platforms.transport import TOO_MANY, PlatformError
from streams.platforms.twitch import Twitch
from streams.platforms.verdicts import Verdict
from streams.platforms.youtube import YouTube
from streamsite.processes.task_queue import enqueue
from streamsite.security.secret import Secret, Unreadable, UnreadableSecretError

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A report is shown as unknown so long after its next check was due.
GRACE: Final = timedelta(minutes=3)
#: The next check after a platform has asked for fewer of them (429).
_SLOWER: Final = timedelta(minutes=5)
_UNAUTHORIZED: Final = 401
_OVER: Final = frozenset({"complete", "revoked"})
_USED_UP: Final = frozenset({"quotaExceeded", "dailyLimitExceeded"})


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of an output."""

    verdict: Verdict
    stream: LiveStream | None = None
    broadcast: Broadcast | None = None


@dataclass(slots=True)
class _Outcome:
    findings: dict[int, Finding] = field(default_factory=dict)
    fault: str = ""
    slower: bool = False


def enqueue_due() -> str:
    """Enqueue a check of each account that may need one. Runs once a minute."""
    now = timezone.now()
    closed = incidents.close_abandoned(now)
    on = Q(
        connected_at__isnull=False,
        account__outputs__enabled=True,
        account__outputs__channel__desired_state=Channel.DesiredState.ON,
    )
    watch = Q(connected_at__isnull=False, account__kind=PlatformAccount.Kind.YOUTUBE) & (
        Q(watched_at=None) | Q(watched_at__lt=now - watch_hours.INTERVAL)
    )
    due = AccountState.objects.filter(on | watch | ~Q(flow=""))
    pks = sorted(set(due.values_list("pk", flat=True)))
    for pk in pks:
        enqueue("streams.tasks.check_account", pk)
    return f"{len(pks)} accounts to check, {closed} incidents closed."


def check(account: int) -> str:
    """Take a step of the connection, ask about the outputs, read watch time; what is due."""
    with connections.claimed(account) as job:
        if job is None:
            return "Another job has it."
        connections.advance(job)
        job.row.refresh_from_db()
        if not job.row.connected:
            return "It is not connected."
        outputs = _outputs(job.account)
        done = _check(job, outputs) if outputs and _is_due(job, outputs) else "Not due."
        watch_hours.read_due(job)
        return done


def _outputs(account: PlatformAccount) -> list[Output]:
    rows = Output.objects.filter(
        account=account, enabled=True, channel__desired_state=Channel.DesiredState.ON
    )
    related = ("channel", "channel__state", "state", "platform_report", "account")
    return [row for row in rows.select_related(*related) if not account.fits(row)]


def _is_due(job: Pass, outputs: Sequence[Output]) -> bool:
    """Whether it is time, or an output has begun a new session since the last check."""
    due = job.row.due_at
    if due is None or due <= timezone.now():
        return True
    for output in outputs:
        report, state = _report(output), getattr(output, "state", None)
        if report is None or (state and state.session_since != report.session_since):
            return True
    return False


def _report(output: Output) -> PlatformReport | None:
    return getattr(output, "platform_report", None)


def _check(job: Pass, outputs: Sequence[Output]) -> str:
    for output in outputs:
        PlatformReport.objects.get_or_create(output=output)
    before = connections.spent(job)
    outcome = _request(job, outputs)
    now = timezone.now()
    if not job.mine().exists():
        return "Another job has it by now."
    pause = _pause(job, before, outcome, now)
    for output in outputs:
        finding = outcome.findings.get(output.pk)
        _write(output, finding or Finding(verdicts.unknown(outcome.fault)), now, now + pause)
    job.mine().update(due_at=now + pause, fault=outcome.fault)
    if outcome.fault:
        log.warning("platform.check_failed", account=job.account.name, fault=outcome.fault)
    return f"{len(outcome.findings)} of {len(outputs)} outputs checked. {outcome.fault}".strip()


def _pause(job: Pass, before: int, outcome: _Outcome, now: datetime) -> timedelta:
    if outcome.slower:
        return _SLOWER
    if job.account.kind != PlatformAccount.Kind.YOUTUBE:
        return quota.MIN_INTERVAL
    spent = connections.spent(job)
    cost = max(spent - before, 2 * quota.LIST_COST)
    if cost >= quota.CHANGE_COST:
        # Changes were made, which the next check does not repeat.
        cost = 4 * quota.LIST_COST
    return quota.interval(now, spent, job.account.daily_units, cost)


def _request(job: Pass, outputs: Sequence[Output]) -> _Outcome:
    outcome = _Outcome()
    try:
        try:
            outcome.findings = _findings(job, outputs, connections.access_token(job))
        except PlatformError as error:
            if error.status != _UNAUTHORIZED:
                raise
            # It has ended early: the account's password was changed, for example.
            token = connections.access_token(job, renew=True)
            outcome.findings = _findings(job, outputs, token)
    except UnreadableSecretError as error:
        outcome.fault = str(error)
    except PlatformError as error:
        if error.reason in _USED_UP:
            connections.used_up(job)
        outcome.slower = error.status == TOO_MANY
        outcome.fault = str(error)
    return outcome


def _findings(job: Pass, outputs: Sequence[Output], token: Secret) -> dict[int, Finding]:
    if job.account.kind == PlatformAccount.Kind.TWITCH:
        twitch = Twitch(job.account.client_id, token, job.deadline)
        stream = twitch.stream(job.row.remote_id)
        verdict = verdicts.twitch(stream, "" if stream else _nearest(twitch))
        if stream is not None and (note := writing.twitch_title(twitch, job, outputs, stream)):
            verdict = replace(verdict, sentence=f"{verdict.sentence} {note}")
        return {output.pk: Finding(verdict) for output in outputs}
    youtube = YouTube(token, job.deadline, connections.spender(job))
    findings = _youtube(youtube, outputs, timezone.now())
    return {
        output.pk: _improved(youtube, job, output, findings[output.pk]) for output in outputs
    }


def _nearest(twitch: Twitch) -> str:
    try:
        return twitch.nearest_ingest()
    except PlatformError:
        # It is advice alone: the verdict stands without it.
        return ""


def _youtube(
    youtube: YouTube, outputs: Sequence[Output], now: datetime
) -> Mapping[int, Finding]:
    streams = youtube.streams()
    active = youtube.broadcasts("active")
    pairs: dict[int, tuple[LiveStream | None, Broadcast | None]] = {}
    for output in outputs:
        key = Secret("") if isinstance(output.key, Unreadable) else output.key
        stream = stream_of(key, streams)
        pairs[output.pk] = (stream, broadcast_of(stream.id, active) if stream else None)
    unseen = [one for one in outputs if pairs[one.pk][0] and not pairs[one.pk][1]]
    if unseen:
        _match_inactive(youtube, unseen, pairs)
    return {
        pk: Finding(verdicts.youtube(stream, broadcast, now), stream, broadcast)
        for pk, (stream, broadcast) in pairs.items()
    }


def _match_inactive(
    youtube: YouTube,
    unseen: Sequence[Output],
    pairs: dict[int, tuple[LiveStream | None, Broadcast | None]],
) -> None:
    """Find broadcasts that are not active: the last one of the output, or one to come."""
    last_ids = {one.pk: _last(one) for one in unseen}
    ids = sorted({value for value in last_ids.values() if value})
    last = {one.id: one for one in youtube.broadcasts_by_id(ids)} if ids else {}
    coming: list[Broadcast] | None = None
    for output in unseen:
        stream, _ = pairs[output.pk]
        ended = last.get(last_ids.get(output.pk, ""))
        if stream is None:
            continue
        if ended is not None and ended.life_cycle in _OVER:
            pairs[output.pk] = (stream, ended)
            continue
        if coming is None:
            coming = youtube.broadcasts("upcoming")
        pairs[output.pk] = (stream, broadcast_of(stream.id, coming))


def _last(output: Output) -> str:
    """Return the last broadcast of the output, or the one that was created in its place."""
    report = _report(output)
    last = report.broadcast_id if report else ""
    return renewal.successor(output.account_id, last) or last


def _improved(youtube: YouTube, job: Pass, output: Output, finding: Finding) -> Finding:
    """Change what the account allows. A change that fails is said beside the verdict."""
    if finding.stream is None or finding.broadcast is None:
        return finding
    sending = incidents.sending(output, timezone.now())
    if not sending.on_air:
        return finding
    try:
        note = writing.youtube(youtube, job, output, finding.stream, finding.broadcast)
    except PlatformError as error:
        if error.reason in _USED_UP:
            connections.used_up(job)
        note = f"A change was not made: {error}"
    if not note:
        return finding
    sentence = f"{finding.verdict.sentence} {note}"
    return replace(finding, verdict=replace(finding.verdict, sentence=sentence))


def _write(output: Output, finding: Finding, now: datetime, due: datetime) -> None:
    """Write the report, and have the incident that follows from it."""
    verdict, before = finding.verdict, _report(output)
    since = before.since if before and before.level == verdict.level else now
    state = getattr(output, "state", None)
    columns = {
        "level": verdict.level,
        "since": since,
        "sentence": verdict.sentence,
        "details": verdict.figures | ({"advice": verdict.advice} if verdict.advice else {}),
        "checked_at": now,
        "valid_until": due + GRACE,
        "session_since": state.session_since if state else None,
    }
    if finding.stream is not None:
        columns["stream_id"] = finding.stream.id
    if finding.broadcast is not None:
        columns["broadcast_id"] = finding.broadcast.id
    PlatformReport.objects.filter(pk=output.pk).update(**columns)
    sending = incidents.sending(output, now)
    kind = output.account.kind if output.account else ""
    effect = verdicts.contradiction(kind, verdict, since, sending, now)
    incidents.write(output, verdict, effect, now)
