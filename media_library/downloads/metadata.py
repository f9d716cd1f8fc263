"""Inspects an address without a download: the video, or the videos of a list."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from django.conf import settings
from django.core.cache import cache

from media_library.downloads import jobs, ytdlp_versions
from media_library.downloads.errors import Code, GivenUpError, of_end, verdict
from media_library.downloads.options import Place, inspect_parameters
from media_library.downloads.process import RunnerError, behind_proxy
from media_library.jobs import slots
from streamsite.security.ssrf import Rules

#: Seconds per inspection: a person waits for it.
INSPECT_TIMEOUT_S: Final = 60.0
#: Concurrent inspections on this machine: each is a process of 60 MB.
MAX_CONCURRENT: Final = 2
#: Seconds for which a result is cached.
CACHE_S: Final = 300
#: Half the bytes that an inspection may download: pages, not videos.
MAX_BYTES: Final = 100_000_000
#: Prefix of the folder of an inspection, beside those of jobs: the leftovers of a dead process,
#: perhaps cookies, are removed like theirs.
FOLDER_PREFIX: Final = "look-"
#: Maximum entries of a list.
MAX_ENTRIES: Final = 500


class BusyError(Exception):
    """Too many inspections are running. `str()` is a sentence."""


def inspect(url: str, *, cap: int = 50, any_site: bool = False) -> dict[str, Any]:
    """Returns the result of `runner_ytdlp.py`, cached for five minutes.

    Raises `OrderError` for an invalid address, `GivenUpError`, `BusyError`.
    """
    url = jobs.cleaned(url)
    cap = max(1, min(cap, MAX_ENTRIES))
    name = hashlib.sha256(f"{any_site} {cap} {url}".encode()).hexdigest()
    cached: dict[str, Any] | None = cache.get(f"look-{name}")
    if cached is not None:
        return cached
    with slots.slot("look", MAX_CONCURRENT) as free:
        if not free:
            raise BusyError("Other addresses are being inspected: try again in a moment.")
        result = _inspected(url, cap, any_site=any_site)
    cache.set(f"look-{name}", result, CACHE_S)
    return result


def _inspected(url: str, cap: int, *, any_site: bool) -> dict[str, Any]:
    rules = Rules(frozenset(settings.DOWNLOAD_PORTS), settings.DOWNLOAD_NETWORKS)
    home = settings.DATA_DIR / "downloads"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def order(place: Place) -> dict[str, Any]:
        inspection = inspect_parameters(place, cap=cap)
        return {"mode": "inspect", "url": url, "cap": cap, "parameters": inspection}

    try:
        with (
            TemporaryDirectory(prefix=FOLDER_PREFIX, dir=home) as name,
            behind_proxy(
                order,
                Path(name),
                ytdlp_versions.python(),
                rules,
                site=jobs.site_of(url),
                any_site=any_site,
                max_bytes=MAX_BYTES,
            ) as (runner, seen),
        ):
            end = runner.conclusion(INSPECT_TIMEOUT_S)
    except RunnerError as error:
        raise GivenUpError(verdict(Code.INTERNAL, str(error))) from None
    if end is None:
        raise GivenUpError(verdict(Code.TOO_LONG, f"{INSPECT_TIMEOUT_S:.0f} s"))
    if end.get("kind") != "inspected":
        raise GivenUpError(of_end(end, seen.refused))
    return end
