"""Runs the preflight of this node: every check of a channel that is ordered on.

Local checks come first and decide: without FFmpeg, with a full disk or with nothing to play a
start can't succeed. Network checks follow and are only reported: failover and retries handle a
storage or destination that is down, and that is better than no channel. Failed checks are
repeated until they pass, or until the channel plays anyway.
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
from streams.monitoring.report import PREFLIGHT_RETRY
from streams.node.slate_maker import BEING_MADE
from streams.planning import plans
from streams.playout.ffmpeg import process
from streams.programme.model import Entry
from streams.programme.schedule import preview

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Seconds after which failed checks are repeated.
RETRY_S: Final = PREFLIGHT_RETRY.total_seconds()
#: Seconds that a start waits for the local checks.
LOCAL_TIMEOUT_S: Final = 15.0
#: Channels whose local checks run at the same time.
LOCAL_THREADS: Final = 8
#: Items that are checked before the start: later ones are covered by the upcoming problems.
ITEMS_CHECKED: Final = 5
#: Period in which these items are searched.
ITEMS_HORIZON: Final = timedelta(days=1)
#: Seconds for the storage to confirm them.
STORAGE_TIMEOUT_S: Final = 10.0

#: Identifies the order that a preflight was for: a new order is checked at once.
_Order = tuple[datetime | None, int]


@dataclass(slots=True)
class _Flight:
    order: _Order
    #: When it was last checked (monotonic).
    at: float
    checks: tuple[Check, ...]
    #: The network checks are in progress.
    pending: bool = True


class Preflights:
    """Runs the preflights. `tick` is called regularly, `held` by the ledger's thread."""

    def __init__(self, node: str, changed: Callable[[], object]) -> None:
        self.node = node
        #: Called when the ledger may start a channel that was held.
        self.changed = changed
        #: Set while the ledger waits for a channel's preflight.
        self.requested = threading.Event()
        self._flights: dict[int, _Flight] = {}
        #: Since when the ledger waits.
        self._waiting_since: dict[tuple[int, _Order], float] = {}
        self._lock = threading.Lock()
        #: Channels whose local checks are in progress.
        self._under_way: set[tuple[int, _Order]] = set()
        self._slots = threading.BoundedSemaphore(LOCAL_THREADS)
        # A thread of its own: the next start must not wait for a storage.
        self._world = ThreadPoolExecutor(1, "preflight")

    def blocked_by(self, channel: Channel) -> str:
        """Why the channel must not be started; empty if it may."""
        order = _order(channel)
        with self._lock:
            flight = self._flights.get(channel.pk)
            if flight is not None and flight.order == order:
                return " ".join(c.sentence for c in flight.checks if c.stops and not c.ok)
            since = self._waiting_since.setdefault((channel.pk, order), time.monotonic())
        self.requested.set()
        # A disk that hangs must not keep it off the air: FFmpeg may not need the disk.
        return "" if time.monotonic() - since > LOCAL_TIMEOUT_S else "The preflight is running."

    def tick(self, now: datetime, mono: float) -> None:
        """Check channels ordered on that were not checked yet, or whose checks failed."""
        self.requested.clear()
        ours = (
            Q(state=None) | Q(state__owner__in=("", self.node)) | Q(state__lease_until__lt=now)
        )
        ordered = Channel.objects.filter(
            ours, desired_state=Channel.DesiredState.ON
        ).select_related("state")
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
        """Check in a thread of its own: neither other channels nor the hours wait for it.

        A daemon thread: the end of the process does not wait for a disk that hangs.
        """
        threading.Thread(target=self._check, args=args, name="preflight", daemon=True).start()

    def close(self) -> None:
        self._world.shutdown(wait=False, cancel_futures=True)

    def _due(self, channel: Channel, now: datetime, mono: float) -> bool:
        flight = self._flights.get(channel.pk)
        if flight is None or flight.order != _order(channel):
            return True
        # If everything is unreachable, twenty channels take minutes: none is queued twice.
        fails = not flight.pending and any(not check.ok for check in flight.checks)
        # A playing channel reports its outputs and items itself, and its destinations already
        # have their connections.
        return fails and not _plays(channel, now) and mono - flight.at >= RETRY_S

    def _check(self, channel: Channel, now: datetime, mono: float) -> None:
        try:
            with self._slots:
                self._check_here(channel, now, mono)
        except Exception:
            # For example a database error: it is due again at the next tick.
            log.exception("preflight.failed", channel=channel.slug)
        finally:
            with self._lock:
                self._under_way.discard((channel.pk, _order(channel)))
            connection.close()

    def _check_here(self, channel: Channel, now: datetime, mono: float) -> None:
        try:
            here = tuple(on_this_machine(channel))
        except Exception:
            # An unexpected error must hold up neither this channel nor the others.
            log.exception("preflight.failed", channel=channel.slug)
            sentence = "The preflight itself has failed: see the log for the reason."
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
                # False if another order came meanwhile.
                current = self._flights.get(channel.pk) is flight
                flight.checks, flight.pending = (*flight.checks, *world), False
            if current:
                _write(channel, flight.checks, now)
        except Exception:
            # Nobody waits for this thread's result, so nobody else would report the error.
            log.exception("preflight.failed", channel=channel.slug)
            flight.pending = False
        finally:
            connection.close()

    def _log(self, channel: Channel, before: _Flight | None, flight: _Flight) -> None:
        """Log faults once for as long as they stay the same."""
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
    """Whether processes of an earlier supervisor play it, which are adopted, not started."""
    folder = process.channel_folder(plans.tools().run_dir, channel)
    return any(process.born(record.pid) == record.born for record in process.records(folder))


# ---- the checks ------------------------------------------------------------------------------


def on_this_machine(channel: Channel) -> Iterator[Check]:
    """Yield the local checks, which decide. Quick: nothing is made or waited for."""
    yield from checked(local_findings(channel, attended=False))
    yield _slate(channel)


def _slate(channel: Channel) -> Check:
    try:
        if not slate.tested(channel.house_format.bare):
            # The ledger has the slate made, which takes seconds, and waits for it.
            return Check("slate", ok=False, sentence=BEING_MADE, stops=False)
    except ToolError as error:
        # The slate exists, and may be fine.
        sentence = f"The slate can't be tested: {error}"
        return Check("slate", ok=False, sentence=sentence, stops=False)
    return Check(
        "slate", ok=True, sentence="The slate is on this machine's disk and can be played."
    )


def in_the_world(channel: Channel, now: datetime) -> Iterator[Check]:
    """Yield the network checks, which are only reported. At most about 20 s if all is down."""
    fault = storage.unreachable() or emptied()
    yield Check("storage", not fault, fault or "The storage is reachable.", stops=False)
    yield _items(channel, now, away=bool(fault))
    for output, trouble in reachability.outputs(list(channel.outputs.filter(enabled=True))):
        well = f"Output “{output.name}”: {output.address} is reachable."
        yield Check(f"output-{output.pk}", not trouble, trouble or well, stops=False)


def _items(channel: Channel, now: datetime, *, away: bool) -> Check:
    coming = preview(
        plans.programme(channel, now), now, now + ITEMS_HORIZON, plans.cursors(channel)
    )
    entries: dict[str, Entry] = {}
    # A list may be shorter and repeat the same item.
    for pick in islice(coming, ITEMS_CHECKED * 4):
        if pick.entry is not None and len(entries) < ITEMS_CHECKED:
            entries.setdefault(pick.entry.item.key, pick.entry)
    if not entries:
        return Check(
            "items", ok=False, sentence="Nothing is scheduled to play today.", stops=False
        )
    present = {} if away else warnings.in_storage(list(entries), STORAGE_TIMEOUT_S)
    missing = [entry.item.title for key, entry in entries.items() if present.get(key) is False]
    if missing:
        names = ", ".join(f"“{title}”" for title in missing)
        sentence = f"Not in the storage: {names}. The next item is played instead."
        return Check("items", ok=False, sentence=sentence, stops=False)
    if any(present.get(key) is None for key in entries):
        sentence = "It is unknown whether the next items exist: the storage does not answer."
        return Check("items", ok=False, sentence=sentence, stops=False)
    subject = "The next item is" if len(entries) == 1 else f"The next {len(entries)} items are"
    return Check("items", ok=True, sentence=f"{subject} there.", stops=False)
