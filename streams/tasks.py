"""Tasks of the queue: housekeeping. The node's supervisor is `streams.node.task`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from media_library.actions import request_prepare
from media_library.house_format import HouseFormat
from media_library.jobs import slots
from media_library.models import MediaItem, PlaylistEntry, PreparedCopy
from streams.control import demo
from streams.drill import runner as drills
from streams.models import Channel, Drill
from streams.monitoring import nodes, warnings
from streams.planning import forecast
from streams.planning.database_clock import clock_ahead
from streams.platforms import reports
from streams.programme.due import due
from streamsite.processes.task_queue import enqueue

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Period for which the programme is computed to find when its items are due.
LOOKAHEAD: Final = timedelta(days=1)
#: Change of a due time that is worth a write: the channel's clock runs on, and most items of a
#: playlist move with it.
DUE_STEP: Final = timedelta(minutes=1)
#: Maximum items requested in one run, soonest first; the others follow a minute later.
MAX_REQUESTS: Final = 500
#: Rows per query.
CHUNK: Final = 500
#: Sorts behind all due times.
NEVER: Final = datetime.max.replace(tzinfo=UTC)


def make_samples() -> str:
    """Make the Demo channel's programme. Runs once a minute until it exists."""
    with slots.slot("samples", 1) as free:
        return demo.make() if free else "Another worker is doing it."


def prepare_playlists() -> str:
    """Queue the preparation of items that channels play, ordered by when they are due.

    Includes items that changed since they were prepared. Copies that failed or were cancelled
    are left to people.
    """
    now = timezone.now()
    requested = moved = 0
    plan, unsure = _items_by_format(now)
    for house_format, items in plan.items():
        late: list[PreparedCopy] = []
        for item, copy in _soonest_first(house_format, items):
            due_at = items[item.pk]
            changed = copy is not None and copy.source_etag != item.etag
            if copy is None or (changed and item.status != MediaItem.Status.NEW):
                request_prepare(item, house_format, due_at=due_at)
                requested += 1
            elif copy.status == PreparedCopy.Status.QUEUED and _worth_writing(
                copy.due_at, due_at, now
            ):
                copy.due_at = due_at
                late.append(copy)
            if requested >= MAX_REQUESTS:
                break
        # Only this column: workers write the others.
        PreparedCopy.objects.bulk_update(late, ["due_at"], batch_size=CHUNK)
        moved += len(late)
        if house_format not in unsure:
            moved += _no_longer_due(
                PreparedCopy.objects.filter(house_format=house_format.signature), items
            )
    used = [house_format.signature for house_format in plan]
    moved += _no_longer_due(PreparedCopy.objects.exclude(house_format__in=used), {})
    return f"{requested} requested, {moved} with a new due time."


def _no_longer_due(
    copies: QuerySet[PreparedCopy], due_items: dict[int, datetime | None]
) -> int:
    """Clear the due time of items that no channel plays any more. Returns their number."""
    queued = copies.filter(status=PreparedCopy.Status.QUEUED).exclude(due_at=None)
    stale = [pk for pk, item in queued.values_list("pk", "item") if item not in due_items]
    for start in range(0, len(stale), CHUNK):
        queued.filter(pk__in=stale[start : start + CHUNK]).update(due_at=None)
    return len(stale)


def _soonest_first(
    house_format: HouseFormat, due_items: dict[int, datetime | None]
) -> Iterator[tuple[MediaItem, PreparedCopy | None]]:
    """Yield the items without a fault, each with its copy; items never due come last."""
    order = sorted(due_items, key=lambda media: due_items[media] or NEVER)
    for start in range(0, len(order), CHUNK):
        chunk = order[start : start + CHUNK]
        rows = PreparedCopy.objects.filter(house_format=house_format.signature, item__in=chunk)
        copies = {copy.item_id: copy for copy in rows}
        items = MediaItem.objects.exclude(status=MediaItem.Status.FAULT).in_bulk(chunk)
        yield from ((items[pk], copies.get(pk)) for pk in chunk if pk in items)


def _items_by_format(
    now: datetime,
) -> tuple[dict[HouseFormat, dict[int, datetime | None]], set[HouseFormat]]:
    """Return, by house format, the items that channels play and when each is due first.

    Also returns the house formats whose items are incomplete, because a channel's programme
    could not be computed.
    """
    unsure: set[HouseFormat] = set()
    by_format: dict[HouseFormat, dict[int, datetime | None]] = {}
    for channel in Channel.objects.select_related("state"):
        items = by_format.setdefault(channel.house_format, {})
        try:
            times = _due(channel, now)
        except Exception:
            # One channel's error must not keep the others' items from being prepared.
            log.exception("prepare.programme_failed", channel=channel.slug)
            unsure.add(channel.house_format)
            continue
        for media, at in times.items():
            earlier = items.get(media)
            items[media] = min(earlier, at) if earlier and at else earlier or at
    return by_format, unsure


def _due(channel: Channel, now: datetime) -> dict[int, datetime | None]:
    """Return when each item of a channel is due; None if it is off without a schedule."""
    coming = forecast.compute(channel, now, now + LOOKAHEAD)
    programme = due(coming.programme, coming.picks(), coming.until, coming.cursors)
    # The filler may be needed at any time. Its unprepared items are in no programme, although
    # they are needed most.
    fillers = PlaylistEntry.objects.filter(playlist=channel.filler_id).values_list("item")
    times = programme | {media: now for (media,) in fillers}
    knows = channel.desired_state == Channel.DesiredState.ON or bool(coming.spans)
    return {media: at if knows else None for media, at in times.items()}


def _worth_writing(before: datetime | None, after: datetime | None, now: datetime) -> bool:
    """Whether the change is worth a write."""
    if before is None or after is None:
        return before != after
    # Overdue items are urgent, no matter by how much.
    return max(before, after) > now and abs(after - before) > DUE_STEP


def verify_ahead() -> str:
    """Detect problems of the next day's programme and report them."""
    return warnings.verify(timezone.now())


def report_nodes() -> str:
    """Report nodes that were lost or are back, each once. Runs once a minute."""
    return nodes.report_lost(timezone.now() - timedelta(seconds=clock_ahead()))


def check_platforms() -> str:
    """Have the platforms asked what viewers get. Runs once a minute."""
    return reports.enqueue_due()


def check_account(account: int) -> str:
    """Ask one account's platform. An account that stalls holds up no other."""
    return reports.check(account)


def run_drills(tries: int = 0) -> str:
    """Run the drills ordered on this node, and close abandoned ones. Runs once a minute.

    The queue is shared by all nodes: a message for another node is handed on, `tries` times.
    """
    drills.close_abandoned()
    ordered = Drill.objects.filter(status=Drill.Status.ORDERED)
    count = 0
    for pk in ordered.filter(node=settings.NODE_NAME).values_list("pk", flat=True):
        if (row := drills.take(pk)) is not None:
            drills.run(row, settings.RUN_DIR)
            count += 1
    if tries > 0 and ordered.exclude(node=settings.NODE_NAME).exists():
        enqueue("streams.tasks.run_drills", tries - 1)
    return f"{count} drills run."
