"""A look at an address without a download: what video it is, or which videos a list has."""

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
from media_library.downloads.options import PROTOCOLS, Place, look_parameters
from media_library.downloads.process import Runner, RunnerError, limits
from media_library.downloads.proxy import Proxy
from media_library.jobs import slots
from streamsite.security.ssrf import Rules

#: Seconds that a look may take: somebody waits for it.
PATIENCE: Final = 60.0
#: Looks at once on this machine: each is a process of 60 MB.
AT_ONCE: Final = 2
#: Seconds that an answer is kept.
KEPT: Final = 300
#: Bytes that a look may fetch: pages, not films.
MOST: Final = 200_000_000
#: Begins the name of a look's folder, beside those of jobs: what a dead process left there,
#: cookies perhaps, is removed as theirs is.
LOOK: Final = "look-"
#: Entries of a list that are shown at most.
MOST_ENTRIES: Final = 500


class BusyError(Exception):
    """Enough looks are under way. `str()` says so."""


def look(url: str, *, cap: int = 50, any_site: bool = False) -> dict[str, Any]:
    """What is there, as `runner_ytdlp.py` tells it; asked again within five minutes, the same.

    Raises `OrderError` for what is no address, `GivenUpError`, `BusyError`.
    """
    url = jobs.cleaned(url)
    cap = max(1, min(cap, MOST_ENTRIES))
    name = hashlib.sha256(f"{any_site} {cap} {url}".encode()).hexdigest()
    known: dict[str, Any] | None = cache.get(f"look-{name}")
    if known is not None:
        return known
    with slots.place("look", AT_ONCE) as free:
        if not free:
            raise BusyError("Other addresses are being looked at: try again in a moment.")
        found = _looked(url, cap, any_site=any_site)
    cache.set(f"look-{name}", found, KEPT)
    return found


def _looked(url: str, cap: int, *, any_site: bool) -> dict[str, Any]:
    rules = Rules(frozenset(settings.DOWNLOAD_PORTS), settings.DOWNLOAD_NETWORKS)
    home = settings.DATA_DIR / "downloads"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix=LOOK, dir=home) as name,
        Proxy(rules, most_bytes=MOST) as proxy,
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
            "mode": "look",
            "url": url,
            "folder": name,
            "cap": cap,
            "limits": limits(MOST),
            "protocols": PROTOCOLS,
            "parameters": look_parameters(place, cap=cap),
        }
        try:
            with Runner(order, folder=folder, python=ytdlp_versions.python()) as runner:
                end = runner.conclusion(PATIENCE)
        except RunnerError as error:
            raise GivenUpError(verdict(Code.INTERNAL, str(error))) from None
        refused = proxy.seen.refused
    if end is None:
        raise GivenUpError(verdict(Code.TOO_LONG, f"{PATIENCE:.0f} s"))
    if end.get("kind") == "looked":
        return end
    if end.get("code"):
        raise GivenUpError(verdict(Code(end["code"]), plain(end["text"])))
    warnings = tuple(end.get("warnings", ()))
    more = f"{end.get('type', '')}: {end.get('said', '')}"
    text = end.get("text") or "yt-dlp ended without a word"
    raise GivenUpError(classify(text, more=more, refused=refused, warnings=warnings))
