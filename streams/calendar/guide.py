"""A channel's public guide: XMLTV for players, and now-and-next data for overlays."""

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

#: The span of a guide, from now.
BACK: Final = timedelta(days=1)
AHEAD: Final = timedelta(days=7)
#: Seconds for which a computed guide is fresh.
GUIDE_TTL_S: Final = 60
CONTENT_TYPE: Final = "application/xml; charset=utf-8"
#: While a new one is computed, the old one is served up to this multiple of its lifetime.
MAX_STALE_FACTOR: Final = 5
#: Further entries after the next one for overlays, if they start within `SOON`.
AFTER_NEXT: Final = 3
SOON: Final = timedelta(days=1)
#: Rows per query.
BATCH_ROWS: Final = 500

#: Limit of the items computed ahead: a guide of very short items ends earlier.
MAX_PICKS: Final = 12_000
#: Seconds for which the now-and-next data is fresh: the polling interval of overlays.
NOW_TTL_S: Final = 1

#: One lock per channel and purpose: a value is computed by one thread at a time.
_locks: Final[dict[str, Lock]] = {}

T = TypeVar("T")


def xmltv(channel: Channel, now: datetime) -> bytes:
    """Returns the channel's guide, usually at most `GUIDE_TTL_S` seconds old."""
    name = f"guide-{channel.pk}"
    return cached_or_made(name, name, GUIDE_TTL_S, lambda: _render(channel, now))


def cached_or_made(name: str, lock: str, seconds: int, make: Callable[[], T]) -> T:
    """Returns the cached value; if it is stale, one of the callers computes a new one.

    The other callers get the stale value meanwhile, and wait only if there is none.
    """
    both = {name, f"{name}-fresh"}
    cached = cache.get_many(both)
    if both > cached.keys():
        guard = _locks.setdefault(lock, Lock())
        if guard.acquire(blocking=name not in cached):
            try:
                # Another thread may have computed it while this one waited for the lock.
                cached = cache.get_many(both)
                if both > cached.keys():
                    cached[name] = make()
                    cache.set(name, cached[name], seconds * MAX_STALE_FACTOR)
                    cache.set(f"{name}-fresh", "yes", seconds)
            finally:
                guard.release()
    kept: T = cached[name]
    return kept


def _render(channel: Channel, now: datetime) -> bytes:
    shown = programme(channel, now)
    items = _items(airing.media for airing in shown if airing.media is not None)
    return document(
        f"{channel.slug}.streamsite",
        channel.name,
        (_listing(airing, items, channel.name) for airing in shown),
        channel.zone,
    )


def programme(channel: Channel, now: datetime) -> list[Airing]:
    """Returns the programme of the last day, now and the next seven days."""
    # A forecast cuts its last item; the extra time keeps the guide's last programme whole.
    coming = forecast.compute(channel, now, now + AHEAD + SOON)
    on = channel.desired_state == Channel.DesiredState.ON
    until = coming.spans[0][0] if on and coming.spans else now
    begun = takewhile(lambda pick: pick.begins < now + AHEAD, coming.picks())
    ahead = islice(begun, MAX_PICKS)
    return list(joined(chain(_aired(channel, now, until), airings(ahead))))


def _aired(channel: Channel, now: datetime, until: datetime) -> Iterator[Airing]:
    """Yields entries of the as-run log. The item on air ends where the forecast starts."""
    rows = AsRun.objects.filter(run__channel=channel, started_at__lt=now).filter(
        Q(ended_at__isnull=True) | Q(ended_at__gt=now - BACK)
    )
    since = None
    for row in rows.order_by("started_at", "pk"):
        # If two workers wrote the log, their entries may overlap: cut the later one.
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
    items: dict[int, _Item] = {}
    pks = sorted(set(media))
    for start in range(0, len(pks), BATCH_ROWS):
        rows = MediaItem.objects.filter(pk__in=pks[start : start + BATCH_ROWS])
        for row in rows.prefetch_related("tags").only("key", "age_rating"):
            tags = tuple(tag.name for tag in row.tags.all())
            items[row.pk] = _Item(row.key, row.age_rating, tags)
    return items


def _listing(airing: Airing, items: dict[int, _Item], name: str) -> Listing:
    if airing.kind is not Kind.ITEM:
        # Filler and slates get the channel's name: they are no programme of their own.
        return Listing(name, airing.begins, airing.ends)
    item = items.get(airing.media or 0)
    gone_on = f"Continues at {formatting.span(float(airing.into))}." if airing.into else ""
    if item is None:
        return Listing(airing.title, airing.begins, airing.ends, gone_on)
    folder, _, _ = item.key.rpartition("/")
    return Listing(
        airing.title,
        airing.begins,
        airing.ends,
        gone_on,
        # Without tags, the folder's name is the category.
        item.tags or ((folder.rpartition("/")[2],) if folder else ()),
        item.rating,
    )


# ---- now and next ----------------------------------------------------------------------------


def now_next(channel: Channel, now: datetime) -> dict[str, Any]:
    """Returns the measured item on air and the next ones, as JSON values for programs.

    `now` is null if nothing is on air or if that is unknown; `state` tells the two apart.
    Times are ISO 8601 in UTC, `in_point` is in seconds. Computed once in `NOW_TTL_S` seconds.
    """
    name = f"now-{channel.pk}"
    return cached_or_made(name, name, NOW_TTL_S, lambda: _now_next(channel, now))


def _now_next(channel: Channel, now: datetime) -> dict[str, Any]:
    channel_report = report(now, slug=channel.slug).channels[0]
    names = {
        BASE: "Base playlist",
        FILLER: "Filler",
        FAILOVER: "Failover",
        TAKEOVER: "Takeover",
    }
    names |= {f"block-{block.pk}": block.name for block in channel.blocks.all()}
    later = [_later(airing, names, channel) for airing in coming(channel, channel_report, now)]
    return {
        "channel": {"slug": channel.slug, "name": channel.name},
        "state": channel_report.state,
        "now": _present(channel_report, names),
        "next": later[0] if later else None,
        "later": later[1:],
    }


def _present(channel_report: ChannelReport, names: dict[str, str]) -> dict[str, Any] | None:
    if channel_report.now is None:
        return None
    row = (
        AsRun.objects.filter(run=channel_report.run.id, ended_at=None).first()
        if channel_report.run
        else None
    )
    # The as-run log is written slightly later than the state.
    same = row if row is not None and row.title == channel_report.now.title else None
    return {
        "title": channel_report.now.title,
        "kind": channel_report.now.kind or Kind.ITEM.value,
        "since": channel_report.now.since,
        "until": channel_report.now.until,
        "in_point": same.in_point if same else 0,
        "rule": names.get(same.rule, "") if same else "",
    }


def coming(channel: Channel, channel_report: ChannelReport, now: datetime) -> Sequence[Airing]:
    """Returns the next items. Computed once per item, and at most once a minute."""
    since, until = (
        (channel_report.now.since, channel_report.now.until)
        if channel_report.now
        else (None, None)
    )
    moments = [at.timestamp() if at else None for at in (since, until)]
    name = f"next-{channel.pk}-{channel_report.desired_state}-{moments}".replace(" ", "")
    lock = f"next-{channel.pk}"
    upcoming = cached_or_made(name, lock, GUIDE_TTL_S, lambda: _next(channel, now))
    # In a cached result, the first items may have ended already.
    return [airing for airing in upcoming if airing.ends > now]


def _next(channel: Channel, now: datetime) -> list[Airing]:
    ahead = forecast.compute(channel, now, now + SOON)
    picks = islice(ahead.picks(), MAX_PICKS)
    return list(islice(airings(picks), 1 + AFTER_NEXT))


def _later(airing: Airing, names: dict[str, str], channel: Channel) -> dict[str, Any]:
    return {
        "title": airing.title or channel.name,
        "kind": airing.kind.value,
        "at": airing.begins,
        "rule": names.get(airing.rule, ""),
    }
