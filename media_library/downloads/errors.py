"""Why a download failed: a code, a sentence with the remedy, and the next try. Pure.

Sources of the matched texts: yt-dlp's extractors (mainly YouTube's), its downloaders and its
networking, version 2026.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final


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
    #: The cause and the remedy, for the operator.
    sentence: str
    #: Delay of the automatic retry; None: no retry.
    retry_after: timedelta | None = None
    #: No other job contacts this site for so long.
    pause: timedelta | None = None
    #: Known start of the video: the retry is due then, and earlier tries don't count.
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    sentence: str
    retry_after: timedelta | None = None
    pause: timedelta | None = None


class GivenUpError(Exception):
    """The job ends, for the reason in `why`."""

    def __init__(self, why: Verdict) -> None:
        super().__init__(why.sentence)
        self.why = why


class CancelledError(Exception):
    """The job was cancelled."""


_HOUR: Final = timedelta(hours=1)
POLICIES: Final[dict[Code, Policy]] = {
    Code.UNSUPPORTED: Policy(
        "No video was found there, or the site is not supported: check the address. Only "
        "administrators may download from sites that yt-dlp does not know."
    ),
    Code.PLAYLIST: Policy(
        "The address is a playlist, but one video was requested: “Look first” (or GET "
        "/api/v1/info) shows its videos to choose from."
    ),
    Code.UNAVAILABLE: Policy("The video was removed, is private, or never existed."),
    Code.LOGIN: Policy(
        "The site requires a login: put the cookies of an account under "
        "“Site cookies”, then try again."
    ),
    Code.COOKIES: Policy(
        "The stored cookies of {what} can't be decrypted: put the old key back into "
        "FIELD_KEYS, or paste the cookies again under “Site cookies”, then try again."
    ),
    Code.BOT: Policy(
        "The site takes this machine for a robot. It gets no requests for six hours; cookies "
        "of an account under “Site cookies” may help.",
        pause=timedelta(hours=6),
    ),
    Code.RATE: Policy(
        "The site refuses because of too many requests: it gets none for an hour.",
        retry_after=_HOUR,
        pause=_HOUR,
    ),
    Code.GEO: Policy(
        "The site shows it only in other countries: this machine can't download it."
    ),
    Code.DRM: Policy("It is encrypted (DRM) and can't be downloaded. Ask for the file itself."),
    Code.LATER: Policy("It has not begun yet.", retry_after=_HOUR),
    Code.LIVE: Policy(
        "It is live and has no end: download it when it is over, or use it as a live source.",
    ),
    Code.FORMAT: Policy("The site does not offer this format: choose another quality."),
    Code.REFUSED: Policy("It leads to an address that downloads may not reach ({what})."),
    Code.NETWORK: Policy(
        "The site can't be reached, or drops the connection.",
        retry_after=timedelta(minutes=5),
    ),
    Code.STALLED: Policy(
        "No data arrived for minutes. The data so far is kept, and the download resumes there.",
        retry_after=timedelta(minutes=5),
    ),
    Code.HTTP: Policy("The site answers with an error ({what}): check that it plays there."),
    Code.TOOL: Policy(
        "yt-dlp could not get or read the site's answer. If other videos of the site fail too, "
        "update yt-dlp under “Download tool”, then try again."
    ),
    Code.MEDIA: Policy("The downloaded file could not be processed: {what}"),
    Code.DISK: Policy(
        "The disk has no space for it: free some space in DATA_DIR.",
        retry_after=_HOUR,
    ),
    Code.QUOTA: Policy("The quota is used up: {what}"),
    Code.TOO_LARGE: Policy("It is larger than DOWNLOAD_MAX_GB allows ({what})."),
    Code.TOO_LONG: Policy("It took longer than {what}: the download was stopped."),
    Code.STORAGE: Policy("{what}", retry_after=timedelta(minutes=10)),
    Code.WORKER: Policy(
        "Its worker ended or stopped responding {what} times: check the log, then try again."
    ),
    Code.INTERNAL: Policy("An unexpected error occurred ({what}): check the log."),
}

#: Messages of sites about an announced video; the runner then asks for its start.
UPCOMING: Final = (
    r"premieres? in|will begin in|live event will|not yet (started|available)|"
    r"is upcoming|has not started|scheduled for"
)
#: The first match counts. All in lower case.
_SIGNS: Final[tuple[tuple[Code, str], ...]] = (
    # The proxy's own answer, and addresses that no request can reach.
    (Code.REFUSED, r"not allowed by ruleset|no connection adapters|unsupported url scheme"),
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
            r"(host|network) unreachable|name or service|temporary failure|incompleteread|"
            r"incomplete read|network is|ssl|"
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
#: Maximum characters of foreign text in a sentence.
MAX_CHARS: Final = 200


def verdict(code: Code, what: str = "") -> Verdict:
    policy = POLICIES[code]
    return Verdict(code, policy.sentence.format(what=what), policy.retry_after, policy.pause)


#: A broadcast that is live and began less than a day ago will end; scheduled ones are shorter.
_DAY: Final = timedelta(days=1)


def planned(code: Code, begins: datetime | None, now: datetime, *, most: timedelta) -> Verdict:
    """Returns the verdict on an announced (LATER) or live (LIVE) video.

    `begins` is the site's start time, in the time zone of the sentence; a start after more than
    `most` is not waited for. It is tried again at its start, or when it should be over.
    """
    usual = verdict(code)
    if begins is None:
        return usual
    begin_text = f"{begins:%-d %B %Y, %H:%M %Z}"
    if code is Code.LIVE and timedelta() <= now - begins < _DAY:
        sentence = f"It is live since {begin_text}: it is tried again until it is over."
        return Verdict(code, sentence, retry_after=_HOUR)
    if code is not Code.LATER or begins <= now:
        return usual
    if begins - now > most:
        return Verdict(
            code,
            f"It begins on {begin_text}; downloads wait {most.days} days at most "
            "(DOWNLOAD_WAIT_DAYS): try again later.",
        )
    return Verdict(code, f"It begins on {begin_text}: it is tried then.", at=begins)


def of_end(end: Mapping[str, Any], refused: str) -> Verdict:
    """Classifies the runner's final message. Its own code precedes the error's text."""
    if not end:
        return verdict(Code.INTERNAL, "yt-dlp ended without a result")
    if end["kind"] == "cancelled":
        return verdict(Code.INTERNAL, "yt-dlp was ended from outside")
    if end["code"]:
        return verdict(Code(end["code"]), plain(end["text"]))
    if end["type"] == "MemoryError":
        return verdict(Code.TOO_LARGE, "the page needs more memory than a job may use")
    warnings = tuple(str(warning) for warning in end["warnings"])
    more = f"{end['type']}: {end['logged']}"
    return classify(end["text"], more=more, refused=refused, warnings=warnings)


def classify(
    text: str, *, more: str = "", refused: str = "", warnings: tuple[str, ...] = ()
) -> Verdict:
    """Classifies yt-dlp's final error. `refused`: the last address that the proxy refused."""
    code = _code(f"{text} {more}")
    if refused and (code is Code.REFUSED or code in _BEHIND_REFUSAL):
        return _refusal(refused)
    if code is Code.INTERNAL:
        code = next(
            (code_ for text_ in warnings if (code_ := _code(text_)) in _EXPLAINING), code
        )
    status = _STATUS.search(f"{text} {more}")
    what = f"HTTP {status[1]}" if status else plain(text)
    return verdict(code, what)


def _refusal(what: str) -> Verdict:
    """Returns the verdict on the proxy's refusal, with the setting that permits the address."""
    why = verdict(Code.REFUSED, what)
    where = (
        "port to DOWNLOAD_PORTS" if what.startswith("port ") else "network to DOWNLOAD_NETWORKS"
    )
    return replace(why, sentence=f"{why.sentence} If it is intended, add the {where}.")


#: Codes that yt-dlp derives from an answer of the proxy.
_BEHIND_REFUSAL: Final = frozenset(
    {Code.HTTP, Code.NETWORK, Code.MEDIA, Code.TOOL, Code.INTERNAL}
)
#: Codes of a warning that explain an error.
_EXPLAINING: Final = frozenset({Code.BOT, Code.RATE, Code.GEO, Code.LOGIN, Code.DRM})


def _code(text: str) -> Code:
    low = text.lower()
    return next((code for code, sign in _SIGNS if re.search(sign, low)), Code.INTERNAL)


def plain(text: str) -> str:
    """Returns one line without paths and URLs, which may hold a signature or a password."""
    line = " ".join(text.split()).removeprefix("ERROR: ").removeprefix("Postprocessing: ")
    line = re.sub(r"; please report this issue.*", "", line)
    line = re.sub(r"\b\w+://\S+|\bfile:/[^\s:]+|(?<!\S)/[^\s:]+", "…", line)
    return line.removeprefix("…: ")[:MAX_CHARS]
