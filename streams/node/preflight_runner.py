"""Makes the preflights of this node: every check of a run before it starts.

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
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import structlog
from django.db import connection
from django.utils import timezone

from media_library import storage
from media_library.conform import slate
from media_library.ffmpeg.runner import ToolError
from media_library.sync.empty_guard import emptied
from streams.models import Channel, Run
from streams.monitoring import reachability, warnings
from streams.monitoring.preflight import Check, checked, local_findings
from streams.monitoring.report import PREFLIGHT_RETRY
from streams.node.slate_maker import BEING_MADE
from streams.planning import plans
from streams.playout.ffmpeg import process
from streams.programme.model import Entry
from streams.programme.schedule import preview

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

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


class Preflights:
    """Makes the preflights of the open runs that this node has claimed, each once.

    Their results stand in the run, where pages and the ledger read them. `tick` is called
    regularly, `holds` by the ledger's thread.
    """

    def __init__(self, node: str, changed: Callable[[], object]) -> None:
        self.node = node
        #: Called when the ledger may start a run that was held.
        self.changed = changed
        #: Set while the ledger waits for a preflight.
        self.requested = threading.Event()
        #: An earlier preflight of this machine is repeated, unless the channel plays.
        self._since = timezone.now()
        #: Since when the ledger waits for a run.
        self._waiting: dict[int, float] = {}
        self._lock = threading.Lock()
        #: Runs whose checks are in progress: none is checked twice at a time.
        self._under_way: set[int] = set()
        self._slots = threading.BoundedSemaphore(LOCAL_THREADS)
        # A thread of its own: the next start must not wait for a storage.
        self._world = ThreadPoolExecutor(1, "preflight")

    def holds(self, run: Run) -> bool:
        """Whether the run must not be started now."""
        if self._is_checked(run):
            self._waiting.pop(run.pk, None)
            return bool(run.held_by)
        # A disk that hangs must not keep it off the air: FFmpeg may not need the disk.
        since = self._waiting.setdefault(run.pk, time.monotonic())
        return time.monotonic() - since <= LOCAL_TIMEOUT_S

    def _is_checked(self, run: Run) -> bool:
        at = run.checked_at
        return at is not None and at >= self._since and run.checked_on == self.node

    def tick(self, now: datetime) -> None:
        """Check the runs that were not checked yet, or whose checks failed."""
        self.requested.clear()
        ordered = Run.objects.filter(
            ended_at=None, channel__desired_state=Channel.DesiredState.ON
        )
        ours = ordered.filter(channel__state__owner=self.node)
        for run in ours.select_related("channel__state"):
            if not self._due(run, now):
                continue
            with self._lock:
                if run.pk in self._under_way:
                    continue
                self._under_way.add(run.pk)
            self._begin(run, now)

    def _begin(self, *args: object) -> None:
        """Check in a thread of its own: neither other channels nor the hours wait for it.

        A daemon thread: the end of the process does not wait for a disk that hangs.
        """
        threading.Thread(target=self._check, args=args, name="preflight", daemon=True).start()

    def close(self) -> None:
        self._world.shutdown(wait=False, cancel_futures=True)

    def _due(self, run: Run, now: datetime) -> bool:
        # After a reboot the state still claims that it plays, but nothing runs.
        runs = runs_already(run.channel_id)
        if not self._is_checked(run) or run.checked_at is None:
            return not runs
        if _lacks_world(run.checks):
            return True
        if runs and run.channel.state.plays(now):
            # It reports its outputs and items itself, and its destinations already have their
            # connections.
            return False
        fails = any(not check["ok"] for check in run.checks)
        return fails and now - run.checked_at >= PREFLIGHT_RETRY

    def _check(self, run: Run, now: datetime) -> None:
        checks = run.checks
        try:
            if not self._is_checked(run) or not _lacks_world(checks):
                with self._slots:
                    checks = self._check_here(run, now)
                self.changed()
            self._world.submit(self._check_world, run, checks, now)
        except Exception:
            # For example a database error: it is due again at the next tick.
            log.exception("preflight.failed", channel=run.channel.slug)
            self._done(run)
        finally:
            connection.close()

    def _check_here(self, run: Run, now: datetime) -> list[dict[str, Any]]:
        return self._write(run, _made(run, "preflight", on_this_machine(run.channel)), now)

    def _check_world(self, run: Run, checks: list[dict[str, Any]], now: datetime) -> None:
        try:
            world = _made(run, "items", in_the_world(run.channel, now))
            self._write(run, [*checks, *world], now)
        except Exception:
            # Nobody waits for this thread's result, so nobody else would report the error.
            log.exception("preflight.failed", channel=run.channel.slug)
        finally:
            self._done(run)
            connection.close()

    def _done(self, run: Run) -> None:
        with self._lock:
            self._under_way.discard(run.pk)

    def _write(
        self, run: Run, checks: list[dict[str, Any]], now: datetime
    ) -> list[dict[str, Any]]:
        """Write the results into the run; log faults once while they stay the same."""
        faults = {check["sentence"] for check in checks if not check["ok"]}
        if faults - {check["sentence"] for check in run.checks}:
            log.warning("preflight.faults", channel=run.channel.slug, faults=sorted(faults))
        Run.objects.filter(pk=run.pk).update(
            checks=checks, checked_at=now, checked_on=self.node
        )
        return checks


def _made(run: Run, name: str, checks: Iterator[Check]) -> list[dict[str, Any]]:
    """Make the checks. An unexpected error must hold up neither this channel nor others."""
    try:
        return [asdict(check) for check in checks]
    except Exception:
        log.exception("preflight.failed", channel=run.channel.slug)
        sentence = "The preflight itself has failed: see the log for the reason."
        return [asdict(Check(name, ok=False, sentence=sentence, stops=False))]


def _lacks_world(checks: list[dict[str, Any]]) -> bool:
    """Whether the network checks are missing."""
    return all(check["check"] != "items" for check in checks)


def runs_already(channel: int) -> bool:
    """Whether processes of an earlier supervisor play it, which are adopted, not started."""
    folder = process.channel_folder(plans.tools().run_dir, channel)
    return any(process.born(record.pid) == record.born for record in process.records(folder))


# ---- the checks ------------------------------------------------------------------------------


def on_this_machine(channel: Channel) -> Iterator[Check]:
    """Yield the local checks, which decide. Quick: nothing is made or waited for."""
    yield from checked(local_findings(channel, attended=False))


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
    """Yield the slow checks, which are only reported. At most about 20 s if all is down."""
    yield _slate(channel)
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
