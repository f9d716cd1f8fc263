"""Slates are made in the background: shared threads never wait for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from media_library.conform.conform import PrepareError
from media_library.conform.slate import Slate
from media_library.house_format import HouseFormat
from streams.models import Channel, ChannelState
from streams.node import slate_maker
from streams.node.ledger import NodeLedger
from streams.node.slate_maker import BEING_MADE, SlateMaker
from streams.programme.item import Item
from streams.tests import rows
from streams.tests.bench.waiting import until

SLOW = HouseFormat(320, 180, 25, 300_000, 64_000)
QUICK = HouseFormat(640, 360, 25, 300_000, 64_000)


class FakeSlates:
    """Makes slates like the library, but those of `SLOW` only when released."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.begun = threading.Event()
        self.fault: Exception | None = None
        self.there: set[tuple[HouseFormat, Slate]] = set()
        self.made_count = 0

    def made(
        self, house_format: HouseFormat, which: Slate = Slate.PAUSE
    ) -> tuple[Path, int] | None:
        return (Path("/slate.mp4"), 100) if (house_format, which) in self.there else None

    def slate(self, house_format: HouseFormat, which: Slate = Slate.PAUSE) -> tuple[Path, int]:
        self.made_count += 1
        if house_format == SLOW:
            self.begun.set()
            assert self.let.wait(30)
        if self.fault is not None:
            raise self.fault
        self.there.add((house_format, which))
        return Path("/slate.mp4"), 100


@pytest.fixture
def kitchen() -> Iterator[FakeSlates]:
    made = FakeSlates()
    with (
        patch("media_library.conform.slate.made", made.made),
        patch("media_library.conform.slate.slate", made.slate),
    ):
        yield made
        made.let.set()


def test_a_slow_slate_delays_neither_the_caller_nor_another_slate(kitchen: FakeSlates) -> None:
    woken = threading.Event()
    maker = SlateMaker(woken.set)
    assert maker.find(SLOW) == BEING_MADE
    assert kitchen.begun.wait(10)
    assert maker.find(SLOW) == BEING_MADE
    assert maker.find(QUICK) == BEING_MADE
    assert woken.wait(10)
    assert isinstance(maker.find(QUICK), Item)
    assert maker.find(SLOW) == BEING_MADE
    woken.clear()
    kitchen.let.set()
    assert woken.wait(10)
    assert isinstance(maker.find(SLOW), Item)
    # Requested three times, it was made once.
    assert kitchen.made_count == 2
    maker.close()


def test_a_failed_slate_reports_its_cause_and_is_retried(
    kitchen: FakeSlates, monkeypatch: pytest.MonkeyPatch
) -> None:
    kitchen.fault = PrepareError("The disk is full.")
    woken = threading.Event()
    maker = SlateMaker(woken.set)
    assert maker.find(QUICK) == BEING_MADE
    assert woken.wait(10)
    until(
        lambda: maker.find(QUICK) == "The slate can't be made: The disk is full.",
        10,
        "the fault is reported",
    )
    kitchen.fault = None
    monkeypatch.setattr(slate_maker, "RETRY_S", 0.0)
    until(lambda: isinstance(maker.find(QUICK), Item), 10, "made")
    maker.close()


def test_a_deleted_slate_is_made_again(kitchen: FakeSlates) -> None:
    maker = SlateMaker()
    maker.find(QUICK)
    until(lambda: isinstance(maker.find(QUICK), Item), 10, "made")
    kitchen.there.clear()
    assert maker.find(QUICK) == BEING_MADE
    until(lambda: isinstance(maker.find(QUICK), Item), 10, "made again")
    maker.close()


@pytest.mark.django_db
def test_while_one_channels_slate_is_made_another_channel_starts(kitchen: FakeSlates) -> None:
    waits = rows.channel(slug="slow")
    plays = rows.channel(slug="quick")
    for channel, house_format in ((waits, SLOW), (plays, QUICK)):
        Channel.objects.filter(pk=channel.pk).update(
            desired_state=Channel.DesiredState.ON,
            width=house_format.width,
            height=house_format.height,
            fps=house_format.fps,
            video_bitrate=house_format.video_bitrate,
            audio_bitrate=house_format.audio_bitrate,
        )
    kitchen.there.add((QUICK, Slate.PAUSE))
    woken = threading.Event()
    book = NodeLedger("a", wake=woken.set)
    assert set(book.exchange(time.time(), [], [])) == {plays.pk}
    state = ChannelState.objects.get(channel=waits)
    assert (state.state, state.cause) == ("starting", BEING_MADE)
    kitchen.let.set()
    assert woken.wait(10)
    # At once, not only when the orders are read again.
    assert set(book.exchange(time.time(), [], [])) == {plays.pk, waits.pk}
