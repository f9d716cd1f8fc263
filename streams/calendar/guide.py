"""What viewers are told of a channel: the guide for players, and what is on now and next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import chain, islice, takewhile
from threading import Lock
from typing import Any, Final, TypeVar

from django.core.cache import cache
from django.db.models import Q

from media_library.models import MediaItem
from streams.models import AsRun, Channel
from streams.monitoring import formatting
from streams.monitoring.report import ChannelReport, report
from streams.planning import forecast
from streams.playout.contract.turn import FAILOVER, TAKEOVER
from streams.programme.item import Kind
from streams.programme.lookahead import Airing, airings, joined
from streams.programme.model import BASE, FILLER
from streams.programme.xmltv import Listing, document

#: What a guide spans, from now.
BACK: Final = timedelta(days=1)
AHEAD: Final = timedelta(days=7)
#: Seconds for which a guide is not computed again.
KEPT: Final = 60
#: While it is computed, the one before is told, until it is so many times as old.
OLDEST: Final = 5
#: After what is next, so many more are told to overlays, if they come this soon.
AFTER_NEXT: Final = 3
SOON: Final = timedelta(days=1)
#: Rows in one query.
CHUNK: Final = 500

#: Of all that is ahead no more is computed: a guide of very short items ends earlier.
MOST_PICKS: Final = 12_000
#: Seconds for which what is on now is not looked up again: as often as overlays may ask.
KEPT_NOW: Final = 1

#: Of each channel and purpose: one is computed at a time.
_locks: Final[dict[str, Lock]] = {}

T = TypeVar("T")


def xmltv(channel: Channel, now: datetime) -> bytes:
    """The channel's guide, hardly older than `KEPT` seconds."""
    name = f"guide-{channel.pk}"
    return _kept(name, name, KEPT, lambda: _made(channel, now))


def _kept(name: str, lock: str, seconds: int, make: Callable[[], T]) -> T:
    """What was made a while ago, or else is made now, by one of those who ask for it.

    The others get the old one meanwhile, and wait only where there is none.
    """
    both = {name, f"{name}-fresh"}
    known = cache.get_many(both)
    if both > known.keys():
        guard = _locks.setdefault(lock, Lock())
        if guard.acquire(blocking=name not in known):
            try:
                # Whoever had to wait finds it made.
                known = cache.get_many(both)
                if both > known.keys():
                    known[name] = make()
                    cache.set(name, known[name], seconds * OLDEST)
                    cache.set(f"{name}-fresh", "yes", seconds)
            finally:
                guard.release()
    kept: T = known[name]
    return kept


def _made(channel: Channel, now: datetime) -> bytes:
    told = programme(channel, now)
    items = _items(each.media for each in told if each.media is not None)
    return document(
        f"{channel.slug}.streamsite",
        channel.name,
        (_listing(each, items, channel.name) for each in told),
        channel.zone,
    )


def programme(channel: Channel, now: datetime) -> list[Airing]:
    """What was on air in the last day, what is, and what will be in the next seven."""
    # A forecast is cut where it ends; the last programme of the guide is not.
    coming = forecast.compute(channel, now, now + AHEAD + SOON)
    on = channel.order == Channel.Order.ON
    until = coming.spans[0][0] if on and coming.spans else now
    begun = takewhile(lambda pick: pick.begins < now + AHEAD, coming.picks())
    ahead = islice(begun, MOST_PICKS)
    return list(joined(chain(_aired(channel, now, until), airings(ahead))))


def _aired(channel: Channel, now: datetime, until: datetime) -> Iterator[Airing]:
    """From the as-run log. What is on air ends when the forecast begins."""
    rows = AsRun.objects.filter(run__channel=channel, started_at__lt=now).filter(
        Q(ended_at__isnull=True) | Q(ended_at__gt=now - BACK)
    )
    since = None
    for row in rows.order_by("started_at", "pk"):
        # One clock after the other: a log that was written twice must not overlap.
        begins = row.started_at if since is None else max(since, row.started_at)
        ends = until if row.ended_at is None else row.ended_at
        if ends > begins:
            since = ends
            yield Airing(
                Kind(row.kind),
                row.title,
                begins,
                ends,
                row.rule,
                Fraction(row.in_point).limit_denominator(1000),
                row.item_id,
            )


@dataclass(frozen=True, slots=True)
class _Item:
    key: str
    rating: int | None
    tags: tuple[str, ...]


def _items(media: Iterable[int]) -> dict[int, _Item]:
    found: dict[int, _Item] = {}
    wanted = sorted(set(media))
    for start in range(0, len(wanted), CHUNK):
        rows = MediaItem.objects.filter(pk__in=wanted[start : start + CHUNK])
        for row in rows.prefetch_related("tags").only("key", "age_rating"):
            tags = tuple(tag.name for tag in row.tags.all())
            found[row.pk] = _Item(row.key, row.age_rating, tags)
    return found


def _listing(airing: Airing, items: dict[int, _Item], name: str) -> Listing:
    if airing.kind is not Kind.ITEM:
        # What fills the gaps is not a programme anybody looks for.
        return Listing(name, airing.begins, airing.ends)
    item = items.get(airing.media or 0)
    gone_on = f"Goes on at {formatting.span(float(airing.into))}." if airing.into else ""
    if item is None:
        return Listing(airing.title, airing.begins, airing.ends, gone_on)
    folder, _, _ = item.key.rpartition("/")
    return Listing(
        airing.title,
        airing.begins,
        airing.ends,
        gone_on,
        # Where nobody has given a tag, its folder tells what it is.
        item.tags or ((folder.rpartition("/")[2],) if folder else ()),
        item.rating,
    )


# ---- now and next ----------------------------------------------------------------------------


def now_next(channel: Channel, now: datetime) -> dict[str, Any]:
    """What is on air, as measured, and what comes next, for programs.

    `now` is null where nothing is on air and where nobody knows: `state` says which. Moments
    are ISO 8601 in UTC, `in_point` is in seconds. Looked up once in `KEPT_NOW` seconds.
    """
    name = f"now-{channel.pk}"
    return _kept(name, name, KEPT_NOW, lambda: _now_next(channel, now))


def _now_next(channel: Channel, now: datetime) -> dict[str, Any]:
    told = report(now, slug=channel.slug).channels[0]
    names = {
        BASE: "Base playlist",
        FILLER: "Filler",
        FAILOVER: "Failover",
        TAKEOVER: "Takeover",
    }
    names |= {f"block-{block.pk}": block.name for block in channel.blocks.all()}
    later = [_later(each, names, channel) for each in coming(channel, told, now)]
    return {
        "channel": {"slug": channel.slug, "name": channel.name},
        "state": told.state,
        "now": _present(told, names),
        "next": later[0] if later else None,
        "later": later[1:],
    }


def _present(told: ChannelReport, names: dict[str, str]) -> dict[str, Any] | None:
    if told.now is None:
        return None
    row = AsRun.objects.filter(run=told.run.id, ended_at=None).first() if told.run else None
    # The log is written a moment later than the state.
    same = row if row is not None and row.title == told.now.title else None
    return {
        "title": told.now.title,
        "kind": told.now.kind or Kind.ITEM.value,
        "since": told.now.since,
        "until": told.now.until,
        "in_point": same.in_point if same else 0,
        "rule": names.get(same.rule, "") if same else "",
    }


def coming(channel: Channel, told: ChannelReport, now: datetime) -> Sequence[Airing]:
    """What comes next, and some more. Computed once an item, and once a minute."""
    since, until = (told.now.since, told.now.until) if told.now else (None, None)
    moments = [at.timestamp() if at else None for at in (since, until)]
    name = f"next-{channel.pk}-{told.order}-{moments}".replace(" ", "")
    lock = f"next-{channel.pk}"
    known = _kept(name, lock, KEPT, lambda: _next(channel, now))
    # Of one that was computed a while ago, the first may have begun.
    return [each for each in known if each.ends > now]


def _next(channel: Channel, now: datetime) -> list[Airing]:
    ahead = forecast.compute(channel, now, now + SOON)
    found = islice(ahead.picks(), MOST_PICKS)
    return list(islice(airings(found), 1 + AFTER_NEXT))


def _later(airing: Airing, names: dict[str, str], channel: Channel) -> dict[str, Any]:
    return {
        "title": airing.title or channel.name,
        "kind": airing.kind.value,
        "at": airing.begins,
        "rule": names.get(airing.rule, ""),
    }
