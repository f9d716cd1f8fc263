"""The second node of a channel: its claim, the hand-over of its outputs, and its promotion."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import IntegrityError, OperationalError, transaction
from django.utils import timezone
from pytest_django import Settings

from media_library.models import MediaItem, Playlist, PlaylistEntry
from streams.models import (
    AsRun,
    Channel,
    ChannelState,
    LogLine,
    Node,
    Output,
    OutputState,
    Run,
)
from streams.monitoring.components import PARTS
from streams.monitoring.report import report
from streams.node import second as second_module
from streams.node.ledger import NodeLedger
from streams.node.second import unwritten
from streams.playout.contract import ledger
from streams.playout.contract.fence import LEASE_S
from streams.playout.contract.output_status import Status
from streams.playout.contract.place import Place
from streams.playout.contract.plan import Assignment
from streams.playout.contract.states import AirState, OutputAir
from streams.playout.contract.turn import Turn
from streams.programme.item import Item, Mode
from streams.programme.model import BASE, Cursor

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ON_AIR = ledger.OutputSnapshot(Status(OutputAir.ON_AIR), 0.0, None, 2_900_000, 30.0, 1.0)


@pytest.fixture(autouse=True)
def facts() -> Iterator[None]:
    """A slate takes seconds and FFmpeg's version half a second; neither is tested here."""
    with (
        patch("media_library.conform.slate.made", return_value=(Path("/slate.mp4"), 128)),
        patch("streams.node.ledger.ffmpeg_version", return_value="ffmpeg"),
    ):
        yield


@pytest.fixture
def channel() -> Channel:
    playlist = Playlist.objects.create(name="P")
    for number in (1, 2):
        item = MediaItem.objects.create(key=f"{number}.mp4", title=f"Clip {number}")
        PlaylistEntry.objects.create(playlist=playlist, item=item, position=number)
    made = Channel.objects.create(name="Demo", slug="demo", playlist=playlist)
    for name in ("Main", "Backup"):
        made.outputs.create(
            name=name, platform="rtmp", url="rtmp://h/app", second_node=name == "Backup"
        )
    Channel.objects.filter(pk=made.pk).update(desired_state="on", ordered_by="me")
    return made


@pytest.fixture
def run(channel: Channel) -> Run:
    return Run.objects.create(channel=channel, started_by="me")


class Simulated:
    """A node whose engine sends exactly what it is assigned, and ends at once."""

    def __init__(self, name: str) -> None:
        self.clock = 1000.0
        self.book = NodeLedger(name, mono=lambda: self.clock)
        self.plays: dict[int, Assignment] = {}
        #: Seconds of the present item that were played.
        self.played = 4.0

    def tick(
        self, *notes: ledger.Note, later: float = 2.0, state: AirState = AirState.ON_AIR
    ) -> None:
        self.clock += later
        shots = [self._shot(assignment, state) for assignment in self.plays.values()]
        answer = self.book.exchange(time.time(), shots, notes)
        self.plays = {pk: a for pk, a in answer.items() if pk not in self.book.claims.lost}

    def _shot(self, assignment: Assignment, state: AirState) -> ledger.Snapshot:
        item = assignment.plan.programme.base.entries[0].item
        cursors = {BASE: Cursor(item.entry)}
        now = time.time()
        turn = Turn(item, BASE, seconds=Fraction(60), cursors=cursors)
        return ledger.Snapshot(
            channel=assignment.plan.pk,
            run=assignment.run,
            state=state,
            cause="",
            since=now,
            on_air_since=now,
            now=turn,
            now_since=now,
            now_until=now + 5,
            next=None,
            bitrate=3_000_000,
            restarts_done=assignment.restarts_done,
            skips_done=assignment.skips_done,
            cursors=cursors,
            seen=cursors,
            outputs={output.pk: ON_AIR for output in assignment.plan.outputs},
            place=Place(turn, self.clock - self.played, 4.5),
        )

    @property
    def sends(self) -> list[str]:
        return [output.name for a in self.plays.values() for output in a.plan.outputs]

    @property
    def second(self) -> bool:
        return any(assignment.second for assignment in self.plays.values())


@pytest.fixture
def pair(channel: Channel, run: Run) -> tuple[Simulated, Simulated]:
    """The owner, and its second node, which sends its output."""
    first, second = Simulated("a"), Simulated("b")
    sent = []
    for _ in range(6):
        first.tick()
        sent.append(sorted(first.sends + second.sends))
        second.tick()
        sent.append(sorted(first.sends + second.sends))
    assert ["Backup", "Backup", "Main"] not in sent, "an output never has two senders"
    assert (first.sends, second.sends, second.second) == (["Main"], ["Backup"], True)
    return first, second


def row() -> ChannelState:
    return ChannelState.objects.get()


def test_without_another_node_the_owner_sends_everything(channel: Channel, run: Run) -> None:
    first = Simulated("a")
    for _ in range(4):
        first.tick()
        assert first.sends == ["Main", "Backup"]
    ok, sentence = PARTS["second_nodes"](timezone.now())
    assert not ok
    assert sentence.startswith("No second node sends Demo: Backup: ")
    main, backup = report(timezone.now()).channels[0].outputs
    assert (main.sender, backup.sender) == (
        "",
        "No second node sends it: a does, which plays the channel.",
    )


def test_without_a_marked_output_there_is_no_second_node(channel: Channel, run: Run) -> None:
    Output.objects.update(second_node=False)
    first, second = Simulated("a"), Simulated("b")
    for _ in range(4):
        first.tick()
        second.tick()
    assert (first.sends, second.plays, row().second_owner) == (["Main", "Backup"], {}, "")


def test_the_owner_sends_until_the_second_node_is_ready(channel: Channel, run: Run) -> None:
    first, second = Simulated("a"), Simulated("b")
    first.tick()
    first.tick()
    for _ in range(4):
        second.tick(state=AirState.STARTING)
        first.tick()
        assert (first.sends, second.sends) == (["Main", "Backup"], [])
    second.tick()
    first.tick()
    # It has been told to stop, but has not reported yet that it has.
    assert (first.sends, row().handed_over == row().second_epoch) == (["Main"], False)
    second.tick()
    assert second.sends == []
    first.tick()
    second.tick()
    assert second.sends == ["Backup"]


def test_a_second_node_that_is_lost_before_it_is_ready_leaves_room_for_another(
    channel: Channel, run: Run
) -> None:
    first, second, third = Simulated("a"), Simulated("b"), Simulated("c")
    first.tick()
    first.tick()
    second.tick()
    assert row().second_owner == "b"
    for _ in range(int(LEASE_S // 2) + 2):
        first.tick()
        assert first.sends == ["Main", "Backup"]
    third.tick()
    assert row().second_owner == "c"


def test_its_state_and_place_are_read(pair: tuple[Simulated, Simulated]) -> None:
    _, second = pair
    assert PARTS["second_nodes"](timezone.now())[0]
    main, backup = report(timezone.now()).channels[0].outputs
    assert (main.node, main.sender, main.second_node) == ("a", "", False)
    assert (backup.node, backup.sender) == ("b", "Sent by b, the second node.")
    assert dict(OutputState.objects.values_list("output__name", "node")) == {
        "Main": "a",
        "Backup": "b",
    }
    (assignment,) = second.plays.values()
    place = assignment.owner_place
    assert place is not None
    assert (place.turn.item.title, place.turn.cursors, place.lag) == (
        "Clip 1",
        {BASE: Cursor(place.turn.item.entry)},
        4.5,
    )
    # Clocks of two nodes are not compared: it began so long ago by the second node's own clock.
    assert 4 <= second.clock - place.began < 4 + 30


def test_history_is_written_by_the_owner_only(pair: tuple[Simulated, Simulated]) -> None:
    first, second = pair
    (a,) = second.plays.values()
    turn = Turn(a.plan.programme.base.entries[0].item, BASE)
    pk, run, now = a.plan.pk, a.run, time.time()
    notes: list[ledger.Note] = [
        ledger.Aired(pk, run, turn, now, "whole", ""),
        ledger.IncidentOpened(pk, run, "output-2", None, "lost", "x", now),
        ledger.Logged(pk, run, "channel", "info", "On air: Clip 1", now),
        ledger.Logged(pk, run, "output-2", "info", "Backup: on air", now),
    ]
    second.tick(*notes)
    assert AsRun.objects.count() == 0
    assert [line.text for line in LogLine.objects.all()] == ["Backup: on air"]
    first.tick(notes[0])
    assert AsRun.objects.count() == 1


def test_a_lost_second_node_returns_its_outputs(pair: tuple[Simulated, Simulated]) -> None:
    first, second = pair
    for _ in range(int(LEASE_S // 2) + 2):
        assert first.sends == ["Main"]
        first.tick()
    assert first.sends == ["Main", "Backup"]
    # It is back, and must not send what the owner sends.
    second.tick()
    assert (second.plays, row().second_owner) == ({}, "")


def test_the_second_node_becomes_the_owner_before_others(
    pair: tuple[Simulated, Simulated],
) -> None:
    first, second = pair
    third = Simulated("c")
    (a,) = second.plays.values()
    item, other = (entry.item for entry in a.plan.programme.base.entries)
    aired = []
    for played, at in ((item, time.time() - 60), (other, time.time())):
        turn = Turn(played, BASE, cursors={BASE: Cursor(played.entry)})
        aired.append(ledger.Aired(a.plan.pk, a.run, turn, at, "whole", ""))
    second.tick(*aired)
    first.tick(aired[0])
    for _ in range(int(LEASE_S // 2) + 2):
        assert second.sends == ["Backup"]
        third.tick()
        second.tick()
    assert (second.sends, second.second, third.plays) == (["Main", "Backup"], False, {})
    state = row()
    assert (state.owner, state.second_owner, state.epoch) == ("b", "", 2)
    # The item that began after the owner was lost is in its log.
    assert list(AsRun.objects.order_by("started_at").values_list("title", flat=True)) == [
        "Clip 1",
        "Clip 2",
    ]
    assert second.plays[a.plan.pk].run == a.run
    # The next second node is chosen anew.
    for _ in range(4):
        second.tick()
        third.tick()
    assert (second.sends, third.sends) == (["Main"], ["Backup"])
    # The first one is back: it is neither.
    first.tick()
    first.tick()
    assert first.plays == {}


def test_a_new_supervisor_of_the_second_node_keeps_its_outputs(
    pair: tuple[Simulated, Simulated],
) -> None:
    first, _ = pair
    again = Simulated("b")
    again.tick()
    assert (again.sends, again.second) == (["Backup"], True)
    first.tick()
    assert first.sends == ["Main"]


def test_a_new_supervisor_of_the_owner_leaves_them_to_it(
    pair: tuple[Simulated, Simulated],
) -> None:
    again = Simulated("a")
    again.tick()
    assert (again.sends, again.second) == (["Main"], False)


def test_changed_marks_begin_another_claim(pair: tuple[Simulated, Simulated]) -> None:
    """No output has two senders at any moment."""
    first, second = pair
    Output.objects.filter(name="Main").update(second_node=True)
    Output.objects.filter(name="Backup").update(second_node=False)
    for _ in range(8):
        first.tick()
        assert len({*first.sends, *second.sends}) == len(first.sends + second.sends)
        second.tick()
        assert len({*first.sends, *second.sends}) == len(first.sends + second.sends)
    assert (first.sends, second.sends) == (["Backup"], ["Main"])


def test_a_disabled_output_leaves_the_others_alone(pair: tuple[Simulated, Simulated]) -> None:
    first, second = pair
    Output.objects.filter(name="Main").update(enabled=False)
    first.tick(later=6)
    second.tick(later=6)
    assert (first.sends, second.sends) == ([], ["Backup"])
    Output.objects.filter(name="Backup").delete()
    for _ in range(3):
        first.tick()
        second.tick()
    assert (second.plays, row().second_owner) == ({}, "")


def test_a_second_node_that_drains_gives_its_claim_up(
    pair: tuple[Simulated, Simulated],
) -> None:
    """The owner sends its outputs, and it does not become the second node again."""
    first, second = pair
    Node.objects.filter(name="b").update(drain_ordered_at=timezone.now())
    for _ in range(6):
        second.tick(later=6)
        first.tick(later=6)
        assert len({*first.sends, *second.sends}) == len(first.sends + second.sends)
    assert (first.sends, row().second_owner) == (["Main", "Backup"], "")


def test_a_full_node_is_no_second_node(channel: Channel, run: Run, settings: Settings) -> None:
    first = Simulated("a")
    settings.MAX_CHANNELS = 0
    second = Simulated("b")
    for _ in range(4):
        first.tick()
        second.tick()
    assert (first.sends, row().second_owner) == (["Main", "Backup"], "")


def test_a_second_node_that_stops_gives_its_claim_up(
    pair: tuple[Simulated, Simulated],
) -> None:
    first, second = pair
    (a,) = second.plays.values()
    second.plays = {}
    with patch.object(second_module.Seconds, "claim", return_value=False):
        second.tick(ledger.RunEnded(a.plan.pk, a.run, time.time(), "stopped"))
    assert row().second_owner == ""
    first.tick()
    assert first.sends == ["Main", "Backup"]
    assert Run.objects.get().ended_at is None


def test_a_failed_exchange_changes_no_claim(pair: tuple[Simulated, Simulated]) -> None:
    _, second = pair
    before = row()
    with (
        patch("streams.node.ledger.history_writer.write", side_effect=OperationalError),
        pytest.raises(OperationalError),
    ):
        second.tick()
    second.tick()
    assert (row().second_epoch, second.sends) == (before.second_epoch, ["Backup"])


def test_the_database_refuses_one_node_for_both(pair: tuple[Simulated, Simulated]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        ChannelState.objects.update(second_owner="a")


def _aired(name: str, at: float) -> ledger.Aired:
    item = Item(name, name, Mode.PREPARED, entry=ord(name))
    return ledger.Aired(
        1, 1, Turn(item, BASE, cursors={BASE: Cursor(item.entry)}), at, "whole", ""
    )


@pytest.mark.parametrize(
    ("last", "aired", "expected"),
    [
        ("a", "", ""),
        ("a", "a", ""),
        ("a", "ab", "b"),
        ("a", "xabc", "bc"),
        # Two turns of one item: the second one joined it in the middle.
        ("a", "aab", "b"),
        # It is behind the owner, or plays something else: what was written is unknown.
        ("b", "a", ""),
        (None, "ab", ""),
    ],
)
def test_what_a_lost_owner_has_not_written(last: str | None, aired: str, expected: str) -> None:
    notes = [_aired(name, at) for at, name in enumerate(aired)]
    turn = None if last is None else _aired(last, 0).turn
    assert "".join(note.turn.item.title for note in unwritten(turn, notes)) == expected


def test_a_stopped_channel_ends_its_second_node(pair: tuple[Simulated, Simulated]) -> None:
    first, second = pair
    Channel.objects.update(desired_state="off", ordered_at=timezone.now())
    (a,) = second.plays.values()
    second.tick()
    assert second.plays == {}
    ended = replace(ledger.RunEnded(a.plan.pk, a.run, time.time(), "stopped"))
    second.tick(ended)
    first.tick()
    assert Run.objects.get().ended_at is None, "the owner ends the run"
    first.tick(ended)
    assert Run.objects.get().ended_at is not None
    assert (row().owner, row().second_owner) == ("", "")
