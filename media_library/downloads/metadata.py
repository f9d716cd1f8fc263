"""Inspects an address without a download: the video, or the videos of a list."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from django.conf import settings
from django.core.cache import cache

from media_library.downloads import cookies, jobs, ytdlp_versions
from media_library.downloads.errors import Code, GivenUpError, classify, plain, verdict
from media_library.downloads.options import PROTOCOLS, Place, inspect_parameters
from media_library.downloads.process import Runner, RunnerError, limits
from media_library.downloads.proxy import Proxy
from media_library.jobs import slots
from streamsite.security.ssrf import Rules

#: Seconds per inspection: a person waits for it.
INSPECT_TIMEOUT_S: Final = 60.0
#: Concurrent inspections on this machine: each is a process of 60 MB.
MAX_CONCURRENT: Final = 2
#: Seconds for which a result is cached.
CACHE_S: Final = 300
#: Bytes that an inspection may download: pages, not videos.
MAX_BYTES: Final = 200_000_000
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
    with (
        TemporaryDirectory(prefix=FOLDER_PREFIX, dir=home) as name,
        Proxy(rules, most_bytes=MAX_BYTES) as proxy,
        cookies.lent(jobs.site_of(url), Path(name)) as have_cookies,
    ):
        folder = Path(name)
        place = Place(
            folder=name,
            proxy=proxy.url.reveal(),
            ffmpeg=shutil.which(settings.FFMPEG_PATH) or settings.FFMPEG_PATH,
            any_site=any_site,
            cookies=have_cookies,
        )
        order = {
            "mode": "inspect",
            "url": url,
            "folder": name,
            "cap": cap,
            "limits": limits(MAX_BYTES),
            "protocols": PROTOCOLS,
            "parameters": inspect_parameters(place, cap=cap),
        }
        try:
            with Runner(order, folder=folder, python=ytdlp_versions.python()) as runner:
                end = runner.conclusion(INSPECT_TIMEOUT_S)
        except RunnerError as error:
            raise GivenUpError(verdict(Code.INTERNAL, str(error))) from None
        refused = proxy.seen.refused
    if end is None:
        raise GivenUpError(verdict(Code.TOO_LONG, f"{INSPECT_TIMEOUT_S:.0f} s"))
    if end.get("kind") == "inspected":
        return end
    if end.get("code"):
        raise GivenUpError(verdict(Code(end["code"]), plain(end["text"])))
    warnings = tuple(end.get("warnings", ()))
    more = f"{end.get('type', '')}: {end.get('logged', '')}"
    text = end.get("text") or "yt-dlp ended without a result"
    raise GivenUpError(classify(text, more=more, refused=refused, warnings=warnings))
