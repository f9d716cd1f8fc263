"""Schemas of downloads in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import Q
from ninja import FilterLookup, Schema
from pydantic import ConfigDict, Field, StringConstraints

from media_library.downloads import jobs
from media_library.downloads import metadata as preview
from media_library.downloads.options import (
    MAX_LANGUAGES,
    Container,
    Quality,
    Sound,
    Subtitles,
)
from media_library.models import DownloadJob
from streamsite.api.crud import Body, Id, Moment, Paging, RequestSchema, Text

Url = Annotated[str, StringConstraints(min_length=8, max_length=jobs.MAX_URL_CHARS)]
Language = Annotated[str, StringConstraints(min_length=2, max_length=35)]


class DownloadOptions(Body):
    """`quality`: maximum height of the picture, 0 for the best; `sound`: audio only.

    `translate`: languages into which the subtitles are translated, if a server for that is
    configured.
    """

    model_config = ConfigDict(extra="forbid")

    quality: Quality = Quality.BEST
    container: Container = Container.MP4
    sound: Sound = Sound.NO
    subtitles: Subtitles = Subtitles.NONE
    languages: list[Language] = Field(["en"], max_length=MAX_LANGUAGES)
    translate: list[Language] = Field(default_factory=list, max_length=MAX_LANGUAGES)
    thumbnail: bool = True
    metadata: bool = True
    chapters: bool = True


class NewDownload(DownloadOptions):
    """One address. `again`: even if the library has the same video."""

    url: Url
    rights: str = Field("", max_length=10_000)
    again: bool = False


class NewDownloads(DownloadOptions):
    """Several addresses, such as those of a list from `/info`. All are accepted, or none."""

    urls: list[Url] = Field(min_length=1, max_length=jobs.MAX_BATCH)
    name: str = Field("", max_length=255)
    rights: str = Field("", max_length=10_000)
    again: bool = False


class BatchDetail(Schema):
    """`jobs`: ids, in the order of the addresses."""

    id: int
    name: str
    jobs: list[int]


class Cancelled(Schema):
    """Number of jobs that were not over yet."""

    cancelled: int


class Extra(Schema):
    """Subtitles (srt, vtt, txt) or a picture, beside the video.

    `translated_from`: a machine translated them from that language.
    """

    kind: str
    language: str
    key: str
    translated_from: str = ""


class JobDetail(Schema):
    """Sizes in bytes, `speed` in bytes per second, `percent` of all the work.

    `waits_until`: a queued job does not start before: its site gets no requests until then, or
    it is tried again then. `code` and `fault` describe the error; for a queued job, the reason
    to wait. `duplicate`: the library had the video already.
    """

    id: int
    url: str
    site: str
    status: DownloadJob.Status
    cancel_requested: bool
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
    waits_until: datetime | None = None
    duplicate: bool
    options: dict[str, Any]
    requested_by: str
    made_at: datetime
    due_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    tool_version: str


class JobFilter(Paging):
    """All conditions must hold. `order`: the newest first, or the first to start."""

    order: Literal["newest", "due"] = "newest"
    over: bool | None = Field(None, description="Done, failed or cancelled; or not yet.")
    status: DownloadJob.Status | None = None
    site: Text = None
    batch: Id | None = None
    made_since: Annotated[Moment | None, FilterLookup("made_at__gte")] = None

    def filter_order(self, _: str) -> Q:
        return Q()

    def filter_over(self, over: bool) -> Q:
        ended = Q(status__in=DownloadJob.OVER)
        return ended if over else ~ended


class InfoQuery(RequestSchema):
    """`cap`: maximum entries of a list."""

    url: Url
    cap: int = Field(20, ge=1, le=preview.MAX_ENTRIES)


class Entry(Schema):
    """A video of a list."""

    id: str
    title: str
    page: str
    seconds: float | None


class Info(Entry):
    """The content of an address: a video, or a list (`playlist`) with its first entries."""

    playlist: bool
    extractor: str
    uploader: str
    licence: str
    heights: list[int] = Field(default_factory=list)
    subtitles: list[str] = Field(default_factory=list)
    count: int | None = None
    entries: list[Entry]


class SiteStatistics(Schema):
    """`success`: share of the finished downloads, from 0 to 1, without cancelled ones."""

    site: str
    done: int
    failed: int
    success: float | None


class Statistics(Schema):
    """Statistics of the last `days`. `bytes_per_second`: average from start to end."""

    days: int
    queued: int
    running: int
    done: int
    failed: int
    cancelled: int
    bytes: int
    mean_seconds: float | None
    sites: list[SiteStatistics]
