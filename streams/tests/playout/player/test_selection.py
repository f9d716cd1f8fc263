"""What plays next when things fail: the chain of item, filler and slate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from fractions import Fraction

from media_library.house_format import HouseFormat
from streams.playout.contract.plan import ChannelPlan
from streams.playout.contract.turn import Turn
from streams.playout.player.selection import Choice
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import BASE, Block, Cursor, Return, Rotation, Start
from streams.tests.bench.engine import OnDisk, programme

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
    """A channel whose items play or fail as a test says."""

    programme: str = "abc"
    fillers: str = ""
    seconds: int = 10
    sources: OnDisk = field(default_factory=OnDisk)
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turn: Turn
        self.choice = Choice(self.sources, self.troubles.append)
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
        """The titles of what is chosen; the broken ones fail, in brackets."""
        shown = ""
        for _ in range(count):
            turn = self.turn = self.choice.next(self.plan, NOON, hurried=hurried)
            item = turn.item
            if item.title in broken:
                self.choice.failed(f"{item.title} failed", turn)
                shown += f"({item.title})"
            else:
                self.choice.played(turn)
                self.choice.aired(turn)
                shown += "-" if item is SLATE else item.title
        return shown


def test_the_programme_goes_round() -> None:
    assert Scene().play(5) == "abcab"


def test_a_broken_item_is_skipped_and_the_trouble_ends_with_the_next() -> None:
    scene = Scene()
    assert scene.play(4, "b") == "a(b)ca"
    assert scene.troubles == ["b failed", ""]


def test_where_time_is_short_something_stands_in_after_one_failure() -> None:
    assert Scene().play(4, "a", hurried=True) == "(a)-bc"
    assert Scene(fillers="x").play(4, "a", hurried=True) == "(a)xbc"


def test_where_everything_fails_the_slate_comes_every_fourth_time() -> None:
    assert Scene("abcde").play(10, *"abcde") == "(a)(b)(c)(d)-(e)(a)(b)(c)-"


def test_fillers_follow_each_other_and_a_broken_one_is_followed_by_the_slate() -> None:
    scene = Scene("a", fillers="xyz")
    assert scene.play(8, "a", "y") == "(a)x(a)(y)-(a)z(a)"


def test_an_empty_programme_is_the_filler_or_the_slate() -> None:
    assert Scene("").play(2) == "--"
    scene = Scene("", fillers="xy")
    assert scene.play(3) == "xyx"
    assert scene.troubles == [
        "The base playlist: no entry of its list may be played, so filler is on."
    ]


def test_while_the_storage_is_away_the_programme_plays_on_from_the_disk() -> None:
    scene = Scene("abcd")
    scene.sources.kept = {"a", "b"}
    scene.sources.out_of_reach = AWAY
    assert scene.play(2) == "ab"
    # Nothing to tell: the programme is whole. The storage has an incident of its own.
    assert scene.troubles == []


def test_then_the_filler_stands_in_and_the_programme_waits_where_it_was() -> None:
    scene = Scene("abcd", fillers="xy")
    scene.sources.kept = {"a", "b", "x", "y"}
    scene.sources.out_of_reach = AWAY
    assert scene.play(5) == "abxyx"
    assert set(scene.troubles) == {f"c has to wait: {AWAY}"}
    scene.sources.out_of_reach = ""
    assert scene.play(3) == "cda"
    assert scene.troubles[-1] == ""


def test_without_a_filler_what_is_at_hand_goes_round() -> None:
    scene = Scene("abcd")
    scene.sources.kept = {"a", "b"}
    scene.sources.out_of_reach = AWAY
    assert scene.play(6) == "ababab"
    scene.sources.out_of_reach = ""
    assert scene.play(2) == "cd"


def test_with_nothing_at_hand_the_slate_is_on_until_the_storage_is_back() -> None:
    scene = Scene("ab", fillers="x")
    scene.sources.out_of_reach = AWAY
    assert scene.play(3) == "---"
    scene.sources.out_of_reach = ""
    assert scene.play(2) == "ab"


def test_while_nobody_knows_only_a_filler_at_hand_stands_in() -> None:
    scene = Scene("ab", fillers="xy")
    scene.sources.out_of_reach = None
    assert scene.play(2, "a", hurried=True) == "(a)-"
    scene.sources.kept = {"y"}
    assert scene.play(3, "b", hurried=True) == "(b)ya"


def test_a_filler_at_hand_goes_before_one_that_is_not() -> None:
    scene = Scene("ab", fillers="xyz")
    scene.sources.kept = {"z"}
    assert scene.play(2, "a", hurried=True) == "(a)z"
    scene.choice.failed("z stalled", scene.turn, stalled=True)
    assert scene.play(1) == "-"


def test_after_a_stall_no_filler_is_read_from_the_storage() -> None:
    scene = Scene("ab", fillers="x")
    assert scene.play(1) == "a"
    scene.choice.failed("a stalled", scene.turn, stalled=True)
    assert scene.play(1) == "-"


def test_after_a_stall_what_is_next_must_be_at_hand() -> None:
    for kept, shown in (((), "-"), (("b",), "b")):
        scene = Scene()
        scene.sources.kept = set(kept)
        assert scene.play(1) == "a"
        scene.choice.failed("a stalled", scene.turn, stalled=True)
        assert scene.play(1) == shown


# ---- rules of return


def test_what_broke_off_is_gone_on_with_by_the_rule() -> None:
    for way, shown in (
        (Return.CONTINUE, ("a", 40)),
        (Return.RESTART, ("a", 0)),
        (Return.NEXT, ("b", 0)),
    ):
        scene = Scene(seconds=100)
        scene.plan = replace(scene.plan, programme=replace(scene.plan.programme, on_return=way))
        turn = scene.choice.next(scene.plan, NOON, hurried=False)
        scene.choice.failed("a was cut", turn)
        scene.choice.broken_off(turn, Fraction(41), NOON)
        again = scene.choice.next(scene.plan, NOON, hurried=False)
        assert (again.item.title, int(again.into)) == shown


def test_by_the_wall_clock_it_is_where_it_would_be() -> None:
    scene = Scene(seconds=100)
    programme = replace(scene.plan.programme, on_return=Return.WALL_CLOCK)
    scene.plan = replace(scene.plan, programme=programme)
    turn = scene.choice.next(scene.plan, NOON, hurried=False)
    scene.choice.broken_off(turn, Fraction(41), NOON)
    later = NOON + timedelta(seconds=70)
    again = scene.choice.next(scene.plan, later, hurried=False)
    assert (again.item.title, int(again.into)) == ("b", 10)


def test_what_breaks_off_at_once_is_not_tried_for_ever() -> None:
    scene = Scene(seconds=100)
    turn = scene.choice.next(scene.plan, NOON, hurried=False)
    scene.choice.broken_off(turn, Fraction(41), NOON)
    again = scene.choice.next(scene.plan, NOON, hurried=False)
    assert again.into == 40
    scene.choice.failed("a is broken there", again)
    scene.choice.broken_off(again, Fraction(3), NOON)
    assert scene.play(2) == "bc"


def test_a_filler_gives_way_when_the_programme_can_be_had_again() -> None:
    scene = Scene("ab", fillers="x")
    scene.sources.kept = {"x"}
    scene.sources.out_of_reach = AWAY
    assert scene.play(1) == "x"
    assert not scene.choice.well_again(scene.plan, NOON)
    scene.sources.out_of_reach = ""
    assert scene.choice.well_again(scene.plan, NOON)


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
    # Nobody has rated the item, and one of the fillers is for adults.
    assert scene.play(3) == "yyy"


def test_what_is_missing_is_passed_over_although_it_was_to_be_cut() -> None:
    """A block that cuts in ahead gives the item a place to go on with: not if it failed."""
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
        scene.choice.cursors = {}
        turn = scene.choice.next(scene.plan, NOON, hurried=False)
        assert turn.limit == 60 // Fraction(16, 30) * Fraction(16, 30)
        scene.choice.passed_over(turn)
        assert scene.play(1) == "b"


def test_what_is_broken_in_the_middle_is_not_begun_again_for_ever() -> None:
    scene = Scene(seconds=3600)
    programme = replace(scene.plan.programme, on_return=Return.RESTART)
    scene.plan = replace(scene.plan, programme=programme)
    shown = ""
    for _ in range(4):
        turn = scene.choice.next(scene.plan, NOON, hurried=False)
        shown += turn.item.title
        if turn.item.title == "a":
            scene.choice.failed("a is broken there", turn)
            scene.choice.broken_off(turn, Fraction(1800), NOON)
        else:
            scene.choice.played(turn)
    assert shown == "aabc"


def test_places_of_blocks_that_are_gone_are_forgotten() -> None:
    scene = Scene()
    scene.choice.cursors = {f"block-{number}": Cursor(1) for number in range(200)}
    assert scene.play(1) == "a"
    assert scene.choice.cursors == {BASE: Cursor(1)}


def test_only_what_ends_at_its_limit_was_cut() -> None:
    """What is not prepared may not play past a block; mostly it ends long before."""
    frame = Fraction(1, 30)
    turn = Turn(items("a")[0], limit=Fraction(21_600))
    assert not turn.was_cut(Fraction(2), frame)
    assert turn.was_cut(Fraction(21_600), frame)
    assert not Turn(items("a")[0]).was_cut(Fraction(2), frame)


def test_an_item_that_was_fed_before_it_does_not_end_the_trouble() -> None:
    """What is on air is seconds behind what is chosen."""
    scene = Scene("ab")
    before = scene.choice.next(scene.plan, NOON, hurried=False)
    scene.choice.played(before)
    gone = scene.choice.next(scene.plan, NOON, hurried=False)
    scene.choice.failed("b is missing", gone, stalled=True)
    slate = scene.choice.next(scene.plan, NOON, hurried=False)
    assert slate.stands_in
    scene.choice.aired(before)
    assert scene.troubles == ["b is missing"]
    scene.choice.aired(slate)
    again = scene.choice.next(scene.plan, NOON, hurried=False)
    scene.choice.aired(again)
    assert scene.troubles == ["b is missing", ""]
