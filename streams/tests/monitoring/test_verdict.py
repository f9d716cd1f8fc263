"""The verdict on an output, from three measurements."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from streams.monitoring import verdict
from streams.monitoring.verdict import Level, Ours, Sent, Theirs
from streams.playout.contract.picture import Flaw

NOW = datetime(2026, 11, 30, 21, 0, 0, tzinfo=UTC)
WELL = Sent("on_air", "", 3_100_000, 3_050_000, 0.2, 0, 4.2, 1.0)
WELL_SENTENCE = (
    "3.10 Mbit/s sent, 3.05 Mbit/s acknowledged, 0.2 % sent again, 0 MB waiting, 4.2 s behind, "
    "speed 1.00."
)
LATE = replace(WELL, late="Main sends at 0.60 of real time, 55 s behind.")
SEEN = Ours(NOW - timedelta(seconds=4))
BLACK = Ours(SEEN.inspected_at, {Flaw.BLACK: NOW - timedelta(seconds=24)})
GOOD = Theirs("healthy", "YouTube receives it well.", NOW - timedelta(seconds=50))
ENDED = Theirs("down", "YouTube has ended the broadcast.", NOW - timedelta(seconds=50))


@pytest.mark.parametrize(
    ("sent", "ours", "theirs", "level", "sentence"),
    [
        (WELL, SEEN, None, "healthy", WELL_SENTENCE),
        (WELL, SEEN, GOOD, "healthy", "3.10 Mbit/s sent"),
        # Each of the three alone makes it worse.
        (LATE, SEEN, GOOD, "degraded", "Main sends at 0.60 of real time, 55 s behind. 3.10"),
        (WELL, BLACK, GOOD, "degraded", "The picture is black since 20:59:36 UTC."),
        (WELL, SEEN, ENDED, "down", "YouTube has ended the broadcast."),
        (Sent("failing", "The key is wrong."), SEEN, GOOD, "down", "The key is wrong."),
        (Sent("retrying", ""), SEEN, GOOD, "down", "It is not sent."),
        # What is unknown is neither good nor bad ...
        (WELL, Ours(None), None, "unknown", "Picture and sound were not looked at."),
        # An old look says nothing about the air of now.
        (
            *(WELL, Ours(NOW - timedelta(minutes=2)), None, "unknown"),
            "Picture and sound were not looked at.",
        ),
        (Sent("unknown"), SEEN, None, "unknown", "It was not measured."),
        (Sent("connecting"), SEEN, None, "unknown", "It connects."),
        (
            *(WELL, SEEN, replace(GOOD, checked_at=NOW - timedelta(minutes=6)), "unknown"),
            "The platform has not answered since 20:54:00 UTC.",
        ),
        # A platform that is asked less often, for its quota, is believed longer.
        (
            WELL,
            SEEN,
            replace(
                GOOD,
                checked_at=NOW - timedelta(minutes=9),
                valid_until=NOW + timedelta(minutes=1),
            ),
            "healthy",
            WELL_SENTENCE,
        ),
        (WELL, SEEN, Theirs("healthy", "", None), "unknown", "The platform was not asked yet."),
        # ... and hides nothing that is bad.
        (WELL, BLACK, replace(GOOD, checked_at=None), "degraded", "The picture is black"),
        (Sent("unknown"), BLACK, ENDED, "down", "YouTube has ended the broadcast."),
    ],
)
def test_a_verdict_is_as_bad_as_its_worst_part(
    sent: Sent, ours: Ours, theirs: Theirs | None, level: str, sentence: str
) -> None:
    result = verdict.judge(sent, ours, theirs, NOW)
    assert result.level == Level(level)
    assert result.sentence.startswith(sentence)


def test_a_platform_without_an_account_is_unknown_but_spoils_no_verdict() -> None:
    result = verdict.judge(WELL, SEEN, None, NOW)
    assert (result.level, result.theirs.level) == (Level.HEALTHY, Level.UNKNOWN)
    assert result.label == "Healthy"


@pytest.mark.parametrize(
    ("flaw", "seconds", "ignored", "level"),
    [
        (Flaw.BLACK, 14, frozenset(), "healthy"),
        (Flaw.BLACK, 16, frozenset(), "degraded"),
        (Flaw.BLACK, 16, frozenset({Flaw.BLACK}), "healthy"),
        (Flaw.FROZEN, 60, frozenset(), "healthy"),
        (Flaw.SILENT, 60, frozenset({Flaw.BLACK}), "degraded"),
    ],
)
def test_a_flaw_counts_when_it_lasts_and_is_not_ignored(
    flaw: Flaw, seconds: int, ignored: frozenset[Flaw], level: str
) -> None:
    inspected = NOW - timedelta(seconds=4)
    ours = Ours(inspected, {flaw: inspected - timedelta(seconds=seconds)}, ignored)
    assert verdict.judge_ours(ours, NOW).level == level
