"""The second node of a channel: it plays the same and sends the outputs marked for it.

Its claim stands in the channel's row beside the owner's and follows the same rules: epochs,
leases, conditional updates, and the fence of the node. An output never has two senders:

1. A second node claims with the outputs marked at that moment, which stay the same for its
   whole claim (`second_epoch`), and plays without sending them.
2. Once it plays the programme, the owner stops sending these outputs. When none of them has
   a process any more, it writes the claim's epoch into `handed_over`.
3. The second node sends them while `handed_over` is its epoch.
4. The owner sends them again when the claim has ended: the second node gave it up after its
   pushers had ended, or did not renew it for the lease. Then the owner ends it.

When the owner is lost, the second node becomes the owner, before any other node may.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.db.models import F

from streams.models import Channel, ChannelState
from streams.node import place, state_writer
from streams.node.observed import Observed
from streams.playout.contract import ledger
from streams.playout.contract.fence import LEASE_S
from streams.playout.contract.place import Place
from streams.playout.contract.plan import Assignment, OutputPlan
from streams.playout.contract.states import AirState
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import process

#: Fields of the row that decide who sends what; a change of them needs new assignments.
FIELDS: Final = (
    *("second_owner", "second_epoch", "second_ready", "handed_over"),
    "second_outputs",
)
#: Aired notes kept of a channel, in case its owner is lost before it has written them itself.
MAX_AIRED: Final = 50
#: Seconds by which sessions of a second node are shorter, so that its outputs and those of the
#: owner do not begin new ones at the same item's end.
SHORTER_SESSION_S: Final = 1800.0
#: Seconds by which the same item may begin earlier on a second node.
APART_S: Final = 2.0
#: Fields of a row without a second node.
NONE: Final = {"second_owner": "", "second_ready": False, "second_outputs": []}


class Seconds:
    """The channels of which this node is the second node, and the second nodes of its own."""

    def __init__(self, node: str) -> None:
        self.node = node
        #: Epochs of this node's claims as a second node, by channel.
        self.epochs: dict[int, int] = {}
        #: As the owner: epochs of second nodes whose outputs the last answer left out.
        self._withheld: dict[int, int] = {}
        #: As the second node: epochs whose outputs have changed; the last answer had none.
        self._changed: dict[int, int] = {}
        self._leases = Observed[int]()
        self._aired: dict[int, deque[ledger.Aired]] = {}
        #: Channels whose engine here plays, or played, as a second node's.
        self._engines: set[int] = set()

    def saved(self) -> tuple[Any, ...]:
        """Return the claims of this moment, for `restore`."""
        aired = {pk: deque(notes, MAX_AIRED) for pk, notes in self._aired.items()}
        claims = dict(self.epochs), dict(self._withheld), dict(self._changed)
        return *claims, set(self._engines), aired

    def restore(self, saved: tuple[Any, ...]) -> None:
        """Return to the claims of an earlier moment, because its transaction failed."""
        self.epochs, self._withheld, self._changed, self._engines, self._aired = saved

    def forget_leases(self) -> None:
        """Observe all leases anew, because renewals may have been missed."""
        self._leases.clear()

    # ---- the second node

    def mine(self, channel: int) -> bool:
        return channel in self.epochs

    def _rows(self, channel: int) -> Any:
        return ChannelState.objects.filter(
            pk=channel,
            second_owner=self.node,
            second_epoch=self.epochs.get(channel, -1),
        )

    def write(self, shot: ledger.Snapshot, now: datetime, lease: datetime) -> bool:
        """Renew the claim and write its outputs. False: the claim is lost."""
        playing = shot.state in {AirState.ON_AIR, AirState.DEGRADED}
        ready = playing and shot.now is not None and not shot.now.stands_in
        # It stays ready: it holds its outputs until it gives them up.
        news = {"second_lease_until": lease} | ({"second_ready": True} if ready else {})
        if not self._rows(shot.channel).update(**news):
            self.epochs.pop(shot.channel, None)
            return False
        for output, facts in shot.outputs.items():
            state_writer.write_output(output, facts, now, self.node)
        if not shot.outputs and self._changed.get(shot.channel) == self.epochs[shot.channel]:
            # None of its pushers runs: the next claim has the outputs that are marked then.
            self._release(shot.channel)
        return True

    def _release(self, channel: int) -> None:
        self._rows(channel).update(**NONE, second_epoch=F("second_epoch") + 1)
        self.epochs.pop(channel, None)

    def own_notes(self, notes: Iterable[ledger.Note]) -> list[ledger.Note]:
        """Return the notes to write: history is the owner's; a second node reports its outputs.

        What it played is kept in case the owner is lost.
        """
        kept = []
        for note in notes:
            if note.channel not in self._engines:
                kept.append(note)
            elif isinstance(note, ledger.Aired):
                aired = self._aired.setdefault(note.channel, deque(maxlen=MAX_AIRED))
                aired.append(note)
            elif isinstance(note, ledger.RunEnded):
                self._engines.discard(note.channel)
                self._release(note.channel)
            elif _of_an_output(note):
                kept.append(note)
        return kept

    def claim(self, channel: Channel, state: ChannelState, lease: datetime) -> bool:
        """Claim the channel as its second node, if it wants one and has none."""
        if self.mine(channel.pk):
            return True
        marked = _marked(channel)
        if not marked or state.owner in {"", self.node} or not state.place:
            return False
        if state.second_owner not in {"", self.node}:
            return False
        again = state.second_owner == self.node
        # A new supervisor of the same node: its pushers may be sending.
        kept = again and state.handed_over == state.second_epoch
        news: dict[str, Any] = {} if again else {"second_outputs": marked}
        if kept:
            news["handed_over"] = state.second_epoch + 1
        taken = ChannelState.objects.filter(
            pk=channel.pk,
            owner=state.owner,
            second_owner=state.second_owner,
            second_epoch=state.second_epoch,
            handed_over=state.handed_over,
        ).update(
            second_owner=self.node,
            second_epoch=state.second_epoch + 1,
            second_lease_until=lease,
            **news,
        )
        if taken:
            self.epochs[channel.pk] = state.second_epoch + 1
            self._engines.add(channel.pk)
            self._aired.pop(channel.pk, None)
        return bool(taken)

    def assignment(
        self, channel: Channel, assignment: Assignment, *, gives_up: bool = False
    ) -> Assignment:
        """Return what this node plays as the channel's second node.

        `assignment`: that of the owner. `gives_up`: it is to end its claim.
        """
        epoch = self.epochs[channel.pk]
        fresh = ChannelState.objects.only(*FIELDS).get(pk=channel.pk)
        held = set(fresh.second_outputs)
        existing, marked = {output.pk for output in channel.outputs.all()}, _marked(channel)
        changed = gives_up or not marked or held & existing != set(marked)
        sends = fresh.handed_over == epoch == fresh.second_epoch and not changed
        outputs = tuple(
            _shorter(output)
            for output in assignment.plan.outputs
            if sends and output.pk in held
        )
        if changed:
            self._changed[channel.pk] = epoch
        else:
            self._changed.pop(channel.pk, None)
        return replace(
            assignment,
            plan=replace(assignment.plan, outputs=outputs),
            second=True,
            skips_done=assignment.skips,
            restarts_done=assignment.restarts,
        )

    def places(
        self, assignments: Iterable[Assignment], clock: Callable[[], float]
    ) -> dict[int, Place]:
        """Return what the owners play of channels whose second node this is, where known."""
        followed = [assignment.plan.pk for assignment in assignments if assignment.second]
        return place.read(followed, clock) if followed else {}

    # ---- the owner is lost

    def bars(self, state: ChannelState, mono: float) -> bool:
        """Whether a second node that is alive is to become the owner, not this node."""
        if state.second_owner in {"", self.node} or state.owner == self.node:
            return False
        return self._age(state, mono) <= LEASE_S

    def _age(self, state: ChannelState, mono: float) -> float:
        """Seconds for which this node has seen no renewal of the second node's claim."""
        renewal = (state.second_owner, state.second_epoch, state.second_lease_until)
        return self._leases.see(state.pk, renewal, mono)

    def as_owner(self, state: ChannelState) -> dict[str, Any]:
        """Return what a claim of the channel changes besides: a node is never both."""
        if state.second_owner != self.node:
            return {}
        return {**NONE, "second_epoch": F("second_epoch") + 1}

    def became_owner(self, state: ChannelState) -> list[ledger.Aired]:
        """End this node's claim as a second node. Returns what the owner did not write."""
        self.epochs.pop(state.pk, None)
        self._engines.discard(state.pk)
        self._withheld.pop(state.pk, None)
        aired = self._aired.pop(state.pk, None) or ()
        if not state.owner and state.measured_at is not None:
            # It was given up at that moment, at the end of an item.
            begins = state.measured_at.timestamp() - APART_S
            return [note for note in aired if note.at > begins]
        return unwritten(place.turn_of(state), aired)

    # ---- the owner

    def lost(self, mono: float) -> bool:
        """Whether a second node of any channel has not renewed its claim for the lease."""
        rows = ChannelState.objects.exclude(second_owner="")
        # Each of them is observed.
        ages = [self._age(row, mono) for row in rows.only("second_lease_until", *FIELDS)]
        return max(ages, default=0.0) > LEASE_S

    def outputs_of_owner(
        self, state: ChannelState, outputs: Sequence[OutputPlan], mono: float
    ) -> tuple[OutputPlan, ...]:
        """Return what the owner sends: not what a second node is ready to send, or sends.

        `state`: the row as it was when this node claimed it or renewed its claim.
        """
        epoch = state.second_epoch
        present = state.second_owner not in {"", self.node}
        if present and self._age(state, mono) > LEASE_S:
            present = not self._end_claim(state)
        if not present or not (state.second_ready or state.handed_over == epoch):
            self._withheld.pop(state.pk, None)
            return tuple(outputs)
        self._withheld[state.pk] = epoch
        return tuple(output for output in outputs if output.pk not in state.second_outputs)

    def _end_claim(self, state: ChannelState) -> bool:
        """End the claim of a second node that is lost. False: it has been renewed."""
        # Compares the lease as well: a renewal since the read leaves the epoch unchanged.
        rows = ChannelState.objects.filter(
            pk=state.pk,
            owner=self.node,
            second_epoch=state.second_epoch,
            second_lease_until=state.second_lease_until,
        )
        return bool(rows.update(**NONE, second_epoch=state.second_epoch + 1))

    def hand_over(self, shot: ledger.Snapshot, owned: Any) -> None:
        """Write that the owner has stopped sending the second node's outputs, once it has.

        `owned`: the row while this node owns the channel.
        """
        epoch = self._withheld.get(shot.channel)
        if epoch is None:
            return
        claims = owned.filter(second_epoch=epoch).exclude(handed_over=epoch)
        for held in claims.values_list("second_outputs", flat=True):
            if not set(held) & shot.outputs.keys():
                owned.filter(second_epoch=epoch).update(handed_over=epoch)


def _marked(channel: Channel) -> list[int]:
    """Return its outputs for a second node; none if all of them are disabled."""
    marked = [output for output in channel.outputs.all() if output.second_node]
    enabled = any(output.enabled for output in marked)
    return sorted(output.pk for output in marked) if enabled else []


def _shorter(output: OutputPlan) -> OutputPlan:
    if output.roll_after <= 2 * SHORTER_SESSION_S:
        return output
    return replace(
        output,
        roll_after=output.roll_after - SHORTER_SESSION_S,
        roll_by=max(0.0, output.roll_by - SHORTER_SESSION_S),
    )


def _of_an_output(note: ledger.Note) -> bool:
    match note:
        case ledger.Logged():
            return note.role.startswith((f"{process.PUSHER}-", "output-"))
        case ledger.Sampled():
            return note.output is not None
        case _:
            return False


def unwritten(last: Turn | None, aired: Iterable[ledger.Aired]) -> list[ledger.Aired]:
    """Return what came on air after the turn that the owner reported last.

    Nothing if that turn is not among it: then it is not known what the owner wrote.
    """
    notes = list(aired)
    for number in range(len(notes), 0, -1):
        if last is not None and _airing(notes[number - 1].turn) == _airing(last):
            return notes[number:]
    return []


def _airing(turn: Turn) -> tuple[object, ...]:
    return turn.item, turn.rule, turn.cursors.get(turn.rule)
