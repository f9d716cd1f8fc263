"""What a destination has really taken, from the kernel's figures."""

from __future__ import annotations

import pytest

from streams.playout.contract.output_status import Taken
from streams.playout.ffmpeg.connections import Connection
from streams.playout.outputs.acknowledged import Acknowledged


def polled(*seen: tuple[float, int, int] | None, every: float = 1.0) -> Acknowledged:
    """Looks at a connection: acknowledged and queued bytes, and bytes sent again."""
    taking = Acknowledged()
    for number, one in enumerate(seen):
        connection = None
        if one is not None:
            acked, queued, resent = (int(value) for value in one)
            connection = Connection(acked, queued, acked + resent, resent)
        taking.add(connection, 100 + number * every)
    return taking


@pytest.mark.parametrize(
    ("seen", "since"),
    [
        ([], None),
        ([None], None),
        ([(1000, 0, 0), (2000, 500, 0)], None),
        # Nothing waits: there was nothing to take.
        ([(1000, 0, 0), (1000, 0, 0)], None),
        ([(1000, 500, 0), (1000, 900, 0), (1000, 1500, 0)], 100),
        ([(1000, 500, 0), (1500, 900, 0), (1500, 1500, 0)], 100.5),
        ([(1000, 500, 0), (1000, 900, 0), (1001, 1500, 0)], None),
        # The connection is gone: its process will say why.
        ([(1000, 500, 0), (1000, 900, 0), None], None),
    ],
)
def test_a_destination_refuses_if_it_acknowledges_nothing_of_what_waits(
    seen: list[tuple[float, int, int] | None], since: float | None
) -> None:
    assert polled(*seen).refused_since() == since


def test_the_figures_cover_the_last_seconds() -> None:
    # 1 MB/s, of which 2 % are sent again in the second half.
    seen = [(n * 1_000_000, 4000, max(0, n - 20) * 20_000) for n in range(41)]
    assert polled(*seen).taken() == Taken(8_000_000, 1.32, 4000)
    assert polled().taken() is None
    assert polled((5, 5, 0)).taken() == Taken(None, None, 5)


def test_another_connection_begins_anew() -> None:
    taking = polled((9_000_000, 100, 0), (9_500_000, 100, 0), (1000, 100, 0))
    assert taking.taken() == Taken(None, None, 100)
    assert taking.refused_since() is None
