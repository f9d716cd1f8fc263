"""The preflight of this node: every check of a channel that shall go on the air.

What lies on this machine is checked first, for it decides: without FFmpeg, with a full disk or
with nothing to play a start can't succeed. What lies out in the world is checked afterwards and
only told: for a storage or a destination that is away there are failover and retries, and they
are better than no channel. Whatever fails is tried again until it is well, or until the channel
plays all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import structlog
from django.db import connection
from django.db.models import Q

from media_library import storage
from media_library.conform import slate
from media_library.ffmpeg.runner import ToolError
from media_library.sync.empty_guard import emptied
from streams.models import Channel, ChannelState
from streams.monitoring import reachability, warnings
from streams.monitoring.preflight import Check, checked, local_findings
from streams.monitoring.report import RETRIED
from streams.node.slate_maker import BEING_MADE
from streams.planning import plans
from streams.playout.ffmpeg import process
from streams.programme.model import Entry
from streams.programme.schedule import preview

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds after which what failed is checked again.
RETRY_S: Final = RETRIED.total_seconds()
#: Seconds that a start waits for what is checked on this machine.
LOCAL_TIMEOUT_S: Final = 15.0
#: Channels that are checked on this machine at a time.
LOCAL_THREADS: Final = 8
#: Items that are looked for before the start: what is wrong further ahead is forewarned of.
ITEMS_CHECKED: Final = 5
#: How far these are looked for.
ITEMS_HORIZON: Final = timedelta(days=1)
#: Seconds the storage may be asked about them.
STORAGE_TIMEOUT_S: Final = 10.0

#: Which order of a channel a preflight was for: another one is checked at once.
_Order = tuple[datetime | None, int]


@dataclass(slots=True)
class _Flight:
    order: _Order
    #: When it was checked last (monotonic).
    at: float
    checks: tuple[Check, ...]
    #: The checks out in the world are under way.
    pending: bool = True


class Preflights:
    """`look` is called every tick; `held` by the ledger, in another thread."""

    def __init__(self, node: str, changed: Callable[[], object]) -> None:
        self.node = node
        #: Called when the ledger may take up a channel that it was told to hold.
        self.changed = changed
        #: The ledger waits for a channel's preflight.
        self.requested = threading.Event()
        self._flights: dict[int, _Flight] = {}
        #: Since when the ledger waits.
        self._waiting_since: dict[tuple[int, _Order], float] = {}
        self._lock = threading.Lock()
        #: What is being checked on this machine.
        self._under_way: set[tuple[int, _Order]] = set()
        self._slots = threading.BoundedSemaphore(LOCAL_THREADS)
        # A thread of its own: while a storage is waited for, the next Start is not.
        self._world = ThreadPoolExecutor(1, "preflight")

    def held(self, channel: Channel) -> str:
        """Why the channel must not be taken up; empty when it may."""
        order = _order(channel)
        with self._lock:
            flight = self._flights.get(channel.pk)
            if flight is not None and flight.order == order:
                return " ".join(c.sentence for c in flight.checks if c.stops and not c.ok)
            since = self._waiting_since.setdefault((channel.pk, order), time.monotonic())
        self.requested.set()
        # A disk that hangs must not keep it off the air: FFmpeg may need nothing of it.
        return (
            "" if time.monotonic() - since > LOCAL_TIMEOUT_S else "The preflight is under way."
        )

    def tick(self, now: datetime, mono: float) -> None:
        """Check what is ordered on and was not checked, or not found well."""
        self.requested.clear()
        ours = (
            Q(state=None) | Q(state__owner__in=("", self.node)) | Q(state__lease_until__lt=now)
        )
        ordered = Channel.objects.filter(ours, order=Channel.Order.ON).select_related("state")
        channels = {channel.pk: channel for channel in ordered}
        with self._lock:
            for pk in self._flights.keys() - channels.keys():
                del self._flights[pk]
            waiting = {(channel.pk, _order(channel)) for channel in channels.values()}
            self._waiting_since = {
                key: at for key, at in self._waiting_since.items() if key in waiting
            }
        due = [channel for channel in channels.values() if self._due(channel, now, mono)]
        for channel in due:
            key = (channel.pk, _order(channel))
            with self._lock:
                if key in self._under_way:
                    continue
                self._under_way.add(key)
            self._begin(channel, now, mono)

    def _begin(self, *args: object) -> None:
        """Check in a thread of its own: neither the other channels nor the hours wait for it.

        A daemon: the end of the process does not wait for a disk that hangs.
        """
        threading.Thread(target=self._check, args=args, name="preflight", daemon=True).start()

    def close(self) -> None:
        self._world.shutdown(wait=False, cancel_futures=True)

    def _due(self, channel: Channel, now: datetime, mono: float) -> bool:
        flight = self._flights.get(channel.pk)
        if flight is None or flight.order != _order(channel):
            return True
        # With the whole world away, twenty channels take minutes: none is queued twice.
        fails = not flight.pending and any(not check.ok for check in flight.checks)
        # What plays tells of its outputs and items by itself; and its destinations have had
        # their connections.
        return fails and not _plays(channel, now) and mono - flight.at >= RETRY_S

    def _check(self, channel: Channel, now: datetime, mono: float) -> None:
        try:
            with self._slots:
                self._check_here(channel, now, mono)
        except Exception:
            # Such as the database's: it is due again at the next look.
            log.exception("preflight.failed", channel=channel.slug)
        finally:
            with self._lock:
                self._under_way.discard((channel.pk, _order(channel)))
            connection.close()

    def _check_here(self, channel: Channel, now: datetime, mono: float) -> None:
        try:
            here = tuple(on_this_machine(channel))
        except Exception:
            # Nothing that was thought of. It must hold up neither this channel nor the others.
            log.exception("preflight.failed", channel=channel.slug)
            sentence = "The preflight itself has failed: the log says why."
            here = (Check("preflight", ok=False, sentence=sentence, stops=False),)
        flight = _Flight(_order(channel), mono, here)
        with self._lock:
            before = self._flights.get(channel.pk)
            if before is not None and before.at > mono:
                # A newer order was checked while this check hung.
                return
            self._flights[channel.pk] = flight
        _write(channel, flight.checks, now)
        self._log(channel, before, flight)
        self.changed()
        self._world.submit(self._check_world, channel, flight, now)

    def _check_world(self, channel: Channel, flight: _Flight, now: datetime) -> None:
        try:
            world = tuple(in_the_world(channel, now))
            with self._lock:
                # Replaced, where another order came meanwhile.
                current = self._flights.get(channel.pk) is flight
                flight.checks, flight.pending = (*flight.checks, *world), False
            if current:
                _write(channel, flight.checks, now)
        except Exception:
            # Nobody waits for this thread's answer, so nobody else would tell.
            log.exception("preflight.failed", channel=channel.slug)
            flight.pending = False
        finally:
            connection.close()

    def _log(self, channel: Channel, before: _Flight | None, flight: _Flight) -> None:
        """Once for as long as it stays the same."""
        faults = [check.sentence for check in flight.checks if not check.ok]
        previous = [] if before is None else [c.sentence for c in before.checks if not c.ok]
        if faults and not set(faults) <= set(previous):
            log.warning("preflight.faults", channel=channel.slug, faults=faults)


def _plays(channel: Channel, now: datetime) -> bool:
    state: ChannelState | None = getattr(channel, "state", None)
    return state is not None and state.plays(now)


def _order(channel: Channel) -> _Order:
    return channel.ordered_at, channel.restarts


def _write(channel: Channel, checks: tuple[Check, ...], now: datetime) -> None:
    row = {"checks": [asdict(check) for check in checks], "checked_at": now}
    if not ChannelState.objects.filter(pk=channel.pk).update(**row):
        ChannelState.objects.get_or_create(channel=channel, defaults=row)


def runs_already(channel: int) -> bool:
    """Whether processes of an earlier supervisor play it: these are taken over, not started."""
    folder = process.channel_folder(plans.tools().run_dir, channel)
    return any(process.born(record.pid) == record.born for record in process.records(folder))


# ---- the checks ------------------------------------------------------------------------------


def on_this_machine(channel: Channel) -> Iterator[Check]:
    """What decides. Quick: nothing is made or waited for."""
    yield from checked(local_findings(channel, attended=False))
    yield _slate(channel)


def _slate(channel: Channel) -> Check:
    try:
        if not slate.tested(channel.house_format.bare):
            # The ledger has it made, which takes seconds, and waits for it.
            return Check("slate", ok=False, sentence=BEING_MADE, stops=False)
    except ToolError as error:
        # It is there, and may be as good as it ever was.
        sentence = f"The slate can't be tested: {error}"
        return Check("slate", ok=False, sentence=sentence, stops=False)
    return Check("slate", ok=True, sentence="The slate is on this machine's disk, and plays.")


def in_the_world(channel: Channel, now: datetime) -> Iterator[Check]:
    """What is told. Bounded: some 20 s where everything is away."""
    fault = storage.unreachable() or emptied()
    yield Check("storage", not fault, fault or "The storage answers.", stops=False)
    yield _items(channel, now, away=bool(fault))
    for output, trouble in reachability.outputs(list(channel.outputs.filter(enabled=True))):
        well = f"Output “{output.name}”: {output.address} can be reached."
        yield Check(f"output-{output.pk}", not trouble, trouble or well, stops=False)


def _items(channel: Channel, now: datetime, *, away: bool) -> Check:
    coming = preview(
        plans.programme(channel, now), now, now + ITEMS_HORIZON, plans.cursors(channel)
    )
    entries: dict[str, Entry] = {}
    # A list may be shorter, and the same item over and over.
    for pick in islice(coming, ITEMS_CHECKED * 4):
        if pick.entry is not None and len(entries) < ITEMS_CHECKED:
            entries.setdefault(pick.entry.item.key, pick.entry)
    if not entries:
        return Check("items", ok=False, sentence="Nothing will play today.", stops=False)
    there = {} if away else warnings.in_storage(list(entries), STORAGE_TIMEOUT_S)
    missing = [entry.item.title for key, entry in entries.items() if there.get(key) is False]
    if missing:
        names = ", ".join(f"“{title}”" for title in missing)
        sentence = f"Not in the storage: {names}. What comes next is played in its place."
        return Check("items", ok=False, sentence=sentence, stops=False)
    if any(there.get(key) is None for key in entries):
        sentence = "Nobody knows whether the next items are there: the storage does not say."
        return Check("items", ok=False, sentence=sentence, stops=False)
    what = "The next item is" if len(entries) == 1 else f"The next {len(entries)} items are"
    return Check("items", ok=True, sentence=f"{what} there.", stops=False)
