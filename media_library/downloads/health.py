"""Reports whether downloads can work: yt-dlp, its requirements, and the sites, with remedies.

`findings` and similar functions are pure; `report` queries the rows and, every five minutes,
yt-dlp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db.models import Count, Q

from media_library.downloads import ytdlp_selftest, ytdlp_versions
from media_library.downloads.cookies import UNREADABLE, within
from media_library.downloads.errors import Code
from media_library.downloads.ytdlp_selftest import About, SelfTestError
from media_library.models import DownloadJob, SiteCookies, SitePause
from streamsite.processes.refreshed import Refreshed

#: Age in days from which yt-dlp is old: sites change every few weeks. From the second on,
#: yt-dlp warns about itself (`warn_when_outdated`).
AGEING_DAYS: Final = 30
OLD_DAYS: Final = 90
#: First deno version that yt-dlp supports (utils/_jsruntime.py of 2026.8).
MIN_DENO: Final = (2, 3, 0)
#: Age in days after which most sites' sessions have ended.
STALE_COOKIES_DAYS: Final = 60
#: Share of a site's downloads that must succeed.
GOOD_SUCCESS: Final = 0.9
POOR_SUCCESS: Final = 0.5
#: Seconds after which yt-dlp is queried again.
CHECK_INTERVAL_S: Final = 300
#: Seconds after which that is done when it could not be started.
RETRY_INTERVAL_S: Final = 10
#: Seconds for which its last answer is shown meanwhile.
KEPT_S: Final = 86_400
#: Seconds that a page waits for its first answer.
ANSWER_TIMEOUT_S: Final = 10
#: Shown until it has answered.
UNANSWERED: Final = "It is being checked, and has not answered yet: reload in a minute."
#: Maximum sites in a report.
MAX_SITES: Final = 50
_UPDATE: Final = "update it here, or with the command update_downloader"


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILING = "failing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """`value`: the measured value; `sentence`: its meaning, and what to do."""

    name: str
    state: State
    value: str
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    site: str
    done: int
    failed: int
    #: Share of the finished downloads that succeeded, from 0 to 1; None: there are none.
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
    """The state of this machine's yt-dlp, and of all sites and cookies."""

    state: State
    version: str
    age_days: int | None
    runtime: str
    #: True: an environment that an update installed.
    updated: bool
    can_roll_back: bool
    #: Result of the last update or roll-back.
    last_order: str
    #: Time of yt-dlp's last check; None: it has not answered yet.
    checked_at: datetime | None
    days: int
    findings: list[Finding]
    sites: list[Site]
    cookies: list[Cookies]


def report(now: datetime, *, days: int = 7) -> Report:
    choice = ytdlp_versions.chosen()
    about, age_s = _about(ytdlp_versions.python())
    since = now - timedelta(days=days)
    tool_findings = findings(
        about, now.astimezone(UTC).date(), lost=ytdlp_versions.lost(choice)
    )
    sites, cookies = _sites(now, since), _cookies(now)
    return Report(
        state=worst(
            [
                *(finding.state for finding in tool_findings),
                *(row.state for row in sites),
                *(row.state for row in cookies),
            ]
        ),
        version=about.version if isinstance(about, About) else "",
        age_days=age(about.version, now.date()) if isinstance(about, About) else None,
        runtime=about.runtime if isinstance(about, About) else "",
        updated=bool(choice.current) and not ytdlp_versions.lost(choice),
        can_roll_back=not choice.untouched,
        last_order=choice.result,
        checked_at=None if age_s is None else now - timedelta(seconds=age_s),
        days=days,
        findings=tool_findings,
        sites=sites,
        cookies=cookies,
    )


def _about(interpreter: str) -> tuple[About | str, float | None]:
    """Returns yt-dlp's description of itself, or its error, and the age in seconds.

    The check starts a process for seconds: it runs in the background once the last answer is
    old, or was an error.
    """
    last = _checked.get(interpreter, fresh_s=CHECK_INTERVAL_S, wait_s=ANSWER_TIMEOUT_S)
    if last is not None and isinstance(last.value, str):
        last = _checked.get(interpreter, fresh_s=RETRY_INTERVAL_S, wait_s=ANSWER_TIMEOUT_S)
    return (last.value, last.age_s) if last is not None else (UNANSWERED, None)


def _query(interpreter: str) -> About | str:
    try:
        return ytdlp_selftest.about(interpreter)
    except SelfTestError as error:
        return str(error)


_checked: Final = Refreshed(_query, "about-ytdlp", kept_s=KEPT_S)


# ---- the tool --------------------------------------------------------------------------------


def findings(about: About | str, today: date, *, lost: bool = False) -> list[Finding]:
    """`about`: yt-dlp's description of itself, or why there is none. Pure."""
    if about == UNANSWERED:
        return [Finding("yt-dlp", State.UNKNOWN, "", UNANSWERED)]
    if isinstance(about, str):
        sentence = (
            f"It can't be started: {about} If downloads fail too, roll back here, or "
            "install streamsite's requirements again."
        )
        return [Finding("yt-dlp", State.FAILING, "", sentence)]
    itself = Finding("yt-dlp", State.OK, about.version)
    if lost:
        sentence = (
            "The newer one was made for another Python, so streamsite's own is used: update "
            "it again."
        )
        itself = Finding("yt-dlp", State.WARNING, about.version, sentence)
    return [itself, _of_age(about.version, today), _of_runtime(about.runtime)]


def age(version: str, today: date) -> int | None:
    """Returns the days since its release: its version is that date."""
    try:
        return (today - date(*ytdlp_versions.numbers(version)[:3])).days
    except (TypeError, ValueError):
        return None


def _of_age(version: str, today: date) -> Finding:
    days = age(version, today)
    if days is None:
        return Finding("Age", State.UNKNOWN, "", "Its version is no date.")
    age_text = f"{max(days, 0)} days"
    if days > OLD_DAYS:
        return Finding(
            "Age", State.FAILING, age_text, f"Many sites may have changed: {_UPDATE}."
        )
    if days > AGEING_DAYS:
        return Finding(
            "Age", State.WARNING, age_text, f"Some sites may have changed: {_UPDATE}."
        )
    return Finding("Age", State.OK, age_text)


def _of_runtime(runtime: str) -> Finding:
    if not runtime:
        sentence = (
            "No deno can be started. yt-dlp needs it for YouTube's challenges: downloads from "
            "there fail or have low quality. Install streamsite's requirements again, which "
            "include it, and deploy's systemd units, which permit it."
        )
        return Finding("JavaScript", State.FAILING, "none", sentence)
    version = ytdlp_versions.numbers(runtime.rpartition(" ")[2])
    if version < MIN_DENO:
        least = ".".join(map(str, MIN_DENO))
        sentence = f"yt-dlp needs deno {least} or newer: {_UPDATE}."
        return Finding("JavaScript", State.FAILING, runtime, sentence)
    return Finding("JavaScript", State.OK, runtime)


def worst(states: Iterable[State]) -> State:
    ranked = (State.OK, State.UNKNOWN, State.WARNING, State.FAILING)
    return max(states, key=ranked.index, default=State.OK)


# ---- the sites -------------------------------------------------------------------------------


def of_site(site: str, done: int, failed: int, *, fault: str = "", paused: str = "") -> Site:
    """`fault`: the last download's error; `paused`: why the site gets no requests. Pure."""
    success = round(done / (done + failed), 3) if done + failed else None
    state = State.OK
    if success is not None and success < GOOD_SUCCESS:
        state = State.FAILING if success < POOR_SUCCESS else State.WARNING
    if paused:
        state = worst((state, State.WARNING))
    return Site(site, done, failed, success, state, paused or (fault if failed else ""))


def _sites(now: datetime, since: datetime) -> list[Site]:
    over = DownloadJob.objects.filter(ended_at__gte=since).order_by()
    done = Q(status=DownloadJob.Status.DONE, duplicate=False)
    failed = Q(status=DownloadJob.Status.FAILED)
    counts = {
        row["site"]: row
        for row in over.filter(done | failed)
        .values("site")
        .annotate(
            done=Count("pk", filter=done),
            failed=Count("pk", filter=failed),
            tried=Count("pk"),
        )
        .order_by("-failed", "-tried", "site")[:MAX_SITES]
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
    """`refused`: the site asked for a login in spite of these cookies. Pure."""
    days = max(0, (now - set_at).days)
    state, sentence = State.OK, ""
    if not readable:
        state, sentence = State.FAILING, UNREADABLE
    elif refused:
        state = State.FAILING
        sentence = (
            "The site asks for a login in spite of them: log in there with a browser, and "
            "export them again."
        )
    elif days > STALE_COOKIES_DAYS:
        state = State.WARNING
        sentence = "Most sites' sessions end after some weeks: export them again in time."
    return Cookies(domain, days, used_at, state, sentence)


def _cookies(now: datetime) -> list[Cookies]:
    refusals = list(
        DownloadJob.objects.filter(
            status=DownloadJob.Status.FAILED,
            code__in=[Code.LOGIN.value, Code.BOT.value],
            ended_at__gt=now - timedelta(days=STALE_COOKIES_DAYS),
        )
        .order_by()
        .values_list("site", "ended_at")
    )
    return [
        of_cookies(
            cookies.domain,
            now,
            cookies.set_at,
            used_at=cookies.used_at,
            readable=cookies.readable,
            refused=any(
                within(site, cookies.domain) and ended is not None and ended > cookies.set_at
                for site, ended in refusals
            ),
        )
        for cookies in SiteCookies.objects.all()
    ]
