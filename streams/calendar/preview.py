"""What will be on air, and why: the answer of the code that plays, in people's words."""

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
#: As far as the preview reaches.
REACH: Final = timedelta(days=7)


def playing(channel: Channel) -> ChannelState | None:
    """The state of a channel that plays something now, as its worker wrote it last."""
    try:
        state: ChannelState = channel.state
    except ObjectDoesNotExist:
        return None
    on = state.state in {AirState.ON_AIR.value, AirState.DEGRADED.value}
    return state if on and state.now_title and state.now_since else None


def begins(channel: Channel, now: datetime) -> datetime:
    """When the next item begins: at the end of the present one, where that is known."""
    state = playing(channel)
    known = state.now_until if state is not None else None
    return known if known is not None and known > now else now


def picks(channel: Channel, now: datetime, until: datetime) -> Iterator[Pick]:
    """What will be on air up to that moment, if nothing fails and nothing is changed.

    Of a channel that is off and has no hours that start it: as if it were started now.
    """
    # A forecast is cut where it ends; what is asked for here is not.
    ahead = forecast.compute(channel, now, until + occurrences.DAY)
    if not ahead.spans and presumed(channel):
        return schedule.preview(ahead.programme, now, until, ahead.cursors)
    return takewhile(lambda pick: pick.begins < until, ahead.picks())


def presumed(channel: Channel) -> bool:
    """Whether the preview presumes that somebody starts the channel now."""
    return channel.order != Channel.Order.ON and not channel.hours.exists()


# ---- in words --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One stretch on air, for a page. `start` and `seconds`: into the item, and on air."""

    begins: datetime
    ends: datetime | None
    title: str
    rule: str
    why: str
    start: float
    seconds: float | None
    #: whole, cut, resumed; empty where that is not known yet, and for the slate.
    how: str
    #: What is not prepared is over when it is over.
    exact: bool = True


def lines(
    found: Iterable[Pick], begins: datetime, ends: datetime, names: Mapping[int, str]
) -> list[Line]:
    """From one moment to another, with a line for each time in which the channel is off.

    `names`: those of the channel's blocks, by their number.
    """
    told: list[Line] = []
    at = begins
    for pick in found:
        if pick.begins > at:
            told.append(_off(at, pick.begins))
        if pick.entry is None and told and told[-1].rule == SLATE and told[-1].why == pick.why:
            # The programme is asked again each minute, and has the same answer.
            told[-1] = _longer(told[-1], pick.ends)
        else:
            told.append(line(pick, names))
        at = pick.ends
    return [*told, _off(at, ends)] if at < ends else told


def _longer(one: Line, ends: datetime) -> Line:
    return replace(one, ends=ends, seconds=(ends - one.begins).total_seconds())


def _off(since: datetime, until: datetime) -> Line:
    return Line(
        begins=since,
        ends=until,
        title="Off the air",
        rule="On-air hours",
        why="The channel is stopped and started by its hours.",
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
    """A rule as people know it; a block that was deleted has its number only."""
    kind, _, number = rule.partition("-")
    if kind == "block" and number.isdecimal():
        return names.get(int(number), f"A block that was deleted (number {number})")
    return {BASE: "Base playlist", FILLER: "Filler", "": "–"}.get(rule, rule.capitalize())


def on_air(channel: Channel, now: datetime, names: Mapping[int, str]) -> Line | None:
    """What is on air now, as the worker wrote it last."""
    state = playing(channel)
    return None if state is None or begins(channel, now) <= now else _now(state, names)


# ---- why is this on air? ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What was, is or will be on air at a moment; `line` is None where that is nothing."""

    at: datetime
    #: was, is, or will be
    tense: str
    line: Line | None
    #: The blocks that want the moment, as they are set up now.
    claims: list[Claim]
    notes: tuple[str, ...] = ()


def why(channel: Channel, at: datetime, now: datetime) -> Answer:
    """The past is in the as-run log, the present in the state; the rest is the preview's."""
    names = dict(channel.blocks.values_list("pk", "name"))
    claims = occurrences.claims(occurrences.outline(channel), at)
    if at < now:
        return _was(channel, at, claims, names)
    state = playing(channel)
    if state is not None and at < begins(channel, now):
        found = _now(state, names)
        return Answer(at, "is", found, claims, _waiting(found, state.now_rule, claims))
    if at >= now + REACH:
        note = f"The preview reaches {REACH.days} days from now."
        return Answer(at, "will be", None, claims, (note,))
    for pick in picks(channel, now, at + timedelta(microseconds=1)):
        if pick.begins <= at < pick.ends:
            found = line(pick, names)
            notes = _waiting(found, pick.rule, claims)
            if presumed(channel):
                notes += ("The channel is off: this holds if it is started now.",)
            return Answer(at, "will be", found, claims, notes)
    return Answer(at, "will be", None, claims, (_why_off(channel, at),))


def _why_off(channel: Channel, at: datetime) -> str:
    """Why a channel will be off: outside its hours, or ordered off within them."""
    within = on_air_hours.spans(forecast.hours_of(channel), at, at + timedelta(seconds=1))
    if any(opens <= at < ends for opens, ends in within):
        return (
            "The channel is ordered off, though it is within its on-air hours at that time: "
            "it starts when the next of them begin."
        )
    if channel.hours.exists():
        return "The channel is off at that time: none of its on-air hours holds then."
    return "The channel is off at that time."


def _was(
    channel: Channel, at: datetime, claims: list[Claim], names: Mapping[int, str]
) -> Answer:
    log = AsRun.objects.filter(run__channel=channel, started_at__lte=at)
    entry = log.order_by("-started_at", "-pk").first()
    if entry is None or (entry.ended_at is not None and entry.ended_at <= at):
        # Between two entries of one run nothing is written down; without a run it was off.
        runs = channel.runs.filter(started_at__lte=at).exclude(ended_at__lte=at)
        note = (
            "The channel was ordered on, but nothing is written down for that moment: the "
            "incidents may say why."
            if runs.exists()
            else "The channel was off."
        )
        return Answer(at, "was", None, claims, (note,))
    ended = entry.ended_at
    found = Line(
        begins=entry.started_at,
        ends=ended,
        title=entry.title,
        rule=in_words(entry.rule, names),
        why=" ".join(filter(None, (entry.why, entry.cause))) or "The log does not say.",
        start=entry.in_point,
        seconds=(ended - entry.started_at).total_seconds() if ended else None,
        how=entry.get_ending_display(),
    )
    return Answer(at, "was", found, claims, _waiting(found, entry.rule, claims))


def _now(state: ChannelState, names: Mapping[int, str]) -> Line:
    if state.now_since is None:
        raise ValueError("Nothing is on air.")
    until = state.now_until
    return Line(
        begins=state.now_since,
        ends=until,
        title=state.now_title,
        rule=in_words(state.now_rule, names),
        why=state.now_why or "The worker has not said so far.",
        start=0.0,
        seconds=(until - state.now_since).total_seconds() if until else None,
        how="",
    )


def _waiting(found: Line, rule: str, claims: list[Claim]) -> tuple[str, ...]:
    """Why the block whose turn it is is not on, where it is another rule's item that plays."""
    best = claims[0].slot if claims else None
    if best is None or best.block.start is Start.HARD or best.block.rule == rule:
        return ()
    if found.begins >= best.begins:
        return ()
    due = f"“{best.block.name}” is due, but starts softly:"
    if found.ends is not None and found.ends >= best.ends:
        return (f"{due} what is on ends later than its time does, so it is not on at all.",)
    return (f"{due} it waits for the end of what is on.",)
