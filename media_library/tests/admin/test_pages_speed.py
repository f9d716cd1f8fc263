"""Pages of a large library take little more time than those of a small one."""

from __future__ import annotations

import pytest

from media_library.models import MediaItem, Playlist, Tag
from media_library.tests import bench_pages
from streamsite.tests.figures import Figures

pytestmark = [pytest.mark.slow, pytest.mark.measured, pytest.mark.django_db]

#: deploy/bench.sh measures a million of them against the bound.
SMALL, LARGE = 400, 20_000
#: A scan of a column with that many rows takes 5 ms, a page 60; another program may slow one
#: page down by half, or five of them by more.
MAX_RATIO, MAX_RATIO_IN_NOISE = 4.0, 12.0


def test_fifty_times_the_items_take_less_than_four_times_as_long(
    figures: Figures,
) -> None:
    max_ratio = MAX_RATIO if figures.exact else MAX_RATIO_IN_NOISE
    best: dict[int, dict[str, float]] = {}
    for count in (SMALL, LARGE):
        bench_pages.fill(count)
        taken = bench_pages.measure(count, times=3)
        best[count] = {name: min(spent) for name, spent in taken.items()}
        for model in (Playlist, Tag, MediaItem):
            model.objects.all().delete()
    small, large = best[SMALL], best[LARGE]
    # Folders and the playlist have more rows to show there.
    same = [name for name in small if name.startswith("list") or "search" in name]
    # In a small library a filter leaves an empty page; and a time near zero has no ratio.
    least = {name: max(small[name], small["list, first page"], 20) for name in same}
    slower = {
        name: (least[name], large[name])
        for name in same
        if large[name] > max_ratio * least[name]
    }
    assert not slower
