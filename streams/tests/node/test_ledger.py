"""The ledger in the database: claims, fences, and history that is written once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import IntegrityError, OperationalError
from django.utils import timezone

from media_library.models import MediaItem, Playlist, PlaylistEntry
from streams.control import actions
from streams.models import (
    AsRun,
    Broadcaster,
    Channel,
    ChannelState,
    Incident,
    LiveStream,
    LogLine,
    Node,
    Output,
    Run,
    Sample,
)
from streams.node import history_writer
from streams.node.ledger import NodeLedger
from streams.planning import plans
from streams.playout.contract import ledger
from streams.playout.contract.fence import FENCED, LEASE_S, Claims
from streams.playout.contract.moment import Now
from streams.playout.contract.output_status import Status, Taken
from streams.playout.contract.plan import Assignment
from streams.playout.contract.states import AirState, OutputAir
from streams.playout.contract.turn import Turn
from streams.programme.item import Item, Mode
from streams.programme.model import BASE, Cursor

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def made_slate() -> Iterator[None]:
    """Encoding a slate takes seconds and is not tested here."""
    with patch("media_library.conform.slate.made", return_value=(Path("/slate.mp4"), 128)):
        yield


@pytest.fixture
def channel() -> Channel:
    playlist = Playlist.objects.create(name="P")
    for number in (1, 2):
        item = MediaItem.objects.create(key=f"{number}.mp4", title=f"Clip {number}")
        PlaylistEntry.objects.create(playlist=playlist, item=item, position=number)
    made = Channel.objects.create(name="Demo", slug="demo", playlist=playlist)
    Output.objects.create(channel=made, name="Y", platform="rtmp", url="rtmp://h/app", key="K1")
    return made


@pytest.fixture
def run(channel: Channel) -> Run:
    Channel.objects.filter(pk=channel.pk).update(desired_state="on", ordered_by="me")
    return Run.objects.create(channel=channel, started_by="me")


def items(assignment: Assignment) -> list[Item]:
    return [entry.item for entry in assignment.plan.programme.base.entries]


def shot(assignment: Assignment, state: AirState = AirState.ON_AIR) -> ledger.Snapshot:
    now = time.time()
    (output,) = assignment.plan.outputs
    return ledger.Snapshot(
        channel=assignment.plan.pk,
        run=assignment.run,
        state=state,
        cause="",
        since=now,
        on_air_since=now,
        now=Turn(items(assignment)[0], BASE, "The base playlist."),
        now_since=now,
        now_until=now + 5,
        next=items(assignment)[1],
        bitrate=3_000_000,
        restarts_done=assignment.restarts_done,
        skips_done=assignment.skips_done,
        cursors={BASE: Cursor(items(assignment)[0].entry)},
        seen={BASE: Cursor(items(assignment)[0].entry, 0, Fraction(3, 2), NOON)},
        outputs={
            output.pk: ledger.OutputSnapshot(
                Status(OutputAir.ON_AIR), now, None, 2_900_000, 30.0, 1.0
            )
        },
    )


class ClockedLedger(NodeLedger):
    """A node whose own clock is set by the test."""

    def __init__(self, name: str) -> None:
        self.clock = 0.0
        super().__init__(name, mono=lambda: self.clock)

    def after(self, seconds: float) -> dict[int, Assignment]:
        """Run its next exchange, so much later."""
        self.clock += seconds
        return self.exchange(time.time(), [], [])

    def takes_over(self) -> None:
        self.after(0)
        self.after(LEASE_S / 2)
        self.after(LEASE_S / 2)
        assert self.after(1)


def test_an_ordered_channel_is_assigned_and_claimed(channel: Channel, run: Run) -> None:
    book = NodeLedger("a")
    assignments = book.exchange(time.time(), [], [])
    plan = assignments[channel.pk].plan
    assert assignments[channel.pk].run == run.pk
    assert [item.title for item in items(assignments[channel.pk])] == ["Clip 1", "Clip 2"]
    assert plan.outputs[0].key.reveal() == "K1"
    state = ChannelState.objects.get(channel=channel)
    assert (state.owner, state.epoch) == ("a", 1)
    assert Node.objects.get(name="a").seen_at is not None


def test_a_channel_that_is_off_is_not_assigned(channel: Channel) -> None:
    assert NodeLedger("a").exchange(time.time(), [], []) == {}


def test_another_node_takes_over_only_after_the_lease_expires(
    channel: Channel, run: Run
) -> None:
    first, second = NodeLedger("a"), ClockedLedger("b")
    assert channel.pk in first.exchange(time.time(), [], [])
    assert second.after(0) == second.after(LEASE_S / 2) == second.after(LEASE_S / 2) == {}
    assert channel.pk in second.after(1)
    state = ChannelState.objects.get(channel=channel)
    assert (state.owner, state.epoch) == ("b", 2)


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_node_with_a_wrong_clock_takes_no_channel(
    channel: Channel, run: Run, hours: int
) -> None:
    first, second = NodeLedger("a"), ClockedLedger("b")
    mine = first.exchange(time.time(), [], [])[channel.pk]
    for _ in range(8):
        second.clock += 5
        assert second.exchange(time.time() + hours * 3600, [], []) == {}
        first.exchange(time.time(), [shot(mine)], [])
    assert first.claims.shared is second.claims.shared is True


def test_a_node_that_was_suspended_restarts_its_observation(channel: Channel, run: Run) -> None:
    first, second = NodeLedger("a"), ClockedLedger("b")
    first.exchange(time.time(), [], [])
    second.after(0)
    assert second.after(60) == second.after(LEASE_S / 2) == second.after(LEASE_S / 2) == {}
    assert channel.pk in second.after(1)


def test_a_claim_renewed_since_it_was_read_is_not_taken(
    channel: Channel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that froze between reading and claiming."""
    first, second = NodeLedger("a"), ClockedLedger("b")
    mine = first.exchange(time.time(), [], [])[channel.pk]
    second.after(0)
    second.after(LEASE_S / 2)
    second.after(LEASE_S / 2)
    free = second._free

    def frozen(state: ChannelState) -> bool:
        result = free(state)
        ChannelState.objects.update(lease_until=timezone.now())
        return result

    monkeypatch.setattr(second, "_free", frozen)
    assert second.after(2) == {}
    first.exchange(time.time(), [shot(mine)], [])
    assert first.claims == Claims(shared=True)


def test_a_node_detects_whether_it_is_alone(channel: Channel, run: Run) -> None:
    Node.objects.create(name="gone", seen_at=timezone.now() - timedelta(hours=1))
    book = NodeLedger("a")
    book.exchange(time.time(), [], [])
    assert not book.claims.shared


def test_a_lost_claim_is_reported(channel: Channel, run: Run) -> None:
    first, second = NodeLedger("a"), ClockedLedger("b")
    mine = first.exchange(time.time(), [], [])[channel.pk]
    second.takes_over()
    first.exchange(time.time(), [shot(mine)], [])
    assert first.claims == Claims(shared=True, lost=frozenset({channel.pk}))


def test_a_fenced_node_writes_no_state_and_ends_no_run(channel: Channel, run: Run) -> None:
    first, second = NodeLedger("a"), ClockedLedger("b")
    now = time.time()
    mine = first.exchange(now, [], [])[channel.pk]
    second.takes_over()
    late = [ledger.RunEnded(channel.pk, run.pk, now + 17, "stopped")]
    answer = first.exchange(now + 17, [shot(mine, AirState.FAILING)], late)
    assert answer == {}
    run.refresh_from_db()
    assert run.ended_at is None
    assert ChannelState.objects.get(channel=channel).state == "off"


def test_a_new_supervisor_of_the_same_node_need_not_wait(channel: Channel, run: Run) -> None:
    now = time.time()
    NodeLedger("a").exchange(now, [], [])
    assert channel.pk in NodeLedger("a").exchange(now + 1, [], [])


def test_state_is_written_and_handed_to_the_next_supervisor(channel: Channel, run: Run) -> None:
    book = NodeLedger("a")
    now = time.time()
    mine = book.exchange(now, [], [])[channel.pk]
    opened = ledger.IncidentOpened(channel.pk, run.pk, "hub", None, "lost", "It died.", now)
    ada = Broadcaster.objects.create(name="Ada", slug="ada")
    stream = LiveStream.objects.create(broadcaster=ada, server="mediamtx", path=ada.path)
    requested = ledger.TakeoverRequested(channel.pk, run.pk, stream.pk, ada.pk, now)
    book.exchange(now + 2, [shot(mine)], [opened, requested])
    # A job's, which no node opens or closes.
    Incident.objects.create(
        channel=channel, subject="platform-1", severity="lost", cause="Ended.", opened_at=NOON
    )
    state = ChannelState.objects.get(channel=channel)
    assert (state.state, state.now_title, state.next_title) == ("on_air", "Clip 1", "Clip 2")
    assert state.run_id == run.pk
    restored = NodeLedger("a").exchange(now + 4, [], [])[channel.pk]
    assert restored.state is AirState.ON_AIR
    assert restored.measured_at == pytest.approx(now + 2)
    assert restored.open_incidents == {"hub"}
    assert restored.open_takeovers == {stream.pk}
    # It resumes where viewers have seen it; the preview continues after the item on air.
    entry = items(mine)[0].entry
    assert restored.cursors == {BASE: Cursor(entry, 0, Fraction(3, 2), NOON)}
    seen = Channel.objects.select_related("state").get()
    assert plans.cursors(seen) == {BASE: Cursor(entry)}
    assert (state.now_rule, state.now_why) == (BASE, "The base playlist.")


def test_the_same_notes_twice_are_one_history(channel: Channel, run: Run) -> None:
    """After an exchange whose result was lost, the same notes are passed again."""
    book = NodeLedger("a")
    now = time.time()
    mine = book.exchange(now, [], [])[channel.pk]
    first, second = map(Turn, items(mine))
    notes: list[ledger.Note] = [
        ledger.RunOnAir(channel.pk, run.pk, now),
        ledger.Aired(channel.pk, run.pk, first, now, "whole", ""),
        ledger.IncidentOpened(channel.pk, run.pk, "hub", None, "lost", "It died.", now),
    ]
    for _ in range(2):
        book.exchange(now + 1, [shot(mine)], notes)
    assert AsRun.objects.count() == 1
    assert Incident.objects.count() == 1
    book.exchange(
        now + 9, [], [ledger.Aired(channel.pk, run.pk, second, now + 8, "cut", "Skipped.")]
    )
    ended = AsRun.objects.get(title="Clip 1")
    assert (ended.ending, ended.cause) == ("cut", "Skipped.")
    assert AsRun.objects.get(ended_at=None).title == "Clip 2"


def test_the_end_of_a_run_closes_what_is_open(channel: Channel, run: Run) -> None:
    book = NodeLedger("a")
    now = time.time()
    mine = book.exchange(now, [], [])[channel.pk]
    book.exchange(
        now + 1,
        [shot(mine)],
        [
            ledger.Aired(channel.pk, run.pk, Turn(items(mine)[0]), now, "whole", ""),
            ledger.IncidentOpened(channel.pk, run.pk, "hub", None, "lost", "x", now),
        ],
    )
    actions.stop(channel, by="you", now=timezone.now())
    assert book.exchange(now + 2, [shot(mine, AirState.STOPPING)], []) == {}
    book.exchange(now + 3, [], [ledger.RunEnded(channel.pk, run.pk, now + 3, "stopped")])
    run.refresh_from_db()
    assert (run.ended_by, run.end_reason) == ("you", "stopped")
    assert not AsRun.objects.filter(ended_at=None).exists()
    assert not Incident.objects.filter(closed_at=None).exists()
    state = ChannelState.objects.get(channel=channel)
    assert (state.state, state.owner, state.run) == ("off", "", None)


def test_a_restart_is_a_new_run_and_is_carried_out_once(channel: Channel, run: Run) -> None:
    book = NodeLedger("a")
    now = time.time()
    mine = book.exchange(now, [], [])[channel.pk]
    actions.restart(channel, by="you", now=timezone.now())
    answer = book.exchange(now + 1, [shot(mine)], [])[channel.pk]
    assert answer.restarts == answer.restarts_done + 1
    ended = [ledger.RunEnded(channel.pk, run.pk, now + 2, "restarted")]
    book.exchange(now + 2, [], ended)
    again = book.exchange(now + 3, [], [])[channel.pk]
    assert again.run != run.pk
    assert again.restarts == again.restarts_done


def test_a_rolled_back_exchange_is_repeated(channel: Channel, run: Run) -> None:
    """The end of a run, in an exchange that failed."""
    book, now = NodeLedger("a"), time.time()
    book.exchange(now, [], [])
    ended = ledger.RunEnded(channel.pk, run.pk, now, "restarted")
    with (
        patch.object(book, "_assign", side_effect=OperationalError("gone")),
        pytest.raises(OperationalError),
    ):
        book.exchange(now, [], [ended])
    assert Run.objects.filter(pk=run.pk, ended_at=None).exists()
    book.exchange(now, [], [ended])
    assert not Run.objects.filter(pk=run.pk, ended_at=None).exists()


def test_a_stop_without_a_supervisor_is_carried_out_by_the_next_one(
    channel: Channel, run: Run
) -> None:
    now = time.time()
    book = NodeLedger("a")
    mine = book.exchange(now, [], [])[channel.pk]
    book.exchange(now + 1, [shot(mine)], [])
    actions.stop(channel, by="you", now=timezone.now())
    assert NodeLedger("a").exchange(now + 2, [], []) == {}
    run.refresh_from_db()
    assert run.ended_at is not None


def test_notes_of_a_deleted_channel_are_dropped(channel: Channel, run: Run) -> None:
    book = NodeLedger("a")
    now = time.time()
    mine = book.exchange(now, [], [])[channel.pk]
    pk, run_pk = channel.pk, run.pk
    channel.delete()
    notes: list[ledger.Note] = [
        ledger.Logged(pk, run_pk, "hub", "info", "x", now),
        ledger.Aired(pk, run_pk, Turn(items(mine)[0]), now, "whole", ""),
    ]
    assert book.exchange(now + 1, [shot(mine)], notes) == {}
    assert not LogLine.objects.exists()


def test_a_removed_items_name_stays_in_the_log(channel: Channel, run: Run) -> None:
    book = NodeLedger("a")
    now = time.time()
    book.exchange(now, [], [])
    gone = Turn(Item("Gone", "gone.mp4", Mode.COPY, entry=9, media=4711))
    book.exchange(now, [], [ledger.Aired(channel.pk, run.pk, gone, now, "whole", "")])
    assert AsRun.objects.get(title="Gone").item is None


def test_a_changed_key_makes_another_edition(channel: Channel, run: Run) -> None:
    book = NodeLedger("a")
    now = time.time()
    before = book.exchange(now, [], [])[channel.pk].plan.outputs[0]
    Output.objects.update(key="K2")
    after = book.exchange(now + 1, [], [])[channel.pk].plan.outputs[0]
    assert before.edition != after.edition
    assert replace(before, edition="", key=after.key) == replace(after, edition="")


def test_the_database_refuses_a_second_open_run(channel: Channel, run: Run) -> None:
    with pytest.raises(IntegrityError, match=r"one_open_run_per_channel|channel_id"):
        Run.objects.create(channel=channel)


# ---- several nodes


def test_the_node_with_more_room_claims_first(channel: Channel, run: Run) -> None:
    Node.objects.create(name="b", seen_at=timezone.now(), max_channels=10_000, ffmpeg="5")
    book = ClockedLedger("a")
    assert book.after(0) == book.after(3) == {}
    # The other one did not: perhaps it can't.
    assert channel.pk in book.after(1)


def test_a_node_that_has_been_silent_is_not_waited_for(channel: Channel, run: Run) -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    Node.objects.create(name="b", seen_at=long_ago, max_channels=10_000, ffmpeg="5")
    assert channel.pk in ClockedLedger("a").after(0)


def drained(book: NodeLedger, mine: Assignment) -> Assignment:
    """Drain node a, and return its next assignment."""
    Node.objects.filter(name="a").update(drain_ordered_at=timezone.now())
    return book.exchange(time.time(), [shot(mine)], [])[mine.plan.pk]


def test_a_drained_channel_moves_between_two_items(channel: Channel, run: Run) -> None:
    first, second = NodeLedger("a"), ClockedLedger("b")
    now = time.time()
    mine = first.exchange(now, [], [])[channel.pk]
    aired = ledger.Aired(channel.pk, run.pk, Turn(items(mine)[0]), now - 10, "whole", "")
    first.exchange(now, [shot(mine)], [aired])
    second.after(0)
    assert drained(first, mine).leaves
    cursors = {BASE: Cursor(items(mine)[0].entry)}
    released = ledger.Released(channel.pk, run.pk, now, cursors)
    assert first.exchange(now + 1, [], [released]) == {}
    state = ChannelState.objects.get(channel=channel)
    assert (state.owner, state.cause) == ("", "It moves from a to another node.")
    # It drains still, and the run goes on where it was.
    assert first.exchange(now + 3, [], []) == {}
    theirs = second.after(2)[channel.pk]
    assert (theirs.run, theirs.released_by, theirs.leaves) == (run.pk, "a", False)
    assert theirs.cursors == cursors
    assert theirs.measured_at == pytest.approx(now)
    assert ChannelState.objects.get(channel=channel).owner == "b"
    second.exchange(time.time(), [shot(theirs)], [])
    assert ChannelState.objects.get(channel=channel).released_by == ""
    assert AsRun.objects.filter(ended_at=None).count() == 1


def test_a_drained_channel_stays_without_room_elsewhere(channel: Channel, run: Run) -> None:
    book = NodeLedger("a")
    mine = book.exchange(time.time(), [], [])[channel.pk]
    assert not drained(book, mine).leaves
    other = Node.objects.create(name="b", seen_at=timezone.now(), max_channels=0, ffmpeg="5")
    assert not drained(book, mine).leaves
    Node.objects.filter(pk=other.pk).update(max_channels=1, seen_at=timezone.now())
    assert drained(book, mine).leaves
    Node.objects.filter(name="a").update(drain_ordered_at=None)
    assert not book.exchange(time.time(), [shot(mine)], [])[channel.pk].leaves


def test_a_released_channel_that_lost_its_claim_is_left_alone(
    channel: Channel, run: Run
) -> None:
    first, second = NodeLedger("a"), ClockedLedger("b")
    first.exchange(time.time(), [], [])
    second.takes_over()
    first.exchange(time.time(), [], [ledger.Released(channel.pk, run.pk, time.time(), {})])
    assert ChannelState.objects.get(channel=channel).owner == "b"


def test_a_removed_node_appears_anew(channel: Channel) -> None:
    book = NodeLedger("a")
    book.exchange(time.time(), [], [])
    before = Node.objects.get()
    before.delete()
    book.exchange(time.time(), [], [])
    after = Node.objects.get()
    assert (after.version, after.max_channels) == (before.version, before.max_channels)
    assert after.version


def test_what_a_fenced_node_has_aired_is_added_where_it_belongs(
    channel: Channel, run: Run
) -> None:
    """The other node knew the last report only, and is on air by now."""
    first, second = NodeLedger("a"), ClockedLedger("b")
    now = time.time()
    mine = first.exchange(now, [], [])[channel.pk]
    clip, other = map(Turn, items(mine))

    def aired(
        turn: Turn, at: float, ending: str = "whole", until: float | None = None
    ) -> ledger.Aired:
        return ledger.Aired(channel.pk, run.pk, turn, now + at, ending, "", until)

    first.exchange(now, [shot(mine)], [aired(clip, 0)])
    second.takes_over()
    back = ledger.IncidentOpened(channel.pk, run.pk, "channel", None, "lost", "Gone.", now + 2)
    second.exchange(now + 20, [], [back, aired(clip, 20, "cut", now + 2)])
    fence = ledger.IncidentOpened(channel.pk, run.pk, FENCED, None, "lost", "Fenced.", now + 9)
    closed = ledger.IncidentClosed(channel.pk, "channel", now + 22)
    for _ in range(2):
        late: list[ledger.Note] = [aired(other, 5), fence, aired(clip, 12), closed]
        first.exchange(now + 22, [shot(mine)], late)
    rows = AsRun.objects.order_by("started_at").values_list(
        "title", "started_at", "ended_at", "ending", "cause"
    )
    assert [
        (title, start.timestamp() - now, end and end.timestamp() - now, ending, cause)
        for title, start, end, ending, cause in rows
    ] == [
        ("Clip 1", approx(0), approx(5), "whole", ""),
        ("Clip 2", approx(5), approx(9), "cut", "Fenced."),
        ("Clip 1", approx(20), None, "", ""),
    ]
    assert Incident.objects.get().closed_at is None


def test_all_nodes_write_the_times_of_one_clock(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's clock is five minutes ahead of the database server's."""
    monkeypatch.setattr("streams.node.ledger.clock_ahead", lambda: 300.0)
    book = NodeLedger("a")
    for corrected in (0, 300):
        book.exchange(time.time() - corrected, [], [])
        node = Node.objects.get()
        assert node.seen_at is not None
        assert time.time() - node.seen_at.timestamp() == pytest.approx(300, abs=5)
        assert node.clock_ahead == 300
        assert Now.read(book.claims.wall_offset).wall == pytest.approx(time.time() - 300, abs=1)


def approx(seconds: float) -> object:
    return pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    ("bitrate", "queued", "stored"),
    [
        (3_000_000, 4_000, (3_000_000, 4_000)),
        (None, 0, (None, 0)),
        (2**40, 2**33, (2**31 - 1, 2**31 - 1)),
    ],
)
def test_no_measured_value_keeps_history_from_being_written(
    channel: Channel, run: Run, bitrate: int | None, queued: int, stored: tuple[int | None, int]
) -> None:
    output = channel.outputs.get()
    sample = ledger.Sampled(
        channel.pk, output.pk, "pusher", NOON.timestamp(), "on_air", 3_000_000, 30.0, 1.0,
        0.0, 1.0, 50_000_000, Taken(bitrate, 0.0, queued),
    )  # fmt: skip
    history_writer.write([sample])
    row = Sample.objects.get(output=output)
    assert (row.acknowledged, row.queued_bytes) == stored
