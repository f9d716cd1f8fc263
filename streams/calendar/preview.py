"""Preview of the programme with reasons, computed by the code that plays it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from django.core.exceptions import ObjectDoesNotExist

from media_library.conform.slate import Slate
from streams.models import AsRun, Channel, ChannelState
from streams.planning import forecast, occurrences, plans
from streams.planning.occurrences import Claim
from streams.playout.contract.states import AirState
from streams.programme import on_air_hours, schedule
from streams.programme.model import BASE, FILLER, Pick, Start

SLATE: Final = "Slate"
#: The span of the preview.
REACH: Final = timedelta(days=7)


def playing(channel: Channel) -> ChannelState | None:
    """Returns the latest state of a channel that plays something now, else None."""
    try:
        state: ChannelState = channel.state
    except ObjectDoesNotExist:
        return None
    on = state.state in {AirState.ON_AIR.value, AirState.DEGRADED.value}
    return state if on and state.now_title and state.now_since else None


def begins(channel: Channel, now: datetime) -> datetime:
    """Returns the start of the next item: the end of the present one if known, else now."""
    state = playing(channel)
    until = state.now_until if state is not None else None
    return until if until is not None and until > now else now


def picks(channel: Channel, now: datetime, until: datetime) -> Iterator[Pick]:
    """Yields the items up to `until`, provided that nothing fails and nothing is changed.

    A channel that is off and has no on-air hours is treated as if it were started now.
    """
    # A forecast cuts its last item; the extra day keeps the items here whole.
    ahead = forecast.compute(channel, now, until + occurrences.DAY)
    if not ahead.spans and presumed(channel):
        return schedule.preview(ahead.programme, now, until, ahead.cursors)
    return takewhile(lambda pick: pick.begins < until, ahead.picks())


def presumed(channel: Channel) -> bool:
    """Returns whether the preview assumes that the channel is started now."""
    return channel.desired_state != Channel.DesiredState.ON and not channel.hours.exists()


# ---- in words --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """An entry of the preview. `start`: seconds into the item. `seconds`: time on air.

    `rule`: base playlist, a block, or slate. `how`: whole, cut, resumed; empty if unknown.
    `exact`: false for an item that is not prepared, whose length is an estimate.
    """

    begins: datetime
    ends: datetime | None
    title: str
    rule: str
    why: str
    start: float
    seconds: float | None
    how: str
    exact: bool = True


def lines(
    upcoming: Iterable[Pick], begins: datetime, ends: datetime, names: Mapping[int, str]
) -> list[Line]:
    """Returns the lines from `begins` to `ends`, including those in which the channel is off.

    `names`: the names of the channel's blocks by primary key.
    """
    rows: list[Line] = []
    at = begins
    for pick in upcoming:
        if pick.begins > at:
            rows.append(_off(at, pick.begins))
        if pick.entry is None and rows and rows[-1].rule == SLATE and rows[-1].why == pick.why:
            # The scheduler returns the slate minute by minute: merge these into one line.
            rows[-1] = _longer(rows[-1], pick.ends)
        else:
            rows.append(line(pick, names))
        at = pick.ends
    return [*rows, _off(at, ends)] if at < ends else rows


def _longer(one: Line, ends: datetime) -> Line:
    return replace(one, ends=ends, seconds=(ends - one.begins).total_seconds())


def _off(since: datetime, until: datetime) -> Line:
    return Line(
        begins=since,
        ends=until,
        title="Off the air",
        rule="On-air hours",
        why="The channel is stopped and started by its on-air hours.",
        start=0.0,
        seconds=(until - since).total_seconds(),
        how="",
    )


def line(pick: Pick, names: Mapping[int, str]) -> Line:
    entry = pick.entry
    return Line(
        begins=pick.begins,
        ends=pick.ends,
        title=plans.TITLES[Slate.PAUSE] if entry is None else entry.item.title,
        rule=SLATE if entry is None else in_words(pick.rule, names),
        why=pick.why,
        start=float(pick.start),
        seconds=(pick.ends - pick.begins).total_seconds(),
        how=_how(pick),
        exact=entry is None or entry.exact,
    )


def _how(pick: Pick) -> str:
    if pick.entry is None:
        return ""
    resumed, cut = pick.start > 0, pick.end < pick.entry.seconds
    words = [word for word, holds in (("Resumed", resumed), ("cut", cut)) if holds]
    return ", ".join(words).capitalize() or "Whole"


def in_words(rule: str, names: Mapping[int, str]) -> str:
    """Returns a rule's name for users; a deleted block is shown by its number."""
    kind, _, number = rule.partition("-")
    if kind == "block" and number.isdecimal():
        return names.get(int(number), f"Deleted block (number {number})")
    return {BASE: "Base playlist", FILLER: "Filler", "": "–"}.get(rule, rule.capitalize())


def on_air(channel: Channel, now: datetime, names: Mapping[int, str]) -> Line | None:
    """Returns the line that is on air now according to the worker's latest state."""
    state = playing(channel)
    return None if state is None or begins(channel, now) <= now else _now(state, names)


# ---- why is this on air? ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The item on air at a past, present or future time; `line` is None if there is none."""

    at: datetime
    #: was, is, or will be
    tense: str
    line: Line | None
    #: The blocks that cover this time according to their present settings.
    claims: list[Claim]
    notes: tuple[str, ...] = ()


def why(channel: Channel, at: datetime, now: datetime) -> Answer:
    """Explains the item on air at `at`.

    The past comes from the as-run log, the present from the state, the future from the preview.
    """
    names = dict(channel.blocks.values_list("pk", "name"))
    claims = occurrences.claims(occurrences.outline(channel), at)
    if at < now:
        return _was(channel, at, claims, names)
    state = playing(channel)
    if state is not None and at < begins(channel, now):
        stretch = _now(state, names)
        return Answer(at, "is", stretch, claims, _waiting(stretch, state.now_rule, claims))
    if at >= now + REACH:
        note = f"The preview reaches {REACH.days} days from now."
        return Answer(at, "will be", None, claims, (note,))
    for pick in picks(channel, now, at + timedelta(microseconds=1)):
        if pick.begins <= at < pick.ends:
            stretch = line(pick, names)
            notes = _waiting(stretch, pick.rule, claims)
            if presumed(channel):
                notes += ("The channel is off. This assumes that it is started now.",)
            return Answer(at, "will be", stretch, claims, notes)
    return Answer(at, "will be", None, claims, (_why_off(channel, at),))


def _why_off(channel: Channel, at: datetime) -> str:
    """Returns why a channel will be off: outside its hours, or stopped within them."""
    within = on_air_hours.spans(forecast.hours_of(channel), at, at + timedelta(seconds=1))
    if any(opens <= at < ends for opens, ends in within):
        return (
            "The channel was stopped by order, although that time is within its on-air hours. "
            "It starts again with the next on-air hours."
        )
    if channel.hours.exists():
        return "The channel is off at that time: it is outside its on-air hours."
    return "The channel is off at that time."


def _was(
    channel: Channel, at: datetime, claims: list[Claim], names: Mapping[int, str]
) -> Answer:
    log = AsRun.objects.filter(run__channel=channel, started_at__lte=at)
    entry = log.order_by("-started_at", "-pk").first()
    if entry is None or (entry.ended_at is not None and entry.ended_at <= at):
        # There is no log entry: a gap within a run, or no run at all.
        runs = channel.runs.filter(started_at__lte=at).exclude(ended_at__lte=at)
        note = (
            "The channel was ordered on, but the as-run log has no entry for that time. The "
            "incidents may show why."
            if runs.exists()
            else "The channel was off."
        )
        return Answer(at, "was", None, claims, (note,))
    ended = entry.ended_at
    stretch = Line(
        begins=entry.started_at,
        ends=ended,
        title=entry.title,
        rule=in_words(entry.rule, names),
        why=" ".join(filter(None, (entry.why, entry.cause)))
        or "The log does not give a reason.",
        start=entry.in_point,
        seconds=(ended - entry.started_at).total_seconds() if ended else None,
        how=entry.get_ending_display(),
    )
    return Answer(at, "was", stretch, claims, _waiting(stretch, entry.rule, claims))


def _now(state: ChannelState, names: Mapping[int, str]) -> Line:
    if state.now_since is None:
        raise ValueError("Nothing is on air.")
    until = state.now_until
    return Line(
        begins=state.now_since,
        ends=until,
        title=state.now_title,
        rule=in_words(state.now_rule, names),
        why=state.now_why or "The worker has not reported the reason yet.",
        start=0.0,
        seconds=(until - state.now_since).total_seconds() if until else None,
        how="",
    )


def _waiting(stretch: Line, rule: str, claims: list[Claim]) -> tuple[str, ...]:
    """Explains why the winning block is not on air yet: a soft start waits."""
    best = claims[0].slot if claims else None
    if best is None or best.block.start is Start.HARD or best.block.rule == rule:
        return ()
    if stretch.begins >= best.begins:
        return ()
    due = f"“{best.block.name}” is due, but has a soft start:"
    if stretch.ends is not None and stretch.ends >= best.ends:
        return (
            f"{due} the current item ends after the block does, so the block is not shown.",
        )
    return (f"{due} it waits for the end of the current item.",)
