"""The ledger in the database: claims channels, renews the claims and writes their state.

One exchange is one transaction. Every write is a conditional update: a row that another node
has claimed meanwhile is not changed, and its channel is no longer ours.
"""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from math import inf
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import close_old_connections, connection, transaction
from django.db.models import Exists, F, OuterRef

from media_library.conform.slate import Slate
from streams.ingest import takeover_rights
from streams.models import (
    Channel,
    ChannelState,
    Incident,
    Node,
    Run,
    Takeover,
    TakeoverRight,
)
from streams.monitoring.preflight import ffmpeg_hides_keys
from streams.node import history_writer, place, state_writer
from streams.node.observed import Observed
from streams.node.preflight_runner import Preflights, runs_already
from streams.node.presence import Presence
from streams.node.second import FIELDS, Seconds
from streams.node.slate_maker import BEING_MADE, SlateMaker
from streams.node.sources import Sources
from streams.planning import plans
from streams.planning.database_clock import clock_ahead
from streams.playout.contract import ledger
from streams.playout.contract.fence import FENCED, LEASE_S, Claims
from streams.playout.contract.live_feed import IngestState
from streams.playout.contract.moment import when
from streams.playout.contract.picture import Remedy
from streams.playout.contract.plan import Assignment, ChannelPlan
from streams.playout.contract.states import AirState
from streams.programme.item import Item
from streams.programme.model import Programme

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A claim that was not renewed for so long may be taken by another node.
LEASE: Final = timedelta(seconds=LEASE_S)
#: Maximum age in seconds of cached outputs and house formats. Orders are read every time.
ORDERS_MAX_AGE_S: Final = 5.0
NO_INGEST: Final = IngestState()
#: Fields read of each channel that is ordered on: its counters, its second node, and whether
#: somebody may take it over.
_ORDER: Final = ("pk", "restarts", "skips", *(f"state__{name}" for name in FIELDS), "live")
_Order = tuple[Any, ...]
#: Maximum age in seconds of a cached playlist.
PLAYLIST_MAX_AGE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Read:
    """A channel's programme, and when and from which lists it was read."""

    read: float
    lists: tuple[object, ...]
    programme: Programme

    @property
    def age(self) -> float:
        return time.monotonic() - self.read


class NodeLedger:
    """Implements `streams.playout.contract.ledger.Ledger` with Django's models."""

    def __init__(
        self,
        node: str,
        sources: Sources | None = None,
        preflights: Preflights | None = None,
        wake: Callable[[], object] = lambda: None,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the ledger of `node`.

        `wake`: called in another thread when an exchange is needed. `mono`: this machine's own
        clock, in seconds, by which claims of others expire.
        """
        self._mono = mono
        self.node = node
        self._sources = sources
        self._preflights = preflights
        self._epochs: dict[int, int] = {}
        self._second = Seconds(node)
        self._programmes: dict[int, _Read] = {}
        #: By channel: its slate, or why there is none.
        self._slates: dict[int, Item | str] = {}
        self._maker = SlateMaker(self._slate_made)
        self._slates_changed = False
        self._wake = wake
        self._reported: dict[int, str] = {}
        self._begun = False
        self._orders: tuple[_Order, ...] | None = None
        self._read = 0.0
        self._answer: dict[int, Assignment] = {}
        self.claims = Claims()
        self._presence = Presence(node, settings.MAX_CHANNELS)
        self._about: dict[str, Any] = {}
        self._leases = Observed[int]()
        self._exchanged = float("-inf")

    def _facts(self, now: datetime) -> dict[str, Any]:
        """Return this node's facts. The first time runs FFmpeg, which takes half a second."""
        return {
            "pid": os.getpid(),
            "version": settings.VERSION,
            "ffmpeg": ffmpeg_version(settings.FFMPEG_PATH),
            "hides_keys": ffmpeg_hides_keys(),
            "max_channels": settings.MAX_CHANNELS,
            "started_at": now,
        }

    def exchange(
        self, at: float, snapshots: Sequence[ledger.Snapshot], notes: Sequence[ledger.Note]
    ) -> dict[int, Assignment]:
        if not connection.in_atomic_block:
            # A connection that broke, or is old enough, is reopened.
            close_old_connections()
        ahead = clock_ahead()
        wall_offset = time.time() - ahead - time.monotonic()
        # The first time the engine does not know the ledger's clock yet.
        now = when(at - ahead if self.claims.wall_offset is None else at)
        if self._mono() - self._exchanged > LEASE_S / 2:
            # Claims may have been renewed unobserved meanwhile.
            self._leases.clear()
            self._second.forget_leases()
        # All slow work comes before the transaction, which holds SQLite's only write lock.
        self._about = self._about or self._facts(now)
        report = {"seen_at": now, "clock_ahead": ahead}
        owned = Exists(TakeoverRight.objects.filter(channel=OuterRef("pk")))
        ordered = Channel.objects.filter(desired_state=Channel.DesiredState.ON).order_by("pk")
        orders = tuple(ordered.annotate(live=owned).values_list(*_ORDER))
        age = time.monotonic() - self._read
        stale = orders != self._orders or age > ORDERS_MAX_AGE_S or self._slates_changed
        if stale:
            self._slates_changed = False
            for channel in ordered.annotate(live=owned):
                self._find_slates(channel, live=channel.live)
                self._programme(channel)
        # Takeover rights are read every time, because a live feed must not wait.
        live = [pk for pk, *_, live in orders if live]
        wishes = takeover_rights.wishes(list(ordered.filter(pk__in=live)), now) if live else {}
        with self._as_committed(), transaction.atomic():
            facts = report if self._begun else self._about | report
            if not Node.objects.filter(name=self.node).update(**facts):
                # The first report, or somebody has removed it from the list.
                Node.objects.create(name=self.node, **self._about | report)
            kept = {
                snapshot.channel
                for snapshot in snapshots
                if self._write_snapshot(snapshot, now)
            }
            self._write_notes(notes)
            shared = self._presence.read(now, self._mono())
            ours = kept & self._epochs.keys()
            lost = self._second.lost(self._mono())
            if stale or lost or ours != {pk for pk, *_ in orders}:
                playing = {snapshot.channel for snapshot in snapshots}
                # Cleared first: if this fails, the old answer must not be returned again.
                self._orders = None
                self._answer = self._assign(playing, ours, now)
                transaction.on_commit(partial(self._remember, orders))
            ends = {shot.channel: shot.now_until or inf for shot in snapshots}
            mine = {pk: ends[pk] for pk in ours & self._answer.keys()}
            leaving = self._presence.leaving(mine, self._mono())
            places = self._second.places(self._answer.values(), self._mono)
        self._begun = True
        self._exchanged = self._mono()
        self.claims = Claims(
            shared, frozenset({snapshot.channel for snapshot in snapshots} - kept), wall_offset
        )
        self._answer = {
            pk: replace(
                assignment,
                ingest=wishes.get(pk, NO_INGEST),
                leaves=pk in leaving,
                owner_place=places.get(pk),
            )
            for pk, assignment in self._answer.items()
        }
        if self._sources is not None:
            self._sources.prepare(self._answer, snapshots)
        return self._answer

    @contextmanager
    def _as_committed(self) -> Iterator[None]:
        """Restore the known epochs if the transaction is rolled back."""
        epochs, second = dict(self._epochs), self._second.saved()
        try:
            yield
        except BaseException:
            self._epochs = epochs
            self._second.restore(second)
            raise

    def _remember(self, orders: tuple[_Order, ...]) -> None:
        # Not the ledger's time: a wall clock that was set back would keep old orders for hours.
        self._orders, self._read = orders, time.monotonic()

    def _find_slates(self, channel: Channel, *, live: bool) -> None:
        """Request missing slates without waiting for them."""
        slate = self._maker.find(channel.house_format)
        # While a new slate is being made, or can't be, the playing channel keeps the old one.
        if isinstance(slate, Item) or not isinstance(self._slates.get(channel.pk), Item):
            self._slates[channel.pk] = slate
        if live:
            for which in (Slate.SOON, Slate.TROUBLE):
                self._maker.find(channel.house_format, which)

    def _slate_made(self) -> None:
        self._slates_changed = True
        self._wake()

    # ---- assignments

    def _assign(
        self, playing: set[int], kept: set[int], now: datetime
    ) -> dict[int, Assignment]:
        """Return the assignments.

        `playing`: the channels that the engine has; `kept`: those of them that this node owns.
        """
        ordered = list(
            Channel.objects.filter(desired_state=Channel.DesiredState.ON)
            .select_related("state")
            .prefetch_related("outputs")
        )
        free = [channel.pk for channel in ordered if self._unclaimed(channel)]
        ours = self._presence.claimed(free, self._mono())
        elsewhere = set(free) - ours
        runs = {run.channel_id: run for run in Run.objects.filter(ended_at=None)}
        if runs.keys() - {channel.pk for channel in ordered} - playing:
            self._close_stopped(playing, now)
        assignments: dict[int, Assignment] = {}
        for channel in ordered:
            run = runs.get(channel.pk)
            held = channel.pk not in playing and run is not None and self._is_held(run)
            mine = channel.pk in self._epochs
            if held and mine and run is not None and run.held_by:
                # The claim is not renewed: another node may have what this one lacks.
                continue
            if channel.pk in elsewhere:
                self._epochs.pop(channel.pk, None)
                continue
            promoted = self._second.mine(channel.pk)
            state = channel.state if channel.pk in kept else self._claimed(channel, now)
            if state is None:
                second = self._as_second(channel, run, playing, now)
                assignments |= {} if second is None else {channel.pk: second}
                continue
            if held:
                continue
            slate = self._slates.get(channel.pk, BEING_MADE)
            if isinstance(slate, str):
                self._report_not_started(channel, slate)
                continue
            if run is None:
                # Ordered on without a run: it was restarted, and the order still stands.
                run = Run.objects.create(
                    channel=channel, started_at=now, started_by=channel.ordered_by
                )
                if self._is_held(run):
                    continue
            plan = self._plan(channel, slate)
            outputs = self._second.outputs_of_owner(state, plan.outputs, self._mono())
            plan = replace(plan, outputs=outputs)
            # The engine of a second node knows nothing of what the owner left open.
            owned = playing - {channel.pk} if promoted else playing
            assignments[channel.pk] = self._assignment(channel, state, plan, run.pk, owned)
        return assignments

    def _as_second(
        self, channel: Channel, run: Run | None, playing: set[int], now: datetime
    ) -> Assignment | None:
        """Return what this node plays as the second node of a channel; None: nothing."""
        state, slate = getattr(channel, "state", None), self._slates.get(channel.pk)
        if state is None or run is None or state.run_id != run.pk:
            return None
        if not isinstance(slate, Item) or (
            # An engine that was the owner's, or an earlier second node's, must end first.
            channel.pk in playing and not self._second.mine(channel.pk)
        ):
            return None
        if not self._second.mine(channel.pk) and not (
            self._presence.takes_second(self._mono())
            and self._second.claim(channel, state, now + LEASE)
        ):
            return None
        plan = self._plan(channel, slate)
        assignment = Assignment(
            plan,
            run.pk,
            restarts=channel.restarts,
            skips=channel.skips,
            cursors=plans.seen_cursors(state),
        )
        return self._second.assignment(channel, assignment, gives_up=self._presence.drains)

    def _close_stopped(self, playing: set[int], now: datetime) -> None:
        """Close runs that were stopped while no supervisor was running."""
        open_runs = Run.objects.filter(
            ended_at=None, channel__desired_state=Channel.DesiredState.OFF
        )
        for run in open_runs.exclude(channel__in=playing).select_related("channel__state"):
            state = getattr(run.channel, "state", None)
            if state is not None and self._free(state):
                self._end_run(run.channel_id, run.pk, now, "stopped")

    def _unclaimed(self, channel: Channel) -> bool:
        """Whether any node may claim it. What was ours runs here still, perhaps.

        A second node becomes the owner, whatever room others have.
        """
        state: ChannelState | None = getattr(channel, "state", None)
        if state is None:
            return True
        if self._second.mine(channel.pk) or self._second.bars(state, self._mono()):
            return False
        return state.owner != self.node and self._free(state)

    def _free(self, state: ChannelState) -> bool:
        """Whether the channel may be claimed: unowned, ours, or not renewed for `LEASE`.

        Measured by this node's own clock, from when it saw the last renewal: the clocks of two
        nodes are never compared.
        """
        if state.owner in {"", self.node} or state.lease_until is None:
            return True
        renewal = (state.owner, state.epoch, state.lease_until)
        # The clock is read after the row, which was written before.
        return self._leases.see(state.pk, renewal, self._mono()) > LEASE_S

    def _claimed(self, channel: Channel, now: datetime) -> ChannelState | None:
        """Claim the channel and return its state row; None: another node plays it."""
        state, _ = ChannelState.objects.get_or_create(channel=channel)
        lease = now + LEASE
        if state.owner == self.node and self._epochs.get(channel.pk) == state.epoch:
            kept = ChannelState.objects.filter(
                pk=channel.pk, owner=self.node, epoch=state.epoch
            ).update(lease_until=lease)
            return state if kept else None
        if not self._free(state) or self._second.bars(state, self._mono()):
            self._epochs.pop(channel.pk, None)
            return None
        # Compares the lease as well: a renewal since the read leaves the epoch unchanged.
        taken = ChannelState.objects.filter(
            pk=channel.pk,
            epoch=state.epoch,
            lease_until=state.lease_until,
            second_epoch=state.second_epoch,
        ).update(
            owner=self.node,
            epoch=F("epoch") + 1,
            lease_until=lease,
            **self._second.as_owner(state),
        )
        if not taken:
            return None
        self._epochs[channel.pk] = state.epoch + 1
        promoted = self._second.mine(channel.pk)
        history_writer.write(self._second.became_owner(state))
        if promoted and state.owner:
            renewal = (state.owner, state.epoch, state.lease_until)
            silent = self._leases.see(state.pk, renewal, self._mono())
            # By this node's own clock.
            state.measured_at = now - timedelta(seconds=silent)
        return state

    def _programme(self, channel: Channel) -> Programme:
        """Return the programme, cached for some seconds because long lists are slow to read."""
        # Changes of the channel's own row count at once.
        lists = (
            channel.playlist_id,
            channel.filler_id,
            channel.playlist_order,
            channel.time_zone,
            channel.max_rating,
            channel.on_return,
        )
        cached = self._programmes.get(channel.pk)
        if cached is None or cached.lists != lists or cached.age > PLAYLIST_MAX_AGE_S:
            cached = _Read(time.monotonic(), lists, plans.programme(channel))
            self._programmes[channel.pk] = cached
        return cached.programme

    def _plan(self, channel: Channel, slate: Item) -> ChannelPlan:
        return ChannelPlan(
            pk=channel.pk,
            slug=channel.slug,
            house_format=channel.house_format,
            programme=self._programme(channel),
            outputs=plans.outputs(channel.outputs.all()),
            slate=slate,
            soon=plans.made_slate(channel.house_format, Slate.SOON),
            trouble=plans.made_slate(channel.house_format, Slate.TROUBLE),
            remedies=plans.remedies(channel),
            late_remedy=Remedy(channel.if_late),
        )

    def _assignment(
        self,
        channel: Channel,
        state: ChannelState,
        plan: ChannelPlan,
        run: int,
        playing: set[int],
    ) -> Assignment:
        if state.run_id != run:
            # A new run: the state of an earlier one is over.
            return Assignment(
                plan,
                run,
                restarts=channel.restarts,
                restarts_done=channel.restarts
                if channel.pk not in playing
                else state.restarts_done,
                skips=channel.skips,
                skips_done=channel.skips,
                cursors=plans.seen_cursors(state),
            )
        incidents: frozenset[str] = frozenset()
        taken: frozenset[int] = frozenset()
        if channel.pk not in playing:
            open_rows = Takeover.objects.filter(channel=channel, ended_at=None)
            taken = frozenset(
                open_rows.exclude(stream=None).values_list("stream_id", flat=True)
            )
            incidents = frozenset(
                Incident.objects.filter(channel=channel, closed_at=None)
                .exclude(subject__startswith=Incident.PLATFORM)
                .values_list("subject", flat=True)
            )
        return Assignment(
            plan,
            run,
            restarts=channel.restarts,
            restarts_done=state.restarts_done,
            skips=channel.skips,
            skips_done=state.skips_done,
            cursors=plans.seen_cursors(state),
            released_by=state.released_by,
            measured_at=state.measured_at.timestamp()
            if state.measured_at and state.on_air_since
            else None,
            on_air_since=state.on_air_since.timestamp() if state.on_air_since else None,
            state=AirState(state.state),
            since=state.since.timestamp() if state.since else None,
            open_incidents=incidents,
            open_takeovers=taken,
        )

    def _is_held(self, run: Run) -> bool:
        """Whether its preflight prevents the start. A playing channel is not affected."""
        if self._preflights is None or runs_already(run.channel_id):
            return False
        held = self._preflights.holds(run)
        if held and not run.held_by:
            # The preflight is due, for claims of this transaction, too.
            transaction.on_commit(self._preflights.requested.set)
        return held

    def _report_not_started(self, channel: Channel, cause: str) -> None:
        """Show on the page why an ordered channel does not start; log it once."""
        self._claimed_rows(channel.pk).update(state=AirState.STARTING.value, cause=cause)
        if self._reported.get(channel.pk) != cause:
            self._reported[channel.pk] = cause
            level = logging.INFO if cause == BEING_MADE else logging.ERROR
            log.log(level, "channel.not_started", channel=channel.slug, cause=cause)

    # ---- state and history

    def _claimed_rows(self, channel: int) -> Any:
        """The state row while the claim is ours: an update changes one row or none."""
        return ChannelState.objects.filter(
            pk=channel, owner=self.node, epoch=self._epochs.get(channel, -1)
        )

    def _write_snapshot(self, snapshot: ledger.Snapshot, now: datetime) -> bool:
        """Write the snapshot and renew the claim. False: the channel is no longer ours."""
        if self._second.mine(snapshot.channel):
            return self._second.write(snapshot, now, now + LEASE)
        rows = self._claimed_rows(snapshot.channel)
        news = place.encode(snapshot.place, self._mono())
        written = state_writer.write(rows, snapshot, now, now + LEASE, self.node, news)
        if written:
            self._second.hand_over(snapshot, rows)
        return written

    def _write_notes(self, notes: Sequence[ledger.Note]) -> None:
        notes = self._second.own_notes(notes)
        # Another node has claimed it: its history must not be changed from here.
        late = {pk for pk in {note.channel for note in notes} if not self._may_write(pk)}
        history_writer.write([note for note in notes if note.channel not in late])
        history_writer.write_late([note for note in notes if note.channel in late], FENCED)
        for note in notes:
            if isinstance(note, ledger.RunEnded) and self._claimed_rows(note.channel).exists():
                self._end_run(note.channel, note.run, when(note.at), note.reason)
            elif isinstance(note, ledger.Released):
                self._release(note)

    def _may_write(self, channel: int) -> bool:
        row = ChannelState.objects.filter(pk=channel).only("owner", "epoch").first()
        if row is None or row.owner in {"", self.node}:
            return True
        return self._epochs.get(channel) == row.epoch

    def _release(self, note: ledger.Released) -> None:
        """Leave the channel to the other nodes; its run goes on."""
        self._claimed_rows(note.channel).update(
            owner="",
            lease_until=None,
            released_by=self.node,
            state=AirState.STARTING.value,
            cause=f"It moves from {self.node} to another node.",
            cursors=plans.encode_cursors(note.cursors, note.cursors),
            measured_at=when(note.at),
        )
        self._epochs.pop(note.channel, None)

    def _end_run(self, channel: int, run: int, at: datetime, reason: str) -> None:
        history_writer.end_run(channel, run, at, reason)
        rows = ChannelState.objects.filter(pk=channel, owner__in=["", self.node])
        state_writer.write_off(rows, channel, at)
        self._epochs.pop(channel, None)
        self._programmes.pop(channel, None)


def ffmpeg_version(program: str) -> str:
    """Return the first words of FFmpeg's version output; empty if it can't be run."""
    try:
        answer = subprocess.run(
            [program, "-version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.partition(" Copyright")[0][:120]
