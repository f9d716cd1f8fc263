"""Why a download failed: a code, a sentence with the remedy, and when it is tried again. Pure.

Sources of the words that are looked for: yt-dlp's extractors (the YouTube one above all), its
downloaders, and its networking, version 2026.8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final


class Code(StrEnum):
    UNSUPPORTED = "unsupported"
    PLAYLIST = "playlist"
    UNAVAILABLE = "unavailable"
    LOGIN = "login"
    COOKIES = "cookies"
    BOT = "bot"
    RATE = "rate"
    GEO = "geo"
    DRM = "drm"
    LATER = "not_yet_live"
    LIVE = "live"
    FORMAT = "format"
    REFUSED = "refused"
    NETWORK = "network"
    STALLED = "stalled"
    HTTP = "http"
    TOOL = "tool"
    MEDIA = "media"
    DISK = "disk"
    QUOTA = "quota"
    TOO_LARGE = "too_large"
    TOO_LONG = "too_long"
    STORAGE = "storage"
    WORKER = "worker"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Verdict:
    code: Code
    #: For the operator: what happened and what to do.
    sentence: str
    #: Until it is tried again by itself; None: not at all.
    again: timedelta | None = None
    #: No other job asks this site until then.
    pause: timedelta | None = None
    #: It is known when it begins: it is tried then, and what was tried before does not count.
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    sentence: str
    again: timedelta | None = None
    pause: timedelta | None = None


class GivenUpError(Exception):
    """The job ends here, for the reason in `why`."""

    def __init__(self, why: Verdict) -> None:
        super().__init__(why.sentence)
        self.why = why


class CancelledError(Exception):
    """People want it no more."""


class ClaimLostError(Exception):
    """Another worker has the job now, or the row is gone."""


_HOUR: Final = timedelta(hours=1)
POLICIES: Final[dict[Code, Policy]] = {
    Code.UNSUPPORTED: Policy(
        "No video was found there, or the site is not known: look at the address. Pages of "
        "sites that yt-dlp does not know are open to administrators alone."
    ),
    Code.PLAYLIST: Policy(
        "That is a playlist, and one video was asked for: “Look first” (or GET /api/v1/info) "
        "shows what is in it, to choose from."
    ),
    Code.UNAVAILABLE: Policy("The video is gone, private, or was never there."),
    Code.LOGIN: Policy(
        "The site wants somebody who is logged in: put the cookies of an account under "
        "“Site cookies”, then try again."
    ),
    Code.COOKIES: Policy(
        "The stored cookies of {what} can't be decrypted: put the old key back into "
        "FIELD_KEYS, or paste the cookies again under “Site cookies”, then try again."
    ),
    Code.BOT: Policy(
        "The site takes this machine for a robot. It is left alone for six hours; cookies of "
        "an account under “Site cookies” may help.",
        pause=timedelta(hours=6),
    ),
    Code.RATE: Policy(
        "The site says that it is asked too often: it is left alone for an hour.",
        again=_HOUR,
        pause=_HOUR,
    ),
    Code.GEO: Policy(
        "The site shows it in other countries only: it can't be had from this machine."
    ),
    Code.DRM: Policy("It is encrypted (DRM): nobody may download it. Ask for the file itself."),
    Code.LATER: Policy("It has not begun yet.", again=_HOUR),
    Code.LIVE: Policy(
        "It is live now, without an end: take it when it is over, or as a live source.",
    ),
    Code.FORMAT: Policy("The site has no such format of it: choose another quality."),
    Code.REFUSED: Policy("It leads to what downloads may not reach ({what})."),
    Code.NETWORK: Policy(
        "The site can't be reached, or breaks off.",
        again=timedelta(minutes=5),
    ),
    Code.STALLED: Policy(
        "No data came for minutes. What has come is kept, to go on from there.",
        again=timedelta(minutes=5),
    ),
    Code.HTTP: Policy("The site answers with an error ({what}): look whether it plays there."),
    Code.TOOL: Policy(
        "yt-dlp could not get or read the site's answer. If others of the site fail too, "
        "update yt-dlp under “Download tool”, then try again."
    ),
    Code.MEDIA: Policy("What came could not be processed: {what}"),
    Code.DISK: Policy(
        "There is no room for it on the disk: make room in DATA_DIR.",
        again=_HOUR,
    ),
    Code.QUOTA: Policy("The quota is used up: {what}"),
    Code.TOO_LARGE: Policy("It is larger than DOWNLOAD_MAX_GB allows ({what})."),
    Code.TOO_LONG: Policy("It took longer than {what}: the download was stopped."),
    Code.STORAGE: Policy("{what}", again=timedelta(minutes=10)),
    Code.WORKER: Policy(
        "Its worker ended or fell silent {what} times at it: look at the log, then try again."
    ),
    Code.INTERNAL: Policy("Something unexpected went wrong ({what}): look at the log."),
}

#: What sites say of a film that is announced; the runner asks then when it begins.
UPCOMING: Final = (
    r"premieres? in|will begin in|live event will|not yet (started|available)|"
    r"is upcoming|has not started|scheduled for"
)
#: In this order, for the first that is found counts. All in small letters.
_SIGNS: Final[tuple[tuple[Code, str], ...]] = (
    # The proxy's own answer, and what no way leads to.
    (Code.REFUSED, r"refused by streamsite|no connection adapters|unsupported url scheme"),
    (Code.DRM, r"drm protected|\bdrm\b|widevine|fairplay"),
    (Code.BOT, r"not a bot|captcha|cloudflare anti-bot|unusual traffic|automated queries"),
    (Code.RATE, r"http error 429|too many requests|rate.?limit|content isn't available, try"),
    (Code.LATER, UPCOMING),
    (
        Code.GEO,
        r"geo.?restrict|not available (in|from) your (country|location|region)|in your ",
    ),
    (
        Code.LOGIN,
        (
            r"sign in|log.?in|--cookies|registered users|members.?only|account|http error 401|"
            r"subscri|age.?restrict|confirm your age|password"
        ),
    ),
    (Code.FORMAT, r"requested format is not available|no video formats found"),
    (Code.DISK, r"no space left|errno 28|disk quota"),
    (
        Code.UNAVAILABLE,
        (
            r"private video|has been removed|no longer available|video unavailable|"
            r"is unavailable|does not exist|terminated|http error 4(04|10)"
        ),
    ),
    (Code.UNSUPPORTED, r"unsupported url|no suitable extractor|is not a valid url"),
    (
        Code.NETWORK,
        (
            r"timed out|time.?out|connection (refused|reset|aborted|broken)|unable to connect|"
            r"name or service|temporary failure|incompleteread|incomplete read|network is|ssl|"
            r"remote end closed|http error 5\d\d|bytes read|did not get any data|retries"
        ),
    ),
    (Code.HTTP, r"http error \d+"),
    (
        Code.MEDIA,
        r"postprocessing|conversion failed|ffmpeg|invalid data|downloaded file is empty",
    ),
    (
        Code.TOOL,
        r"unable to extract|failed to parse|please report this issue|unable to download ",
    ),
)
_STATUS: Final = re.compile(r"HTTP Error (\d{3})", re.IGNORECASE)
#: What may stand in a sentence of another's is cut to so many characters.
LONGEST: Final = 200


def verdict(code: Code, what: str = "") -> Verdict:
    policy = POLICIES[code]
    return Verdict(code, policy.sentence.format(what=what), policy.again, policy.pause)


#: What began so lately and is live will be over: no broadcast with a plan takes longer.
_DAY: Final = timedelta(days=1)


def planned(code: Code, begins: datetime | None, now: datetime, *, most: timedelta) -> Verdict:
    """Of what is announced (LATER) or live (LIVE): tried when it begins, or is over by then.

    `begins` as the site tells it, in the time zone of the sentence; what begins after `most`
    is not waited for.
    """
    usual = verdict(code)
    if begins is None:
        return usual
    told = f"{begins:%-d %B %Y, %H:%M %Z}"
    if code is Code.LIVE and timedelta() <= now - begins < _DAY:
        sentence = f"It is live since {told}: it is tried again until it is over."
        return Verdict(code, sentence, again=_HOUR)
    if code is not Code.LATER or begins <= now:
        return usual
    if begins - now > most:
        return Verdict(
            code,
            f"It begins on {told}, and is waited for {most.days} days at most "
            "(DOWNLOAD_WAIT_DAYS): try again when it is nearer.",
        )
    return Verdict(code, f"It begins on {told}: it is tried then.", at=begins)


def classify(
    text: str, *, more: str = "", refused: str = "", warnings: tuple[str, ...] = ()
) -> Verdict:
    """What yt-dlp's last words mean. `refused`: the address the proxy refused last, if any.

    `more` is looked through as well, but told to nobody. The warnings are asked where the
    error says nothing that is known.
    """
    code = _code(f"{text} {more}")
    if refused and (code is Code.REFUSED or code in _BEHIND_REFUSAL):
        return _refusal(refused)
    if code is Code.INTERNAL:
        code = next((found for each in warnings if (found := _code(each)) in _TELLING), code)
    status = _STATUS.search(f"{text} {more}")
    what = f"HTTP {status[1]}" if status else plain(text)
    return verdict(code, what)


def _refusal(what: str) -> Verdict:
    """By the proxy, with what opens the way where it is meant."""
    why = verdict(Code.REFUSED, what)
    where = (
        "port to DOWNLOAD_PORTS" if what.startswith("port ") else "network to DOWNLOAD_NETWORKS"
    )
    return replace(why, sentence=f"{why.sentence} If it is meant so, add the {where}.")


#: What yt-dlp makes of an answer of the proxy's.
_BEHIND_REFUSAL: Final = frozenset(
    {Code.HTTP, Code.NETWORK, Code.MEDIA, Code.TOOL, Code.INTERNAL}
)
#: What a warning may explain an error with.
_TELLING: Final = frozenset({Code.BOT, Code.RATE, Code.GEO, Code.LOGIN, Code.DRM})


def _code(text: str) -> Code:
    low = text.lower()
    return next((code for code, sign in _SIGNS if re.search(sign, low)), Code.INTERNAL)


def plain(text: str) -> str:
    """One line without addresses, which may hold a signature or a password, and paths."""
    line = " ".join(text.split()).removeprefix("ERROR: ").removeprefix("Postprocessing: ")
    line = re.sub(r"; please report this issue.*", "", line)
    line = re.sub(r"\b\w+://\S+|\bfile:/[^\s:]+|(?<!\S)/[^\s:]+", "…", line)
    return line.removeprefix("…: ")[:LONGEST]
