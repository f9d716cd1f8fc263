"""Judging whether a channel is sent in real time, and the reported cause."""

from __future__ import annotations

from fractions import Fraction

import pytest

from streams.playout.channel.channel import as_run_cause
from streams.playout.channel.pace import Sending, Strain, judge
from streams.playout.contract.turn import Turn
from streams.playout.player.timeline import Slot, Timeline
from streams.programme.item import Item, Mode

WELL = Sending("The preview", 1.0, 0.0)
SLOW = Sending("Main", 0.6, 55.4)


@pytest.mark.parametrize(
    ("senders", "strain", "words"),
    [
        ([], Strain(1.0, 1.0), ""),
        ([WELL, Sending("Main", 0.97, 40)], Strain(waited=0.9), ""),
        # A report that was read late.
        ([Sending("The preview", 0.95, 1.4)], Strain(waited=0.9), ""),
        # Perhaps the destination is slow: the cause was not measured.
        ([WELL, SLOW], Strain(), "Main sends at 0.60 of real time, 55 s behind."),
        ([SLOW], Strain(busy=0.5, waited=0.1), "Main sends at 0.60 of real time, 55 s behind."),
    ],
)
def test_only_measured_causes_are_reported(
    senders: list[Sending], strain: Strain, words: str
) -> None:
    assert judge(senders, strain) == words


@pytest.mark.parametrize(
    ("strain", "reason"),
    [
        (Strain(waited=0.4), "waited for a CPU for 40% of the time"),
        (Strain(busy=1.5), "kept a CPU busy for 150% of the time"),
    ],
)
def test_a_slow_machine_is_reported_with_advice(strain: Strain, reason: str) -> None:
    words = judge([SLOW], strain)
    assert words.startswith(
        "Main sends at 0.60 of real time, 55 s behind. This machine is too slow"
    )
    assert reason in words
    assert words.endswith("use a machine with more cores.")


def of(title: str) -> Turn:
    return Turn(Item(title, title, Mode.PREPARED, frames=600))


@pytest.mark.parametrize(
    ("took", "cause"),
    [(20, ""), (Fraction(209, 10), ""), (46, "It took 46.0 s to send 20.0 s of it.")],
)
def test_the_as_run_log_reports_an_item_that_took_too_long(took: Fraction, cause: str) -> None:
    line = Timeline().begin(of("a")).end(Fraction(30), "whole")
    assert as_run_cause(line.slots[0], Slot(of("b"), 10 + Fraction(took))) == cause


def test_an_item_without_an_observed_end_is_not_reported_as_late() -> None:
    assert as_run_cause(Slot(of("a"), Fraction(10), "whole"), Slot(of("b"), Fraction(99))) == ""
