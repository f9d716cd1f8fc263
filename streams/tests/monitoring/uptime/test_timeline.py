"""Timelines and bars: the worst of a slot shows, and unknown is never shown as good or bad."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from streams.monitoring.uptime import causes, timeline
from streams.monitoring.uptime.tally import Stretch, Trouble, air
from streams.monitoring.uptime.timeline import AirKind, Level

BEGUN = datetime(2026, 3, 1, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


def at(hours: float) -> datetime:
    return BEGUN + timedelta(hours=hours)


def trouble(begins: float, ends: float | None, severity: str = "lost") -> Trouble:
    return Trouble(at(begins), None if ends is None else at(ends), severity)


RUN = Stretch(at(2), at(2), at(20))
SILENT = Stretch(at(2), at(2), at(20), silent=True)
#: On for three minutes, and on the air after five seconds.
YOUNG = Stretch(at(2), at(2 + 5 / 3600), at(2.05))


def parts(run: Stretch, *troubles: Trouble, outputs: tuple[Trouble, ...] = ()) -> list[object]:
    made = air([run], troubles, at(24), of_outputs=outputs)
    return [
        ((one.begins - BEGUN) / timedelta(hours=1), one.kind.value)
        for one in timeline.segments(made, (at(0), at(24)))
    ]


@pytest.mark.parametrize(
    ("run", "troubles", "outputs", "expected"),
    [
        (RUN, (), (), [(0, "off"), (2, "on_air"), (20, "off")]),
        (SILENT, (), (), [(0, "off"), (2, "on_air"), (20, "unknown")]),
        # An incident that is open while the worker is silent: nobody knows.
        (SILENT, (trouble(19, None),), (), [
            (0, "off"), (2, "on_air"), (19, "lost"), (20, "unknown")]),
        (RUN, (trouble(3, 4), trouble(3.5, 5, "degraded")), (), [
            (0, "off"), (2, "on_air"), (3, "lost"), (4, "degraded"), (5, "on_air"),
            (20, "off")]),
        (RUN, (trouble(3, 4, "planned"),), (), [
            (0, "off"), (2, "on_air"), (3, "planned"), (4, "on_air"), (20, "off")]),
        # One of two outputs is lost: viewers of the other one see the channel.
        (RUN, (), (trouble(6, 7),), [
            (0, "off"), (2, "on_air"), (6, "degraded"), (7, "on_air"), (20, "off")]),
    ],
)  # fmt: skip
def test_segments(
    run: Stretch,
    troubles: tuple[Trouble, ...],
    outputs: tuple[Trouble, ...],
    expected: list[object],
) -> None:
    assert parts(run, *troubles, outputs=outputs) == expected


def test_a_second_colours_its_slot_and_leads_to_its_moment() -> None:
    lost = Trouble(at(3) + timedelta(seconds=7), at(3) + timedelta(seconds=8), "lost")
    span = (at(0), at(24))
    slots = timeline.slots(timeline.segments(air([RUN], [lost], at(24)), span), span)
    assert len(slots) == 288
    assert [one.place for one in slots if one.kind is AirKind.LOST] == [36]
    assert slots[36].moment == lost.begins
    strip = timeline.joined(slots)
    assert [(one.place, one.width, one.kind.value) for one in strip] == [
        (0, 24, "off"), (24, 12, "on_air"), (36, 1, "lost"), (37, 203, "on_air"),
        (240, 48, "off"),
    ]  # fmt: skip


def test_no_slot_lies_in_the_future() -> None:
    span = (at(0), at(24))
    made = air([Stretch(at(0), at(0))], [], at(6))
    assert len(timeline.slots(timeline.segments(made, span), span)) == 72


@pytest.mark.parametrize(
    ("run", "troubles", "level", "words"),
    [
        (RUN, (), Level.GOOD, "100 % on the air"),
        (RUN, (trouble(3, 3.01),), Level.FAIR, "99.944 % on the air, 0:36 off the air"),
        (RUN, (trouble(3, 4, "degraded"),), Level.FAIR, "100 % on the air, 1:00:00 degraded"),
        (RUN, (trouble(3, 4, "planned"),), Level.GOOD, "1:00:00 planned interruptions"),
        (RUN, (trouble(3, 4),), Level.BAD, "94.444 % on the air"),
        # The start of a channel that is on for the first minutes.
        (YOUNG, (), Level.FAIR, "97.222 % on the air, 0:05 off the air"),
        # A good day of which four hours are unknown is not green.
        (SILENT, (), Level.NONE, "100 % on the air, 4:00:00 unknown"),
        (SILENT, (trouble(3, 4),), Level.BAD, "4:00:00 unknown"),
    ],
)
def test_levels_of_a_day(
    run: Stretch, troubles: tuple[Trouble, ...], level: Level, words: str
) -> None:
    before, day = timeline.days(
        air([run], troubles, at(24) - timedelta(seconds=1)), UTC_ZONE, 2
    )
    assert (before.level, before.sentence) == (Level.NONE, "28 Feb 2026: not ordered on")
    assert day.level is level
    assert words in day.sentence.replace("3:59:59", "4:00:00")


def test_days_are_the_channels_own_and_may_have_23_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 3, 30, 12, tzinfo=UTC)
    (_, (begins, ends)), (today, _) = timeline.local_days(berlin, now, 2)
    assert (ends - begins, str(today)) == (timedelta(hours=23), "2026-03-30")
    assert len(list(timeline.local_days(berlin, now, timeline.DAYS))) == 90


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (100.0, "100 %"), (99.99999, "99.999 %"), (0.0, "0.000 %")],
)
def test_only_all_of_the_time_is_100_percent(value: float | None, text: str) -> None:
    assert timeline.percent(value) == text


# ---- causes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "cause", "output", "expected"),
    [
        ("output-7", "Main: the server hung up.", "Main", "the server hung up."),
        # Renamed since.
        ("output-7", "Old name: the server hung up.", "Main", "the server hung up."),
        ("output-7", "A: B: refused.", "A: B", "refused."),
        ("channel", "hub: gone after 3.5 s.", "", "hub: gone after N s."),
        ("programme", "“A film, 2” can't be read.", "", "… can't be read."),
        (
            "output-1",
            "x: a1.rtmp.example.com:1935 refused 10 times.",
            "x",
            "… refused N times.",
        ),
        ("output-1", "x: rtmp://10.0.0.1/live: no answer.", "x", "… no answer."),
        ("output-1", "x: 10.0.0.1 and [2001:db8::1]:80", "x", "… and …"),
    ],
)
def test_what_differs_between_incidents_of_one_cause_goes(
    subject: str, cause: str, output: str, expected: str
) -> None:
    assert causes.normalised(subject, cause, output) == expected


def test_a_hundred_causes_are_not_listed_one_by_one() -> None:
    hour = timedelta(hours=1)
    names = [chr(97 + number // 26) + chr(97 + number % 26) for number in range(100)]
    groups = causes.by_cause(
        (("hub", "lost", name), [(at(place), at(place) + hour)])
        for place, name in enumerate(names)
    )
    assert len(groups) == causes.MAX_GROUPS
    assert (groups[-1].cause, groups[-1].incidents) == (causes.OTHERS, 71)
    assert sum(group.seconds for group in groups) == 360_000
