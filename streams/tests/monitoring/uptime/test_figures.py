"""Uptime from runs and incidents, checked against scripted days with clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from streams.models import Incident, Run
from streams.monitoring.uptime.figures import uptimes
from streams.monitoring.uptime.tally import (
    Stretch,
    Trouble,
    Uptime,
    periods,
    planned_by,
    tally,
)
from streams.tests import rows

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


#: The day on which Berlin's clocks go forward: 23 hours.
DAY = (at("2026-03-29T00:00"), at("2026-03-30T00:00"))
LATER = at("2026-04-02T12:00")


def lost(begins: str, ends: str | None, severity: str = "lost") -> Trouble:
    return Trouble(at(begins), at(ends) if ends else None, severity)


@pytest.mark.parametrize(
    ("begins", "ends", "severity", "expected"),
    [
        # Within the drill, or from the report before its fault on.
        ("12:00:05", "12:00:20", "lost", [("12:00:05", "12:00:20", "planned")]),
        ("11:59:58", "12:00:20", "degraded", [("11:59:58", "12:00:20", "planned")]),
        # It did not recover while the drill watched.
        (
            "12:00:05",
            "12:05:00",
            "lost",
            [("12:00:05", "12:01:00", "planned"), ("12:01:00", "12:05:00", "lost")],
        ),
        (
            "12:00:05",
            None,
            "lost",
            [("12:00:05", "12:01:00", "planned"), ("12:01:00", None, "lost")],
        ),
        # Before it, and after it.
        ("11:59:50", "12:00:30", "lost", [("11:59:50", "12:00:30", "lost")]),
        ("12:01:00", "12:01:10", "lost", [("12:01:00", "12:01:10", "lost")]),
        ("12:00:05", "12:05:00", "planned", [("12:00:05", "12:05:00", "planned")]),
    ],
)
def test_what_a_drill_causes_is_planned(
    begins: str, ends: str | None, severity: str, expected: list[tuple[str, str | None, str]]
) -> None:
    day = "2026-03-29T"
    drill = (at(day + "12:00:00"), at(day + "12:01:00"))

    def trouble(begins: str, ends: str | None, severity: str) -> Trouble:
        return lost(day + begins, day + ends if ends else None, severity)

    made = planned_by([drill], [trouble(begins, ends, severity)])
    assert made == [trouble(*one) for one in expected]


def test_a_scripted_day_with_a_clock_change() -> None:
    runs = [
        # On since the day before; stopped at 06:00, started at 07:00, on air 10 s later.
        Stretch(at("2026-03-28T08:00"), at("2026-03-28T08:00:05"), at("2026-03-29T06:00")),
        Stretch(at("2026-03-29T07:00"), at("2026-03-29T07:00:10"), at("2026-03-30T09:00")),
    ]
    troubles = [
        lost("2026-03-28T23:59:30", "2026-03-29T00:00:30"),  # 30 s of it are on this day
        lost("2026-03-29T01:59:50", "2026-03-29T03:00:10"),  # across the skipped hour: 20 s
        lost("2026-03-29T05:59:00", "2026-03-29T06:30"),  # 60 s of it were ordered
        lost("2026-03-29T12:00", "2026-03-29T12:02"),
        lost("2026-03-29T12:01", "2026-03-29T12:05"),  # overlaps: 300 s together
        lost("2026-03-29T14:00", "2026-03-29T14:10", "degraded"),
        lost("2026-03-29T12:04", "2026-03-29T12:06", "degraded"),  # 60 s of it were on the air
        lost("2026-03-29T18:00", "2026-03-29T18:00:02", "planned"),
    ]
    result = tally(runs, troubles, DAY, LATER)
    ordered = 22 * 3600.0
    off = 30 + 20 + 60 + 10 + 300.0
    assert result == Uptime(
        begins=DAY[0],
        ends=DAY[1],
        percent=100 * (ordered - off) / ordered,
        ordered_seconds=ordered,
        on_air_seconds=ordered - off,
        off_air_seconds=off,
        degraded_seconds=660.0,
        planned_seconds=2.0,
        unknown_seconds=0.0,
        incidents=5,
        longest_seconds=300.0,
        # The first outage counts with its full 60 s: its time to recovery.
        mean_time_to_recovery_seconds=(60 + 20 + 60 + 10 + 300) / 5,
        # From 12:05, after the second outage of the two, to the end of the day.
        longest_on_air_seconds=11 * 3600 + 55 * 60.0,
    )


def test_a_day_of_twenty_five_hours() -> None:
    span = (at("2026-10-25T00:00"), at("2026-10-26T00:00"))
    run = Stretch(at("2026-10-01T00:00"), at("2026-10-01T00:00"), None)
    result = tally([run], [], span, at("2026-11-02T00:00"))
    assert (result.ordered_seconds, result.percent) == (25 * 3600.0, 100.0)


def test_open_incidents_count_up_to_now_without_recovery() -> None:
    now = DAY[0] + timedelta(hours=1)
    run = Stretch(DAY[0], DAY[0])
    result = tally([run], [Trouble(now - timedelta(minutes=15), None, "lost")], DAY, now)
    assert (result.ends, result.ordered_seconds) == (now, 3600.0)
    assert (result.off_air_seconds, result.percent) == (900.0, 75.0)
    assert (result.incidents, result.mean_time_to_recovery_seconds) == (1, None)


def test_channel_that_was_never_ordered_has_no_percentage() -> None:
    result = tally([], [lost("2026-03-29T12:00", "2026-03-29T12:05")], DAY, LATER)
    assert (result.percent, result.ordered_seconds, result.incidents) == (None, 0.0, 0)


def test_run_that_never_came_on_the_air_is_all_off() -> None:
    run = Stretch(at("2026-03-29T10:00"), None, at("2026-03-29T11:00"))
    assert tally([run], [], DAY, LATER).percent == 0.0


def test_time_after_a_silent_workers_last_report_is_unknown() -> None:
    now = DAY[0] + timedelta(hours=10)
    run = Stretch(DAY[0], DAY[0], DAY[0] + timedelta(hours=4), silent=True)
    result = tally([run], [Trouble(now - timedelta(hours=1), None, "lost")], DAY, now)
    assert (result.percent, result.unknown_seconds) == (100.0, 6 * 3600.0)
    assert result.ordered_seconds == 10 * 3600.0


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("day", "2026-04-02T00:00"),
        ("week", "2026-03-30T00:00"),
        ("month", "2026-04-01T00:00"),
        ("7d", "2026-03-26T12:00"),
    ],
)
def test_periods_start_at_local_midnight(name: str, begins: str) -> None:
    begun, ends = periods(LATER, BERLIN)[name]
    # Seven times 24 hours earlier, local time was 11:00 because of the clock change.
    early = timedelta(hours=1) if name == "7d" else timedelta()
    assert (begun, ends) == (at(begins) - early, LATER)


# ---- rows ------------------------------------------------------------------------------------


def test_period_is_measured_from_the_channels_own_midnight() -> None:
    early = at("2026-04-02T00:30")
    assert periods(early, BERLIN)["day"][0] == at("2026-04-02T00:00")
    assert periods(early, ZoneInfo("UTC"))["day"][0] == datetime(2026, 4, 1, tzinfo=UTC)


@pytest.mark.django_db
def test_outputs_are_off_with_the_channel_and_the_channel_with_all_outputs() -> None:
    channel = rows.channel(time_zone="Europe/Berlin")
    one, two = rows.output(channel, "One"), rows.output(channel, "Two")
    rows.output(channel, "Not used", enabled=False)
    run = Run.objects.create(
        channel=channel, started_at=DAY[0], on_air_at=DAY[0], ended_at=DAY[1]
    )
    for subject, output, begins, ends in (
        ("channel", None, "2026-03-29T04:00", "2026-03-29T04:10"),
        (f"output-{one.pk}", one, "2026-03-29T05:00", "2026-03-29T05:30"),
        (f"output-{two.pk}", two, "2026-03-29T05:20", "2026-03-29T06:00"),
    ):
        Incident.objects.create(
            channel=channel, run=run, subject=subject, output=output, severity="lost",
            cause="x", opened_at=at(begins), closed_at=at(ends),
        )  # fmt: skip
    (result,) = uptimes(LATER, slug=channel.slug, span=DAY)
    assert result.periods["span"].off_air_seconds == 1200.0
    assert result.periods["span"].incidents == 2
    by_name = {output.name: output.periods["span"] for output in result.outputs}
    assert by_name["One"].off_air_seconds == 2400.0
    assert by_name["Two"].off_air_seconds == 3000.0
    (alone,) = uptimes(LATER, output=two.pk, span=DAY)
    assert [output.id for output in alone.outputs] == [two.pk]
    assert alone.periods == result.periods


@pytest.mark.django_db
def test_silent_worker_leaves_the_rest_unknown() -> None:
    channel = rows.channel()
    now = LATER
    rows.on_air(channel, at=now - timedelta(minutes=10))
    (result,) = uptimes(now, slug=channel.slug)
    assert result.periods["7d"].unknown_seconds == 600.0
    assert result.periods["7d"].ordered_seconds == 660.0
    assert set(result.periods) == {"day", "week", "month", "7d", "30d", "90d"}


@pytest.mark.django_db
def test_eight_queries_however_many_channels(django_assert_max_num_queries: object) -> None:
    for number in range(5):
        rows.output(rows.channel(f"channel-{number}"))
    with django_assert_max_num_queries(8):  # type: ignore[operator]  # the fixture is a function
        assert len(uptimes(LATER)) == 5


@pytest.mark.django_db
def test_an_output_counts_from_when_it_was_added() -> None:
    channel = rows.channel()
    noon = DAY[0] + timedelta(hours=12)
    rows.output(channel, "Old")
    rows.output(channel, "New", added_at=noon)
    rows.output(channel, "Later", added_at=DAY[1] + timedelta(days=1))
    Run.objects.create(channel=channel, started_at=DAY[0], on_air_at=DAY[0], ended_at=DAY[1])
    (result,) = uptimes(LATER, slug=channel.slug, span=DAY)
    by_name = {output.name: output.periods["span"] for output in result.outputs}
    assert by_name["New"].on_air_seconds == (DAY[1] - noon).total_seconds()
    assert by_name["Old"].on_air_seconds == (DAY[1] - DAY[0]).total_seconds()
    # Not yet there: neither good nor bad.
    assert by_name["Later"].percent is None
