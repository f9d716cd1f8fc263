"""Selecting the next turn after failures: item, filler, slate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction

from media_library.house_format import HouseFormat
from streams.playout.contract.plan import ChannelPlan
from streams.playout.contract.turn import Turn
from streams.playout.player.selection import Selection
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import BASE, Block, Cursor, Return, Rotation, Start
from streams.tests.bench.engine import FileSources, programme

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
AWAY = "The storage can't be reached."
SLATE = Item("Slate", "slate", Mode.PREPARED, Kind.SLATE)


def items(names: str, kind: Kind = Kind.ITEM) -> tuple[Item, ...]:
    return tuple(
        Item(name, name, Mode.PREPARED, kind, entry=entry)
        for entry, name in enumerate(names, 1)
    )


@dataclass
class Scene:
    """A channel whose items play or fail as the test requests."""

    programme: str = "abc"
    fillers: str = ""
    seconds: int = 10
    sources: FileSources = field(default_factory=FileSources)
    troubles: list[str] = field(default_factory=list)
    choice: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        self.turn: Turn
        self.plan = ChannelPlan(
            1,
            "test",
            HouseFormat(),
            programme(
                *items(self.programme),
                filler=items(self.fillers, Kind.FILLER),
                seconds=self.seconds,
            ),
            (),
            SLATE,
        )

    def play(self, count: int, *broken: str, hurried: bool = False) -> str:
        """Titles of the selected turns; broken ones fail, in brackets."""
        shown = ""
        for _ in range(count):
            turn = self.next(hurried=hurried)
            item = turn.item
            if item.title in broken:
                self.failed(f"{item.title} failed", turn)
                shown += f"({item.title})"
            else:
                self.becomes(self.choice.played(turn))
                self.becomes(self.choice.aired(turn))
                shown += "-" if item is SLATE else item.title
        return shown

    def next(self, at: datetime = NOON, *, hurried: bool = False) -> Turn:
        after, self.turn = self.choice.next(self.plan, self.sources, at, hurried=hurried)
        self.becomes(after)
        return self.turn

    def failed(self, cause: str, turn: Turn, *, stalled: bool = False) -> None:
        self.becomes(self.choice.failed(cause, turn, stalled=stalled))

    def broke_off(self, turn: Turn, fed: int) -> None:
        self.becomes(self.choice.broke_off(turn, Fraction(fed), NOON))

    def becomes(self, after: Selection) -> None:
        if after.trouble != self.choice.trouble:
            self.troubles.append(after.trouble or "")
        self.choice = after

    def is_available_again(self) -> bool:
        return self.choice.is_available_again(self.plan, self.sources, NOON)


def test_the_programme_goes_round() -> None:
    assert Scene().play(5) == "abcab"


def test_a_broken_item_is_skipped_and_the_next_one_ends_the_trouble() -> None:
    scene = Scene()
    assert scene.play(4, "b") == "a(b)ca"
    assert scene.troubles == ["b failed", ""]


def test_under_time_pressure_a_stand_in_follows_the_first_failure() -> None:
    assert Scene().play(4, "a", hurried=True) == "(a)-bc"
    assert Scene(fillers="x").play(4, "a", hurried=True) == "(a)xbc"


def test_if_everything_fails_every_fourth_turn_is_the_slate() -> None:
    assert Scene("abcde").play(10, *"abcde") == "(a)(b)(c)(d)-(e)(a)(b)(c)-"


def test_fillers_rotate_and_the_slate_follows_a_broken_one() -> None:
    scene = Scene("a", fillers="xyz")
    assert scene.play(8, "a", "y") == "(a)x(a)(y)-(a)z(a)"


def test_an_empty_programme_is_the_filler_or_the_slate() -> None:
    assert Scene("").play(2) == "--"
    scene = Scene("", fillers="xy")
    assert scene.play(3) == "xyx"
    assert scene.troubles == [
        "The base playlist: no entry of its list may be played, so filler plays."
    ]


def test_while_the_storage_is_unreachable_items_on_disk_keep_playing() -> None:
    scene = Scene("abcd")
    scene.sources.kept = {"a", "b"}
    scene.sources.out_of_reach = AWAY
    assert scene.play(2) == "ab"
    # Nothing to report: the programme is complete. The storage has its own incident.
    assert scene.troubles == []


def test_without_items_on_disk_the_filler_plays_and_the_programme_waits() -> None:
    scene = Scene("abcd", fillers="xy")
    scene.sources.kept = {"a", "b", "x", "y"}
    scene.sources.out_of_reach = AWAY
    assert scene.play(5) == "abxyx"
    assert set(scene.troubles) == {f"c must wait: {AWAY}"}
    scene.sources.out_of_reach = ""
    assert scene.play(3) == "cda"
    assert scene.troubles[-1] == ""


def test_without_a_filler_the_items_on_disk_repeat() -> None:
    scene = Scene("abcd")
    scene.sources.kept = {"a", "b"}
    scene.sources.out_of_reach = AWAY
    assert scene.play(6) == "ababab"
    scene.sources.out_of_reach = ""
    assert scene.play(2) == "cd"


def test_with_nothing_on_disk_the_slate_plays_until_the_storage_returns() -> None:
    scene = Scene("ab", fillers="x")
    scene.sources.out_of_reach = AWAY
    assert scene.play(3) == "---"
    scene.sources.out_of_reach = ""
    assert scene.play(2) == "ab"


def test_while_the_storage_is_unknown_only_a_local_filler_is_used() -> None:
    scene = Scene("ab", fillers="xy")
    scene.sources.out_of_reach = None
    assert scene.play(2, "a", hurried=True) == "(a)-"
    scene.sources.kept = {"y"}
    assert scene.play(3, "b", hurried=True) == "(b)ya"


def test_a_local_filler_comes_before_a_remote_one() -> None:
    scene = Scene("ab", fillers="xyz")
    scene.sources.kept = {"z"}
    assert scene.play(2, "a", hurried=True) == "(a)z"
    scene.failed("z stalled", scene.turn, stalled=True)
    assert scene.play(1) == "-"


def test_after_a_stall_no_filler_is_read_from_the_storage() -> None:
    scene = Scene("ab", fillers="x")
    assert scene.play(1) == "a"
    scene.failed("a stalled", scene.turn, stalled=True)
    assert scene.play(1) == "-"


def test_after_a_stall_the_next_item_must_be_local() -> None:
    for kept, shown in (((), "-"), (("b",), "b")):
        scene = Scene()
        scene.sources.kept = set(kept)
        assert scene.play(1) == "a"
        scene.failed("a stalled", scene.turn, stalled=True)
        assert scene.play(1) == shown


# ---- rules of return


def test_an_item_that_broke_off_is_resumed_by_the_return_rule() -> None:
    for way, shown in (
        (Return.CONTINUE, ("a", 40)),
        (Return.RESTART, ("a", 0)),
        (Return.NEXT, ("b", 0)),
    ):
        scene = Scene(seconds=100)
        scene.plan = replace(scene.plan, programme=replace(scene.plan.programme, on_return=way))
        turn = scene.next()
        scene.failed("a was cut", turn)
        scene.broke_off(turn, 41)
        again = scene.next()
        assert (again.item.title, int(again.into)) == shown


def test_by_the_wall_clock_the_list_is_where_it_would_be() -> None:
    scene = Scene(seconds=100)
    programme = replace(scene.plan.programme, on_return=Return.WALL_CLOCK)
    scene.plan = replace(scene.plan, programme=programme)
    turn = scene.next()
    scene.broke_off(turn, 41)
    later = NOON + timedelta(seconds=70)
    again = scene.next(later)
    assert (again.item.title, int(again.into)) == ("b", 10)


def test_an_item_that_breaks_off_at_once_is_not_retried_forever() -> None:
    scene = Scene(seconds=100)
    turn = scene.next()
    scene.broke_off(turn, 41)
    again = scene.next()
    assert again.into == 40
    scene.failed("a is broken there", again)
    scene.broke_off(again, 3)
    assert scene.play(2) == "bc"


def test_a_filler_ends_when_the_programme_is_available_again() -> None:
    scene = Scene("ab", fillers="x")
    scene.sources.kept = {"x"}
    scene.sources.out_of_reach = AWAY
    assert scene.play(1) == "x"
    assert not scene.is_available_again()
    scene.sources.out_of_reach = ""
    assert scene.is_available_again()


def test_nothing_above_the_rating_stands_in() -> None:
    scene = Scene("a", fillers="xy")
    programme = scene.plan.programme
    rated = [
        replace(entry, rating=age)
        for entry, age in zip(programme.filler.entries, (18, 6), strict=True)
    ]
    scene.plan = replace(
        scene.plan,
        programme=replace(programme, filler=Rotation(tuple(rated)), max_rating=12),
    )
    # The item is unrated, and one of the fillers is for adults.
    assert scene.play(3) == "yyy"


def test_a_missing_item_is_skipped_even_if_it_was_to_be_cut() -> None:
    """A block that cuts in ahead sets a position to resume the item: not if the item failed."""
    news = Block(
        1, "News", programme(*items("n")).base, time(12, 1), time(13), start=Start.HARD
    )
    for way in Return:
        scene = Scene(seconds=100)
        scene.plan = replace(
            scene.plan,
            programme=replace(scene.plan.programme, blocks=(news,), on_return=way),
        )
        assert scene.play(2, "a") == "(a)b"
        scene.choice = Selection()
        turn = scene.next()
        assert turn.limit == 60 // Fraction(16, 30) * Fraction(16, 30)
        scene.becomes(scene.choice.skipped(turn))
        assert scene.play(1) == "b"


def test_an_item_broken_in_the_middle_is_not_restarted_forever() -> None:
    scene = Scene(seconds=3600)
    programme = replace(scene.plan.programme, on_return=Return.RESTART)
    scene.plan = replace(scene.plan, programme=programme)
    shown = ""
    for _ in range(4):
        turn = scene.next()
        shown += turn.item.title
        if turn.item.title == "a":
            scene.failed("a is broken there", turn)
            scene.broke_off(turn, 1800)
        else:
            scene.becomes(scene.choice.played(turn))
    assert shown == "aabc"


def test_cursors_of_deleted_blocks_are_dropped() -> None:
    scene = Scene()
    old = {f"block-{number}": Cursor(1) for number in range(200)}
    scene.choice = Selection(old)
    assert scene.play(1) == "a"
    assert scene.choice.cursors == {BASE: Cursor(1)}


def test_only_a_turn_that_ends_at_its_limit_was_cut() -> None:
    """An unprepared item may not play into a block, but mostly ends long before."""
    frame = Fraction(1, 30)
    turn = Turn(items("a")[0], limit=Fraction(21_600))
    assert not turn.was_cut(Fraction(2), frame)
    assert turn.was_cut(Fraction(21_600), frame)
    assert not Turn(items("a")[0]).was_cut(Fraction(2), frame)


def test_an_item_that_was_fed_before_it_does_not_end_the_trouble() -> None:
    """The item on air is seconds behind the selected one."""
    scene = Scene("ab")
    before = scene.next()
    scene.becomes(scene.choice.played(before))
    gone = scene.next()
    scene.failed("b is missing", gone, stalled=True)
    slate = scene.next()
    assert slate.stands_in
    scene.becomes(scene.choice.aired(before))
    assert scene.troubles == ["b is missing"]
    scene.becomes(scene.choice.aired(slate))
    again = scene.next()
    scene.becomes(scene.choice.aired(again))
    assert scene.troubles == ["b is missing", ""]
