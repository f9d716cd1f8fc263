"""The node's ledger during faults: a clock set back, a slate that can't be made."""

from __future__ import annotations

import time
from pathlib import Path
from unittest.mock import patch

import pytest

from media_library.conform.conform import PrepareError
from streams.models import Channel, Output
from streams.node.ledger import NodeLedger
from streams.playout.contract import ledger
from streams.playout.contract.plan import Assignment
from streams.playout.contract.states import AirState
from streams.tests import rows

pytestmark = pytest.mark.django_db
SLATE = "media_library.conform.slate.made"
MAKE = "media_library.conform.slate.slate"


def shot(mine: Assignment) -> ledger.Snapshot:
    now = time.time()
    return ledger.Snapshot(
        channel=mine.plan.pk,
        run=mine.run,
        state=AirState.ON_AIR,
        cause="",
        since=now,
        on_air_since=now,
        now=None,
        now_since=None,
        now_until=None,
        next=None,
        bitrate=None,
        restarts_done=0,
        skips_done=0,
        cursors={},
        seen={},
    )


def on_air(book: NodeLedger, at: float) -> tuple[Channel, Assignment]:
    channel = rows.channel()
    Channel.objects.filter(pk=channel.pk).update(desired_state=Channel.DesiredState.ON)
    with patch(SLATE, return_value=(Path("/slate.mp4"), 128)):
        mine = book.exchange(at, [], [])[channel.pk]
        book.exchange(at, [shot(mine)], [])
    return channel, mine


def test_a_channel_that_loses_its_slate_stays_on_air() -> None:
    book, now = NodeLedger("a"), time.time()
    channel, mine = on_air(book, now)
    failing = PrepareError("The disk is full.")
    with patch(SLATE, return_value=None), patch(MAKE, side_effect=failing):
        for second in range(3):
            book._orders = None
            answer = book.exchange(now + second, [shot(mine)], [])
            assert answer[channel.pk].plan.slate == mine.plan.slate


@pytest.mark.django_db(transaction=True)
def test_edits_are_read_even_if_the_clock_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book, now = NodeLedger("a"), time.time()
    channel, mine = on_air(book, now)
    monkeypatch.setattr("streams.node.ledger.ORDERS_MAX_AGE_S", 0.0)
    output: Output = rows.output(channel)
    with patch(SLATE, return_value=(Path("/slate.mp4"), 128)):
        assignment = book.exchange(now - 3600, [shot(mine)], [])[channel.pk]
    assert [planned.pk for planned in assignment.plan.outputs] == [output.pk]
