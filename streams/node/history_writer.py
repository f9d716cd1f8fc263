"""Writes the engine's history to the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import QuerySet

from media_library.models import MediaItem
from streams import events
from streams.models import (
    AsRun,
    Broadcaster,
    Channel,
    Evidence,
    Incident,
    LiveStream,
    LogLine,
    Output,
    Run,
    Sample,
    Takeover,
)
from streams.playout.contract import ledger
from streams.playout.contract.moment import when

#: Two supervisors may see the same item come on air: within this time it counts as the same.
SAME_AIRING: Final = timedelta(seconds=1)
#: Largest value of an integer column of PostgreSQL.
MAX_INTEGER: Final = 2**31 - 1


def write(notes: Sequence[ledger.Note]) -> None:
    """Write notes in order; notes of a channel that was deleted meanwhile are dropped."""
    existing = set(Channel.objects.values_list("pk", flat=True)) if notes else set()
    kept = [note for note in notes if note.channel in existing]
    for note in kept:
        match note:
            case ledger.RunOnAir(_, run, at):
                if Run.objects.filter(pk=run, on_air_at=None).update(on_air_at=when(at)):
                    events.run(events.OnAir, run, when(at))
            case ledger.Aired():
                _aired(note)
            case ledger.TakeoverRequested():
                _takeover_requested(note)
            case ledger.TakeoverAired(channel, stream, at):
                _update_takeovers(
                    _open(channel, stream).filter(on_air_at=None), at, on_air_at=when(at)
                )
            case ledger.TakeoverEnded(channel, stream, at, cause):
                _update_takeovers(_open(channel, stream), at, ended_at=when(at), cause=cause)
            case ledger.Evidence():
                _evidence(note)
            case ledger.IncidentOpened() | ledger.IncidentExplained() | ledger.IncidentClosed():
                _incident(note)
            case _:
                continue
    LogLine.objects.bulk_create([_line(n) for n in kept if isinstance(n, ledger.Logged)])
    samples = [_sample(note) for note in kept if isinstance(note, ledger.Sampled)]
    outputs = set(Output.objects.values_list("pk", flat=True)) if samples else set()
    Sample.objects.bulk_create(
        [row for row in samples if row.output_id is None or row.output_id in outputs]
    )


def write_late(notes: Sequence[ledger.Note], fenced: str) -> None:
    """Write notes of channels that another node has claimed since they were taken.

    What was on air until this node stopped sending is added to the log where it belongs.
    Incidents and takeovers are the other node's by now. `fenced`: the subject of the incident
    that opens when this node stops sending.
    """
    stops = {
        note.channel: note
        for note in notes
        if isinstance(note, ledger.IncidentOpened) and note.subject == fenced
    }
    for note in notes:
        if isinstance(note, ledger.Aired) and (stop := stops.get(note.channel)) is not None:
            _aired_late(note, stop)
    for stop in stops.values():
        _end_late(stop.run, when(stop.at), AsRun.Ending.CUT, stop.cause)
    write([note for note in notes if isinstance(note, ledger.Logged | ledger.Sampled)])


def _aired_late(note: ledger.Aired, stop: ledger.IncidentOpened) -> None:
    at = when(note.at)
    same = (at - SAME_AIRING, at + SAME_AIRING)
    existing = AsRun.objects.filter(run=note.run, started_at__range=same)
    # After the stop its programme went on, but nobody has seen that.
    if note.at < stop.at and not existing.filter(title=note.turn.item.title).exists():
        _end_late(note.run, at, note.previous_ending, note.previous_cause)
        row = _entry(note)
        row.ended_at, row.ending, row.cause = when(stop.at), AsRun.Ending.CUT, stop.cause
        row.save()


def _end_late(run: int, at: datetime, ending: str, cause: str) -> None:
    """Set the end of the item that was on air until then. The other node began later."""
    before = AsRun.objects.filter(run=run, started_at__lt=at)
    last = before.order_by("-started_at", "-pk").first()
    if last is not None:
        AsRun.objects.filter(pk=last.pk).update(ended_at=at, ending=ending, cause=cause)


def end_run(channel: int, run: int, at: datetime, reason: str) -> None:
    """Close a run and its open rows."""
    by = Channel.objects.filter(pk=channel).values_list("ordered_by", flat=True).first()
    ended = Run.objects.filter(pk=run, ended_at=None).update(
        ended_at=at, end_reason=reason, ended_by=by or ""
    )
    AsRun.objects.filter(run=run, ended_at=None).update(
        ended_at=at, ending=AsRun.Ending.CUT, cause=f"The channel was {reason}."
    )
    _close(Incident.objects.filter(channel=channel), at)
    _update_takeovers(
        Takeover.objects.filter(channel=channel, ended_at=None),
        at.timestamp(),
        ended_at=at,
        cause=f"The channel was {reason}.",
    )
    if ended:
        events.run(events.OffAir, run, at)


def _close(incidents: QuerySet[Incident], at: datetime) -> None:
    still_open = list(incidents.filter(closed_at=None).select_related("channel"))
    Incident.objects.filter(pk__in=[row.pk for row in still_open], closed_at=None).update(
        closed_at=at
    )
    for row in still_open:
        row.closed_at = at
        events.incident(row, at)


def _update_takeovers(takeovers: QuerySet[Takeover], at: float, **news: object) -> None:
    changed = [row.pk for row in takeovers]
    Takeover.objects.filter(pk__in=changed).update(**news)
    rows = Takeover.objects.filter(pk__in=changed).select_related("channel", "broadcaster")
    events.takeovers(rows, when(at))


def _aired(note: ledger.Aired) -> None:
    at = when(note.at)
    item, turn = note.turn.item, note.turn
    present = AsRun.objects.filter(run=note.run, ended_at=None)
    same = (at - SAME_AIRING, at + SAME_AIRING)
    if present.filter(title=item.title, started_at__range=same).exists():
        return
    slate = present.filter(kind=AsRun.Kind.SLATE, rule=turn.rule, title=item.title)
    if item.kind.value == AsRun.Kind.SLATE and slate.exists():
        # A slate is a few seconds long and repeats, perhaps for hours: one row is enough.
        return
    present.update(
        ended_at=when(note.previous_until) if note.previous_until else at,
        ending=note.previous_ending,
        cause=note.previous_cause,
    )
    _entry(note).save()


def _entry(note: ledger.Aired) -> AsRun:
    item, turn = note.turn.item, note.turn
    return AsRun(
        run_id=note.run,
        item=MediaItem.objects.filter(pk=item.media or 0).first(),
        title=item.title,
        kind=item.kind.value,
        started_at=when(note.at),
        rule=turn.rule,
        why=turn.why,
        in_point=float(turn.into),
    )


def _takeover_requested(note: ledger.TakeoverRequested) -> None:
    if not LiveStream.objects.filter(pk=note.stream).exists():
        # Deleted meanwhile: its takeover could neither be identified nor ended.
        return
    Takeover.objects.get_or_create(
        channel_id=note.channel,
        stream_id=note.stream,
        ended_at=None,
        defaults={
            "run_id": note.run,
            "broadcaster": Broadcaster.objects.filter(pk=note.broadcaster).first(),
            "requested_at": when(note.at),
        },
    )


def _open(channel: int, stream: int) -> QuerySet[Takeover]:
    return Takeover.objects.filter(channel=channel, stream=stream, ended_at=None)


def _opened(note: ledger.IncidentOpened) -> None:
    row, new = Incident.objects.get_or_create(
        channel_id=note.channel,
        subject=note.subject,
        closed_at=None,
        defaults={
            "run_id": note.run,
            "output": Output.objects.filter(pk=note.output or 0).first(),
            "severity": note.severity,
            "cause": note.cause,
            "opened_at": when(note.at),
        },
    )
    if new:
        events.incident(row, when(note.at))


def _incident(
    note: ledger.IncidentOpened | ledger.IncidentExplained | ledger.IncidentClosed,
) -> None:
    rows = Incident.objects.filter(channel=note.channel, subject=note.subject)
    match note:
        case ledger.IncidentOpened():
            _opened(note)
        case ledger.IncidentExplained():
            rows.filter(closed_at=None).update(cause=note.cause)
        case ledger.IncidentClosed():
            _close(rows, when(note.at))


def _evidence(note: ledger.Evidence) -> None:
    incident = Incident.objects.filter(
        channel=note.channel, subject=note.subject, opened_at=when(note.opened)
    ).first()
    if incident is not None:
        Evidence.objects.get_or_create(
            incident=incident,
            defaults={"still": note.still, "clip": note.clip, "node": settings.NODE_NAME},
        )


def _line(note: ledger.Logged) -> LogLine:
    return LogLine(
        channel_id=note.channel,
        run_id=note.run,
        at=when(note.at),
        role=note.role[:32],
        level=note.level[:8],
        # PostgreSQL accepts no NUL, and one line must not block all others.
        text=note.text.replace("\0", "")[:2000],
    )


def _sample(note: ledger.Sampled) -> Sample:
    values = asdict(note)
    owner = {"channel_id": values.pop("channel"), "output_id": values.pop("output")}
    values.pop("taken")
    if note.taken is not None:
        values |= {
            # One value out of range would keep all notes from being written.
            "acknowledged": None
            if note.taken.bitrate is None
            else min(note.taken.bitrate, MAX_INTEGER),
            "resent_percent": note.taken.resent_percent,
            "queued_bytes": min(note.taken.queued, MAX_INTEGER),
        }
    # Whole seconds: SQLite keeps times as texts, 345,000 a day with ten channels.
    at = when(note.at).replace(microsecond=0)
    return Sample(**owner, **values | {"at": at})
