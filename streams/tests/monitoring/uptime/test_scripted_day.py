"""A day of known outages, whose figures were computed by hand: the report equals them exactly.

The day is Berlin's 25 October 2026, on which the clocks go back: 25 hours, from 22:00 UTC to
23:00 UTC. Times are in UTC, as HH:MM:SS of 25 October; `-` before it: of the day before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streams.models import AsRun, Channel, ChannelState, Incident, Output, Run, Takeover
from streams.monitoring.uptime.causes import Transitions
from streams.monitoring.uptime.figures import MOVED, uptimes
from streams.monitoring.uptime.tally import Uptime
from streams.playout.channel.adoption import WENT_DOWN
from streams.tests import rows

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def at(text: str) -> datetime:
    day = "2026-10-24" if text.startswith("-") else "2026-10-25"
    return datetime.fromisoformat(f"{day}T{text.removeprefix('-')}").replace(tzinfo=UTC)


DAY = (at("-22:00:00"), at("23:00:00"))
#: The next day; the worker has been silent since 22:00:00.5.
NOW = at("23:00:00") + timedelta(hours=12)

RUNS = (
    # started, on air, ended
    ("-20:00:00", "-20:00:05", "05:00:00"),
    ("06:00:00", "06:00:07.250", None),
)
SILENT = "22:00:00.500"
#: Subject, severity, cause, opened, closed. {A}, {B}: the outputs.
INCIDENTS = (
    # 10 of its 20 s are of this day.
    ("hub", "lost", "The hub ended.", "-21:59:50", "-22:00:10"),
    # Both at once from 01:05 to 01:10: the channel is off the air.
    ("output-{A}", "lost", "A: 10.0.0.1:1935 refused it 3 times.", "01:00:00", "01:10:00"),
    ("output-{B}", "lost", "B: The server hung up.", "01:05:00", "01:20:00"),
    # The same cause as the one before, but for its figures; across the change of the clocks.
    ("output-{A}", "lost", "A: 10.0.0.2:1935 refused it 9 times.",
     "00:59:59", "00:59:59.000001"),
    # Nothing was ordered.
    ("channel", "lost", "Nobody asked.", "05:30:00", "05:40:00"),
    # A drill: the output stays lost for 30 s after it.
    ("drill", "planned", "Drill", "10:00:00", "10:01:00"),
    ("hub", "lost", "The hub ended.", "10:00:05", "10:00:20"),
    ("output-{A}", "lost", "A: The uplink stalled.", "10:00:50", "10:01:30"),
    ("session-{A}", "planned", "A: a new session begins, as planned, after 11.0 h.",
     "12:00:00", "12:00:02.500"),
    # One minute of the ten is off the air.
    ("programme", "degraded", "“Film” can't be read.", "14:00:00", "14:10:00"),
    ("channel", "lost", MOVED[1], "14:05:00", "14:06:00"),
    # Open until now, but only 30.5 s of it are known.
    ("output-{B}", "lost", "B: The server hung up.", "21:59:30", None),
)  # fmt: skip
#: Requested, on air.
TAKEOVERS = (
    ("08:00:00", "08:00:06.500"),
    ("09:00:00", "09:00:08.500"),
    ("09:30:00", None),
    ("-21:00:00", "-21:00:59"),
)
#: Rule, started, ended.
AS_RUN = (
    ("base", "10:30:00", "11:00:00"),
    ("failover", "11:00:00.400", "11:05:00"),
    ("failover", "11:05:09", "11:06:00"),
    ("base", "11:06:00", None),
)

# 22:00:00 to 05:00:00, and 06:00:00 to 22:00:00.5.
COVERED = 25_200 + 57_600.5
UNKNOWN = 3_599.5
#: off, planned, incidents, longest off, longest on, seconds to recover of each outage.
ANSWERS = {
    # 10 hub, 300 both outputs, 7.25 until on air, 60 moved; on from 06:00:07.25 to 14:05.
    "channel": (377.25, 15.0, 3, 300.0, 29_092.75, (20, 300, 7.25, 60)),
    # 10, 600, 0.000001, 7.25, 30 after the drill, 60; planned: 15 hub, 10 drill, 2.5 session;
    # on from 14:06 to 22:00:00.5.
    "A": (707.250001, 27.5, 5, 600.0, 28_440.5, (20, 600, 0.000001, 7.25, 30, 60)),
    # 10, 900, 7.25, 60, 30.5; the last outage has no known end.
    "B": (1_007.75, 15.0, 4, 900.0, 29_092.75, (20, 900, 7.25, 60)),
}
#: 540 s of the film. The channel is degraded while one output alone is lost, too: A for 300
#: and 0.000001, B for 600, A for 30 after the drill, B for the last 30.5.
DEGRADED = {"channel": 1_500.500001, "A": 540.0, "B": 540.0}
#: Kind, severity, cause, incidents, seconds, longest: of the channel.
CAUSES = [
    ("output", "lost", "The server hung up.", 2, 930.5, 900.0),
    ("output", "lost", "… refused it N times.", 2, 600.000001, 600.0),
    ("programme", "degraded", "… can't be read.", 1, 600.0, 600.0),
    ("channel", "lost", MOVED[1], 1, 60.0, 60.0),
    ("output", "lost", "The uplink stalled.", 1, 30.0, 30.0),
    ("hub", "planned", "The hub ended.", 1, 15.0, 15.0),
    ("hub", "lost", "The hub ended.", 1, 10.0, 10.0),
    ("output", "planned", "The uplink stalled.", 1, 10.0, 10.0),
    ("session", "planned", "a new session begins, as planned, after N h.", 1, 2.5, 2.5),
]


def fill() -> Channel:
    channel = rows.channel(time_zone="Europe/Berlin")
    outputs = {name: rows.output(channel, name) for name in "AB"}
    runs = [
        Run.objects.create(
            channel=channel, started_at=at(begun), on_air_at=at(aired),
            ended_at=at(ended) if ended else None,
        )
        for begun, aired, ended in RUNS
    ]  # fmt: skip
    ChannelState.objects.create(
        channel=channel, run=runs[-1], state="on_air", measured_at=at(SILENT)
    )
    for subject, severity, cause, opened, closed in INCIDENTS:
        Incident.objects.create(
            channel=channel, severity=severity, cause=cause, opened_at=at(opened),
            subject=subject.format(**{name: one.pk for name, one in outputs.items()}),
            output=next((outputs[name] for name in "AB" if f"{{{name}}}" in subject), None),
            closed_at=at(closed) if closed else None,
        )  # fmt: skip
    for requested, aired in TAKEOVERS:
        Takeover.objects.create(
            channel=channel, requested_at=at(requested), on_air_at=at(aired) if aired else None
        )
    for rule, begun, ended in AS_RUN:
        AsRun.objects.create(
            run=runs[-1], title=rule, rule=rule, started_at=at(begun),
            ended_at=at(ended) if ended else None,
        )  # fmt: skip
    return channel


def plain(figures: Uptime) -> tuple[object, ...]:
    return (
        figures.off_air_seconds,
        figures.planned_seconds,
        figures.incidents,
        figures.longest_seconds,
        figures.longest_on_air_seconds,
    )


def test_the_report_equals_the_answer_computed_by_hand() -> None:
    fill()
    # On the air all day, and without a trouble.
    other = rows.channel("other", time_zone="Europe/Berlin")
    Run.objects.create(channel=other, started_at=DAY[0], on_air_at=DAY[0], ended_at=DAY[1])
    demo, good = uptimes(NOW, span=DAY)
    assert (good.slug, good.periods["span"].percent) == ("other", 100.0)
    assert good.periods["span"].ordered_seconds == 25 * 3600.0
    measured = {"channel": demo.periods["span"]}
    measured |= {output.name: output.periods["span"] for output in demo.outputs}
    assert set(measured) == set(ANSWERS)
    for name, (off, *more, recovered) in ANSWERS.items():
        figures = measured[name]
        assert plain(figures) == (off, *more), name
        assert figures.mean_time_to_recovery_seconds == sum(recovered) / len(recovered), name
        assert figures.percent == 100 * (COVERED - off) / COVERED, name
        assert (figures.ordered_seconds, figures.unknown_seconds) == (86_400.0, UNKNOWN), name
        assert figures.degraded_seconds == DEGRADED[name], name
        assert figures.on_air_seconds == COVERED - off, name


def test_incidents_are_grouped_by_cause() -> None:
    fill()
    (demo,) = uptimes(NOW, span=DAY)
    groups = demo.periods["span"].causes
    assert [
        (one.kind, one.severity, one.cause, one.incidents, one.seconds, one.longest_seconds)
        for one in groups
    ] == CAUSES
    assert groups[0].last_at == at("21:59:30")
    (b,) = (output for output in demo.outputs if output.name == "B")
    assert {one.kind for one in b.periods["span"].causes} == {
        *("output", "programme", "channel", "hub"),
    }


def test_transition_times() -> None:
    fill()
    (demo,) = uptimes(NOW, span=DAY)
    assert demo.transitions["span"] == (
        # The filler's second item is no failover of its own.
        Transitions("failover", 1, 0.4, 0.4),
        Transitions("node", 1, 60.0, 60.0),
        Transitions("takeover", 2, 7.5, 8.5),
    )


def test_the_sentences_of_a_move_are_the_engines() -> None:
    assert MOVED[1] == f"Nothing was playing: {WENT_DOWN}"


def test_the_day_is_the_channels_own() -> None:
    fill()
    Output.objects.all().delete()
    (demo,) = uptimes(at("22:59:59"), slug="demo")
    assert (demo.periods["day"].begins, demo.periods["day"].ends) == (DAY[0], at("22:59:59"))
    (demo,) = uptimes(NOW, slug="demo")
    # When both outputs were lost is not known without them.
    assert demo.periods["90d"].incidents == 2
