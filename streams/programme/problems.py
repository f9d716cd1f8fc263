"""Detects upcoming problems of the programme before they air. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from streams.programme.block_times import Slot, on_air
from streams.programme.item import Mode
from streams.programme.model import BASE, FILLER, Cursor, Entry, Pick, Programme, Rotation
from streams.programme.schedule import between, moment, scheduled_entries
from streams.programme.schedule import fillers as allowed_fillers
from streams.programme.schedule import pick as decide
from streams.programme.unreachable import unreachable_slots


class Copy(StrEnum):
    """State of an item's copy in the channel's house format."""

    READY = "ready"
    #: Queued, in progress, or not requested yet.
    COMING = "coming"
    #: It failed or was cancelled: nobody makes it.
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """State of an item."""

    copy: Copy = Copy.READY
    #: Why there is no copy, if a person must act.
    copy_fault: str = ""
    inspected: bool = True
    #: Whether the storage has the file that would be played; None: unknown.
    there: bool | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A faulty item of a list, which is left out."""

    media: int
    title: str
    fault: str
    #: The entry played in its place, and the rule of that entry.
    replacement: int
    rule: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem. `subject` identifies it across checks. `media` is the item's id."""

    subject: str
    sentence: str
    airs_at: datetime
    media: int | None = None
    #: The item will be on air nevertheless.
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Fillers:
    """The channel's filler list."""

    name: str
    entries: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems, and the items whose presence in the storage is unknown."""

    faults: tuple[Fault, ...]
    unsure: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Empty:
    """A rule whose list has nothing that may be played."""

    first: datetime
    length: timedelta = timedelta()
    slate: bool = False


def find_problems(
    programme: Programme,
    picks: Sequence[Pick],
    facts: Mapping[int, ItemFacts],
    left_out: Iterable[LeftOut] = (),
    fillers: Fillers | None = None,
) -> Findings:
    """Return the problems of the coming programme, each once, at its first airtime."""
    first = _first(picks)
    faults = [
        *_empty(programme, picks),
        *_too_long(programme, picks),
        *_no_filler(programme, picks, fillers),
        *_left_out(picks, left_out),
        *_unreachable(programme, picks),
    ]
    reported = {fault.media for fault in faults}
    unsure: set[int] = set()
    for media, pick in first.items():
        item_facts = facts.get(media, ItemFacts())
        if item_facts.there is None:
            unsure.add(media)
        if media not in reported and pick.entry is not None:
            faults += _item(media, pick.entry, pick.begins, item_facts)
    return Findings(tuple(sorted(faults, key=lambda fault: fault.airs_at)), frozenset(unsure))


def _first(picks: Iterable[Pick]) -> dict[int, Pick]:
    """Return each item's first pick."""
    first: dict[int, Pick] = {}
    for pick in picks:
        if pick.entry is not None and pick.entry.item.media is not None:
            first.setdefault(pick.entry.item.media, pick)
    return first


def _item(media: int, entry: Entry, airs_at: datetime, facts: ItemFacts) -> Iterator[Fault]:
    """Yield the most severe problem of one item."""
    title = entry.item.title
    if facts.there is False:
        yield Fault(
            f"missing-{media}",
            f"“{title}” is not in the storage any more ({entry.item.key}): upload it again, or "
            "take it out of its playlist. It will be skipped.",
            airs_at,
            media,
        )
    elif facts.copy is Copy.LEFT:
        because = facts.copy_fault or "it was cancelled."
        yield Fault(
            f"unprepared-{media}",
            f"“{title}” could not be prepared and will be {_unprepared(entry)}: {because}",
            airs_at,
            media,
        )
    elif not facts.inspected:
        yield Fault(
            f"new-{media}",
            f"“{title}” was not inspected yet: it is unknown whether it can be played.",
            airs_at,
            media,
            soft=True,
        )
    elif facts.copy is Copy.COMING:
        yield Fault(
            f"waiting-{media}",
            f"“{title}” is not prepared yet: if it is not ready by then, it will be "
            f"{_unprepared(entry)}.",
            airs_at,
            media,
            soft=True,
        )


def _unprepared(entry: Entry) -> str:
    if entry.item.mode is Mode.COPY:
        return (
            "sent without conversion: its loudness may differ and its start and end may glitch"
        )
    return "encoded while it is on air, which takes up to a core"


def _left_out(picks: Sequence[Pick], left_out: Iterable[LeftOut]) -> Iterator[Fault]:
    """Yield faulty items, at the time of the entries played in their place."""
    times: dict[tuple[str, int], datetime] = {}
    for pick in picks:
        if pick.entry is not None:
            times.setdefault((pick.rule, pick.entry.pk), pick.begins)
    soonest: dict[int, Fault] = {}
    for item in left_out:
        airs_at = times.get((item.rule, item.replacement))
        earlier = soonest.get(item.media)
        if airs_at is not None and (earlier is None or airs_at < earlier.airs_at):
            sentence = f"“{item.title}” can't be played and will be left out: {item.fault}"
            soonest[item.media] = Fault(f"fault-{item.media}", sentence, airs_at, item.media)
    yield from soonest.values()


def _empty(programme: Programme, picks: Iterable[Pick]) -> Iterator[Fault]:
    """Yield stretches for which a list has nothing that may be played."""
    bare = replace(programme, filler=Rotation(()))
    empty: dict[str, _Empty] = {}
    for pick in picks:
        if not pick.list_empty:
            continue
        # The rule of filler does not identify the scheduled list; the rule of the slate does.
        rule = decide(bare, pick.begins, {}).rule if pick.rule == FILLER else pick.rule
        stretch = empty.setdefault(rule, _Empty(pick.begins))
        stretch.length += pick.ends - pick.begins
        stretch.slate |= pick.entry is None
    for rule, stretch in empty.items():
        yield Fault(f"nothing-{rule}", _nothing(programme, rule, stretch), stretch.first)


def _too_long(programme: Programme, picks: Sequence[Pick]) -> Iterator[Fault]:
    """Yield exact-fit blocks that are filler throughout, because their next item is too long.

    The item stays next, so the block remains filler forever.
    """
    played = {(pick.rule, slot.begins) for pick, slot in _within(programme, picks)}
    reported: set[int] = set()
    for pick, slot in _within(programme, picks):
        block = slot.block
        if pick.rule != FILLER or pick.list_empty or not block.fit or block.pk in reported:
            continue
        cursor = pick.cursors.get(block.rule, Cursor())
        if (block.rule, slot.begins) in played or cursor.into is not None:
            continue
        _, entry, _ = next(scheduled_entries(programme, pick.begins, pick.cursors))
        length = between(slot.begins, slot.ends)
        if entry.seconds > length:
            reported.add(block.pk)
            yield Fault(
                f"too-long-{block.rule}",
                f"“{entry.item.title}” is next in block “{block.name}” and never fits: it "
                f"lasts {_minutes(entry.seconds)}, the block {_minutes(length)}. Filler is on "
                "instead, every time: make the block longer, take the item out of its "
                "playlist, or let the block end with its item.",
                pick.begins,
            )


def _within(programme: Programme, picks: Iterable[Pick]) -> Iterator[tuple[Pick, Slot]]:
    """Yield the picks within blocks, each with the block's occurrence."""
    for pick in picks:
        slot = on_air(programme, moment(pick.begins, programme.cut))
        if slot is not None:
            yield pick, slot


def _minutes(seconds: Fraction) -> str:
    return f"{max(1, round(seconds / 60))} min"


def _nothing(programme: Programme, rule: str, stretch: _Empty) -> str:
    block = next((candidate for candidate in programme.blocks if candidate.rule == rule), None)
    if block is None:
        name, rotation, own = "The base playlist", programme.base, None
    else:
        name, rotation, own = f"Block “{block.name}”", block.rotation, block.max_rating
    ages = [age for age in (own, programme.max_rating) if age is not None]
    if not rotation.entries:
        because = "its playlist is empty, or all its items are faulty: add items to it"
    elif ages:
        because = (
            f"none of its {len(rotation.entries)} entries is rated {min(ages)} or younger: "
            "rate them, or raise the maximum age rating"
        )
    else:
        because = f"each of its {len(rotation.entries)} entries is too short: add longer ones"
    minutes = max(1, round(stretch.length / timedelta(minutes=1)))
    shown = "there is no filler, so the slate is on" if stretch.slate else "filler is on"
    return f"{name} has nothing to play, {because}. For {minutes} min {shown}."


def _no_filler(
    programme: Programme, picks: Sequence[Pick], fillers: Fillers | None
) -> Iterator[Fault]:
    """Yield the problem of a filler list that can't be played. It may be needed at any time."""
    if fillers is None or not picks:
        return
    if programme.filler.entries:
        yield from _unfit_filler(programme, picks, fillers)
        return
    if fillers.entries:
        because = (
            f"none of its {fillers.entries} entries is prepared yet: see the library for the "
            "reasons"
        )
    else:
        because = "it is empty: add items to it"
    yield Fault(
        "filler",
        f"The filler “{fillers.name}” can't stand in for anything: {because}.",
        picks[0].begins,
    )


def _unfit_filler(
    programme: Programme, picks: Sequence[Pick], fillers: Fillers
) -> Iterator[Fault]:
    """Yield where no filler may be played: anywhere, or in a block with a lower age rating."""
    at, everywhere = picks[0].begins, replace(programme, blocks=())
    if next(allowed_fillers(everywhere, at, {}), None) is None:
        because = _unfit(programme, programme.max_rating)
        sentence = f"The filler “{fillers.name}” can't stand in for anything: {because}."
        yield Fault("filler", sentence, at)
        return
    seen: set[int] = set()
    for pick, slot in _within(programme, picks):
        block = slot.block
        if block.pk in seen:
            continue
        seen.add(block.pk)
        if next(allowed_fillers(programme, pick.begins, {}), None) is None:
            yield Fault(
                f"filler-{block.rule}",
                f"The filler “{fillers.name}” can't stand in for anything in block "
                f"“{block.name}”: {_unfit(programme, block.max_rating)}.",
                pick.begins,
            )


def _unfit(programme: Programme, age: int | None) -> str:
    number = len(programme.filler.entries)
    if age is None:
        return f"each of its {number} prepared entries is too short: add longer ones"
    return (
        f"none of its {number} prepared entries is rated {age} or younger: rate them, or raise "
        "the maximum age rating"
    )


def _unreachable(programme: Programme, picks: Sequence[Pick]) -> Iterator[Fault]:
    """Yield soft blocks that are never on, each once."""
    reported: set[str] = set()
    for missed in unreachable_slots(programme, picks):
        block = missed.slot.block
        if block.rule in reported:
            continue
        reported.add(block.rule)
        span, over = (
            " to ".join(f"{at.astimezone(programme.zone):%H:%M}" for at in times)
            for times in (
                (missed.slot.begins, missed.slot.ends),
                (missed.over.begins, missed.over.ends),
            )
        )
        title = missed.over.entry.item.title if missed.over.entry else "The slate"
        yield Fault(
            f"unseen-{block.rule}",
            f"Block “{block.name}” ({span}) won't be on air: it starts softly, and “{title}” "
            f"plays from {over}. Let it cut in (hard), move it, or make it longer.",
            missed.due,
        )


def left_out_entries(
    entries: Sequence[tuple[int, int, str, str]], rule: str = BASE
) -> Iterator[LeftOut]:
    """Yield the faulty entries of a list: (entry, item, title, fault; empty if none).

    The next entry without a fault is played in their place.
    """
    playable = [index for index, (_, _, _, fault) in enumerate(entries) if not fault]
    for index, (_, media, title, fault) in enumerate(entries):
        if fault and playable:
            after = next(
                (candidate for candidate in playable if candidate > index), playable[0]
            )
            yield LeftOut(media, title, fault, entries[after][0], rule)
