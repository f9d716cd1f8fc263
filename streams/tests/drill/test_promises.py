"""Verdicts and refusals, as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.drill.promises import (
    PROMISES,
    Fault,
    Measured,
    Standing,
    Verdict,
    judge,
    refusal,
)
from streams.drill.watch import Segment, air_lost

HUB = PROMISES[Fault.HUB]
WELL = Measured(recovered_s=3.1, watched_s=8, air_lost_s=2.0, session_kept=True)
STANDING = Standing(
    "Test", test_channel=True, on_air=True, cause="", node="here", live=False, drilled=""
)


@pytest.mark.parametrize(
    ("measured", "verdict", "reason"),
    [
        (WELL, Verdict.MET, ""),
        (replace(WELL, session_kept=None), Verdict.MET, ""),
        (replace(WELL, recovered_s=HUB.within_s), Verdict.MET, ""),
        (replace(WELL, recovered_s=6.0), Verdict.MISSED, "It took 6.0 s instead of 5 s."),
        (
            replace(WELL, recovered_s=None, watched_s=50),
            Verdict.MISSED,
            "It was not back within 50 s.",
        ),
        (
            replace(WELL, recovered_s=None, watched_s=2),
            Verdict.UNKNOWN,
            "The drill ended before the bound.",
        ),
        (
            replace(WELL, air_lost_s=3.4),
            Verdict.MISSED,
            "3.4 s of air were lost instead of 3 s.",
        ),
        (
            replace(WELL, air_lost_s=None),
            Verdict.UNKNOWN,
            "The hub's segments could not be read.",
        ),
        # A promise that was missed is no less missed because something else is unknown.
        (
            replace(WELL, air_lost_s=None, session_kept=False),
            Verdict.MISSED,
            "A session ended that should have continued.",
        ),
    ],
)
def test_the_verdict(measured: Measured, verdict: Verdict, reason: str) -> None:
    assert judge(HUB, measured) == (verdict, reason)


@pytest.mark.parametrize(
    ("changes", "confirmed", "here", "words"),
    [
        ({}, False, "here", ""),
        ({}, False, "", ""),
        ({"test_channel": False}, True, "here", ""),
        ({"test_channel": False}, False, "here", "is not marked as a test channel"),
        ({"on_air": False, "cause": "The slate is on."}, False, "here", "The slate is on."),
        ({"node": ""}, False, "here", "is not on air without a fault"),
        ({"live": True}, False, "here", "carries a live feed"),
        ({}, False, "there", "plays on here"),
        ({"drilled": "Other"}, False, "here", "Other is being drilled on here"),
    ],
)
def test_the_refusal(
    changes: dict[str, object], confirmed: bool, here: str, words: str
) -> None:
    standing = replace(STANDING, **changes)  # type: ignore[arg-type]  # one of its fields
    sentence = refusal(standing, confirmed=confirmed, here=here)
    assert words in sentence
    assert bool(words) == bool(sentence)


@pytest.mark.parametrize(
    ("times", "lost"),
    [
        ([], None),
        ([10.0], None),
        ([10.0, 12.0, 14.0], 0.0),
        ([10.0, 12.0, 16.5], 2.5),
        # A hub that is listed early has lost nothing.
        ([10.0, 11.9], 0.0),
    ],
)
def test_lost_air_is_what_the_segments_do_not_cover(
    times: list[float], lost: float | None
) -> None:
    assert air_lost([Segment(str(at), 2.0, at) for at in times]) == lost


def test_every_fault_has_a_promise() -> None:
    assert list(PROMISES) == list(Fault)
