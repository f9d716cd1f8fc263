"""What the API is asked and tells of downloads."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints

from media_library.downloads import health, jobs
from media_library.downloads import metadata as preview
from media_library.downloads.options import (
    MOST_LANGUAGES,
    Container,
    Quality,
    Sound,
    Subtitles,
)
from media_library.models import DownloadJob
from streamsite.api.crud import Body, Id, Moment, Paging, RequestSchema

Url = Annotated[str, StringConstraints(min_length=8, max_length=jobs.LONGEST_URL)]
Language = Annotated[str, StringConstraints(min_length=2, max_length=35)]


class WantedOptions(Body):
    """`quality`: lines of the picture at most, 0 for the best; `sound`: that alone.

    `translate`: languages into which the subtitles are translated, where a server for that is
    configured.
    """

    model_config = ConfigDict(extra="forbid")

    quality: Quality = Quality.BEST
    container: Container = Container.MP4
    sound: Sound = Sound.NO
    subtitles: Subtitles = Subtitles.NONE
    languages: list[Language] = Field(["en"], max_length=MOST_LANGUAGES)
    translate: list[Language] = Field(default_factory=list, max_length=MOST_LANGUAGES)
    thumbnail: bool = True
    metadata: bool = True
    chapters: bool = True


class Wanted(WantedOptions):
    """One address. `again`: also where the library has the same already."""

    url: Url
    rights: str = Field("", max_length=10_000)
    again: bool = False


class WantedMany(WantedOptions):
    """Many addresses, such as those that `/info` tells of a list. All are taken, or none."""

    urls: list[Url] = Field(min_length=1, max_length=jobs.MOST_AT_ONCE)
    name: str = Field("", max_length=255)
    rights: str = Field("", max_length=10_000)
    again: bool = False


class BatchDetail(Schema):
    """`jobs`: ids, in the order of the addresses."""

    id: int
    name: str
    jobs: list[int]


class Cancelled(Schema):
    """How many of them were not over yet."""

    cancelled: int


class Extra(Schema):
    """Subtitles (srt, vtt, txt) or a picture, beside the film.

    `translated_from`: a machine made them, out of those in that language.
    """

    kind: str
    language: str
    key: str
    translated_from: str = ""


class JobDetail(Schema):
    """Sizes in bytes, `speed` in bytes a second, `percent` of all the work.

    `code` and `fault` say what went wrong; of a queued job, what it waits for. `duplicate`: the
    library had it already.
    """

    id: int
    url: str
    status: DownloadJob.Status
    percent: int
    note: str
    speed: int | None
    seconds_left: int | None
    bytes_done: int
    bytes_total: int | None
    code: str
    fault: str
    warnings: list[str]
    attempts: int
    title: str
    extractor: str
    video_id: str
    uploader: str
    licence: str
    duration_seconds: float | None = Field(None, alias="seconds")
    got: str
    key: str
    size_bytes: int | None
    extras: list[Extra]
    item: int | None = Field(None, alias="item_id")
    batch: int | None = Field(None, alias="batch_id")
    duplicate: bool
    options: dict[str, Any]
    asked_by: str
    made_at: datetime
    due_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    tool_version: str


class JobFilter(Paging):
    """All that is given must hold. The newest first."""

    status: DownloadJob.Status | None = None
    site: str = Field("", max_length=253)
    batch: Id | None = None
    made_since: Moment | None = None


class InfoAsked(RequestSchema):
    """Of a list at most `cap` entries."""

    url: Url
    cap: int = Field(20, ge=1, le=preview.MOST_ENTRIES)


class Entry(Schema):
    """A video of a list."""

    id: str
    title: str
    page: str
    seconds: float | None


class Info(Entry):
    """What is at an address: a video, or a list (`playlist`) with its first entries."""

    playlist: bool
    extractor: str
    uploader: str
    licence: str
    heights: list[int] = Field(default_factory=list)
    subtitles: list[str] = Field(default_factory=list)
    count: int | None = None
    entries: list[Entry]


class SiteStatistics(Schema):
    """`success`: of those that are over, from 0 to 1; those that were cancelled left out."""

    site: str
    done: int
    failed: int
    success: float | None


class Statistics(Schema):
    """Of the last `days`. `bytes_per_second`: from start to end, on average."""

    days: int
    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    bytes: int
    seconds_each: float | None
    sites: list[SiteStatistics]


class FindingTold(Schema):
    """`value`: what was found; `sentence`: what that means, and what to do."""

    name: str
    state: health.State
    value: str
    sentence: str


class SiteTold(SiteStatistics):
    """`sentence`: why the last download failed, or why the site is left alone."""

    state: health.State
    sentence: str


class CookiesTold(Schema):
    """Of one domain. The cookies themselves are told to nobody."""

    domain: str
    age_days: int
    used_at: datetime | None
    state: health.State
    sentence: str


class DownloaderHealth(Schema):
    """`state` is the worst of all. `updated`: an update brought this yt-dlp.

    `checked_at`: when yt-dlp was asked about itself; null while it has not answered.
    """

    state: health.State
    version: str
    age_days: int | None
    runtime: str
    updated: bool
    can_roll_back: bool
    last_order: str
    checked_at: datetime | None
    days: int
    findings: list[FindingTold]
    sites: list[SiteTold]
    cookies: list[CookiesTold]
