"""Whether downloads can work: yt-dlp, what it needs, and how the sites took it. With remedies.

`findings` and its like are pure; `report` asks the rows and, once in five minutes, yt-dlp.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import Final

from django.core.cache import cache
from django.db.models import Count, Q

from media_library.downloads import ytdlp_selftest, ytdlp_versions
from media_library.downloads.cookies import UNREADABLE, within
from media_library.downloads.errors import Code
from media_library.downloads.ytdlp_selftest import About, CanaryError
from media_library.models import DownloadJob, SiteCookies, SitePause

#: Days after which a yt-dlp is old: sites change every few weeks. From the second on it warns
#: of itself (`warn_when_outdated`).
AGEING: Final = 30
OLD: Final = 90
#: The first deno that yt-dlp works with (utils/_jsruntime.py of 2026.8).
LEAST_DENO: Final = (2, 3, 0)
#: Days after which most sites' sessions have ended.
STALE: Final = 60
#: Of all that was tried at a site, so much must come.
WELL: Final = 0.9
POORLY: Final = 0.5
#: Seconds after which yt-dlp is asked about itself again.
KEPT: Final = 300
#: Seconds that its last answer is shown meanwhile.
REMEMBERED: Final = 86_400
#: Seconds that a page waits for its first answer.
PATIENCE: Final = 10
#: Asks it, one process at a time.
_background: Final = ThreadPoolExecutor(1, "about-ytdlp")
_asking: Final = Lock()
_asked: Final[dict[str, Future[tuple[About | str, float]]]] = {}
#: While it has not answered.
UNANSWERED: Final = "It is being asked, and has not answered so far: look again in a minute."
#: Sites that are told of.
MOST_SITES: Final = 50
_UPDATE: Final = "update it here, or with the command update_downloader"


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILING = "failing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """`value`: what was found; `sentence`: what that means, and what to do."""

    name: str
    state: State
    value: str
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    site: str
    done: int
    failed: int
    #: Of those that are over, from 0 to 1; None: there are none.
    success: float | None
    state: State
    sentence: str


@dataclass(frozen=True, slots=True)
class Cookies:
    domain: str
    age_days: int
    used_at: datetime | None
    state: State
    sentence: str


@dataclass(frozen=True, slots=True)
class Report:
    """Of this machine; sites and cookies of all."""

    state: State
    version: str
    age_days: int | None
    runtime: str
    #: True: an environment of its own, made by an update.
    updated: bool
    can_roll_back: bool
    #: What came of the last update or roll-back.
    last_order: str
    #: When yt-dlp was asked about itself; None: it has not answered so far.
    checked_at: datetime | None
    days: int
    findings: list[Finding]
    sites: list[Site]
    cookies: list[Cookies]


def report(now: datetime, *, days: int = 7) -> Report:
    choice = ytdlp_versions.chosen()
    about, checked_at = _about(ytdlp_versions.python())
    since = now - timedelta(days=days)
    found = findings(about, now.astimezone(UTC).date(), lost=ytdlp_versions.lost(choice))
    sites, cookies = _sites(now, since), _cookies(now)
    return Report(
        state=worst(
            [
                *(each.state for each in found),
                *(each.state for each in sites),
                *(each.state for each in cookies),
            ]
        ),
        version=about.version if isinstance(about, About) else "",
        age_days=age(about.version, now.date()) if isinstance(about, About) else None,
        runtime=about.runtime if isinstance(about, About) else "",
        updated=bool(choice.current) and not ytdlp_versions.lost(choice),
        can_roll_back=not choice.untouched,
        last_order=choice.said,
        checked_at=checked_at,
        days=days,
        findings=found,
        sites=sites,
        cookies=cookies,
    )


def _about(interpreter: str) -> tuple[About | str, datetime | None]:
    """What it says of itself, or why it says nothing, and when it was asked.

    That starts a process, for seconds. It is done in the background once the last answer is
    old, and one at a time; only the first answer is waited for.
    """
    name = f"downloader-{hashlib.sha256(interpreter.encode()).hexdigest()}"
    known: tuple[About | str, float] | None = cache.get(name)
    if known is not None and isinstance(known[0], About) and time.time() - known[1] < KEPT:
        return _dated(*known)
    with _asking:
        asked = _asked.get(name)
        if asked is None or asked.done():
            asked = _asked[name] = _background.submit(_ask, name, interpreter)
    if known is not None:
        return _dated(*known)
    try:
        return _dated(*asked.result(PATIENCE))
    except TimeoutError:
        return UNANSWERED, None


def _dated(found: About | str, at: float) -> tuple[About | str, datetime]:
    return found, datetime.fromtimestamp(at, UTC)


def _ask(name: str, interpreter: str) -> tuple[About | str, float]:
    found: About | str
    try:
        found = ytdlp_selftest.about(interpreter)
    except CanaryError as error:
        found = str(error)
    answer = found, time.time()
    cache.set(name, answer, REMEMBERED)
    return answer


# ---- the tool --------------------------------------------------------------------------------


def findings(about: About | str, today: date, *, lost: bool = False) -> list[Finding]:
    """`about`: what yt-dlp says of itself, or why it does not. Pure."""
    if about == UNANSWERED:
        return [Finding("yt-dlp", State.UNKNOWN, "", UNANSWERED)]
    if isinstance(about, str):
        sentence = (
            f"It did not say what it is: {about} If downloads fail too, roll back here, or "
            "install streamsite's requirements anew."
        )
        return [Finding("yt-dlp", State.FAILING, "", sentence)]
    itself = Finding("yt-dlp", State.OK, about.version)
    if lost:
        sentence = (
            "The newer one was made for another Python, and streamsite's own is used: update "
            "it again."
        )
        itself = Finding("yt-dlp", State.WARNING, about.version, sentence)
    return [itself, _of_age(about.version, today), _of_runtime(about.runtime)]


def age(version: str, today: date) -> int | None:
    """Days since it was released: its version is that date."""
    try:
        return (today - date(*ytdlp_versions.numbers(version)[:3])).days
    except (TypeError, ValueError):
        return None


def _of_age(version: str, today: date) -> Finding:
    days = age(version, today)
    if days is None:
        return Finding("Age", State.UNKNOWN, "", "Its version is no date.")
    told = f"{max(days, 0)} days"
    if days > OLD:
        return Finding("Age", State.FAILING, told, f"Many sites may have changed: {_UPDATE}.")
    if days > AGEING:
        return Finding("Age", State.WARNING, told, f"Some sites may have changed: {_UPDATE}.")
    return Finding("Age", State.OK, told)


def _of_runtime(runtime: str) -> Finding:
    if not runtime:
        sentence = (
            "There is no deno that runs, and it solves YouTube's riddles: downloads from there "
            "fail or come in poor quality. Install streamsite's requirements anew, which have "
            "it, and deploy's systemd units, which let it run."
        )
        return Finding("JavaScript", State.FAILING, "none", sentence)
    version = ytdlp_versions.numbers(runtime.rpartition(" ")[2])
    if version < LEAST_DENO:
        least = ".".join(map(str, LEAST_DENO))
        sentence = f"yt-dlp needs deno {least} or newer: {_UPDATE}."
        return Finding("JavaScript", State.FAILING, runtime, sentence)
    return Finding("JavaScript", State.OK, runtime)


def worst(states: Iterable[State]) -> State:
    ranked = (State.OK, State.UNKNOWN, State.WARNING, State.FAILING)
    return max(states, key=ranked.index, default=State.OK)


# ---- the sites -------------------------------------------------------------------------------


def of_site(site: str, done: int, failed: int, *, fault: str = "", paused: str = "") -> Site:
    """`fault`: why the last failed; `paused`: why it is left alone. Pure."""
    success = round(done / (done + failed), 3) if done + failed else None
    state = State.OK
    if success is not None and success < WELL:
        state = State.FAILING if success < POORLY else State.WARNING
    if paused:
        state = worst((state, State.WARNING))
    return Site(site, done, failed, success, state, paused or (fault if failed else ""))


def _sites(now: datetime, since: datetime) -> list[Site]:
    over = DownloadJob.objects.filter(ended_at__gte=since).order_by()
    done = Q(status=DownloadJob.Status.DONE, duplicate=False)
    failed = Q(status=DownloadJob.Status.FAILED)
    counts = {
        each["site"]: each
        for each in over.filter(done | failed)
        .values("site")
        .annotate(
            done=Count("pk", filter=done),
            failed=Count("pk", filter=failed),
            tried=Count("pk"),
        )
        .order_by("-failed", "-tried", "site")[:MOST_SITES]
    }
    last = dict(
        over.filter(failed, site__in=list(counts))
        .order_by("ended_at")
        .values_list("site", "fault")
    )
    paused = dict(SitePause.objects.filter(until__gt=now).values_list("site", "why"))
    none = {"done": 0, "failed": 0}
    return [
        of_site(
            site,
            counts.get(site, none)["done"],
            counts.get(site, none)["failed"],
            fault=last.get(site, ""),
            paused=paused.get(site, ""),
        )
        for site in dict.fromkeys((*paused, *counts))
    ]


# ---- cookies ---------------------------------------------------------------------------------


def of_cookies(
    domain: str,
    now: datetime,
    set_at: datetime,
    *,
    used_at: datetime | None,
    refused: bool,
    readable: bool = True,
) -> Cookies:
    """`refused`: the site asked for a login though it got them. Pure."""
    days = max(0, (now - set_at).days)
    state, sentence = State.OK, ""
    if not readable:
        state, sentence = State.FAILING, UNREADABLE
    elif refused:
        state = State.FAILING
        sentence = (
            "The site asks for a login in spite of them: log in there with a browser, and "
            "export them anew."
        )
    elif days > STALE:
        state = State.WARNING
        sentence = "Most sites' sessions end after some weeks: export them anew in time."
    return Cookies(domain, days, used_at, state, sentence)


def _cookies(now: datetime) -> list[Cookies]:
    asked = list(
        DownloadJob.objects.filter(
            status=DownloadJob.Status.FAILED,
            code__in=[Code.LOGIN.value, Code.BOT.value],
            ended_at__gt=now - timedelta(days=STALE),
        )
        .order_by()
        .values_list("site", "ended_at")
    )
    return [
        of_cookies(
            each.domain,
            now,
            each.set_at,
            used_at=each.used_at,
            readable=each.readable,
            refused=any(
                within(site, each.domain) and ended is not None and ended > each.set_at
                for site, ended in asked
            ),
        )
        for each in SiteCookies.objects.all()
    ]
