"""One try at a job: the proxy, the runner, its messages, and the job's row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from media_library.downloads import importer, jobs, quota, ytdlp_versions
from media_library.downloads.alive import touch_alive_file
from media_library.downloads.errors import (
    CancelledError,
    Code,
    GivenUpError,
    Verdict,
    of_end,
    plain,
    planned,
    verdict,
)
from media_library.downloads.options import (
    Options,
    Place,
    Sound,
    parameters,
    subtitle_parameters,
)
from media_library.downloads.process import QUESTIONS, Runner, RunnerError, behind_proxy
from media_library.downloads.progress import Pass, Whole, share_of
from media_library.downloads.proxy import Seen
from media_library.models import DownloadJob
from streamsite.processes.claims import ClaimLostError, Heartbeat
from streamsite.security.ssrf import Rules, own_addresses

Status = DownloadJob.Status

#: Seconds between two checks of the runner, and between two writes of the progress, which also
#: detect that the job was cancelled.
POLL_INTERVAL_S: Final = 0.2
PROGRESS_INTERVAL_S: Final = 0.5
#: Seconds without data after which the job's note says so.
QUIET_NOTICE_S: Final = 10.0
#: Maximum values of the row's columns; a site may send any number.
_MAX_SECONDS: Final = 2**31 - 1
_MAX_BYTES: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for extracting the page, without a byte, and in total."""

    extract_s: float = 180.0
    silent_s: float = 300.0
    total_s: float = 12 * 3600.0


class DuplicateError(Exception):
    """The library has the video already, or another job downloads it (`done` is None)."""

    def __init__(self, done: DownloadJob | None) -> None:
        super().__init__("The video exists already.")
        self.done = done


def _done(job: DownloadJob, extractor: str, video: str) -> DownloadJob | None:
    """Returns an earlier job with the same video, if the library still has it."""
    if job.again:
        return None
    done = DownloadJob.objects.filter(
        status=Status.DONE, extractor=extractor, video_id=video, profile=job.profile
    ).exclude(pk=job.pk)
    if Options.of(job.options).sound is Sound.NO:
        done = done.filter(item__isnull=False, item__missing_since=None)
    return done.first()


@dataclass
class Attempt:
    """The state of a running job; the worker calls `report`."""

    job: DownloadJob
    timeouts: Timeouts
    whole: Whole = field(default_factory=Whole)
    outcome: importer.Outcome = field(default_factory=importer.Outcome)
    status: DownloadJob.Status = Status.EXTRACTING
    _retry: str = ""
    _quiet: bool = False
    #: Time of the last video data, monotonic.
    _moved: float = 0.0
    #: Bytes reserved, and the size of each pass according to the site.
    _reserved: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)
    _end: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mine = jobs.mine(self.job).filter(cancel_requested=False)
        self._heartbeat = Heartbeat(mine, f"download {self.job.pk}", PROGRESS_INTERVAL_S)

    @property
    def folder(self) -> Path:
        return jobs.folder_of(self.job)

    # ---- the runner --------------------------------------------------------------------------

    def download(self) -> None:
        """Downloads the video into the job's folder. Raises errors that end the job."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        quota.demand(self.job)
        options = Options.of(self.job.options)
        rules = Rules(
            frozenset(settings.DOWNLOAD_PORTS),
            settings.DOWNLOAD_NETWORKS,
            own_addresses(settings.ALLOWED_HOSTS),
        )

        def order(place: Place) -> dict[str, Any]:
            return {
                "mode": "download",
                "url": self.job.url,
                "parameters": parameters(options, place),
                "subtitles": subtitle_parameters(options, place),
            }

        with behind_proxy(
            order,
            self.folder,
            ytdlp_versions.python(),
            rules,
            site=self.job.site,
            any_site=self.job.any_site,
            max_bytes=settings.DOWNLOAD_MAX_GB * 10**9,
        ) as (runner, seen):
            self._row["session"] = runner.pid
            self._listen(runner, seen)
        if self._end.get("kind") != "done":
            raise GivenUpError(self._verdict(seen.refused))

    def _listen(self, runner: Runner, seen: Seen) -> None:
        began = time.monotonic()
        while True:
            ended = runner.ended
            for message in runner.messages(0.0 if ended else POLL_INTERVAL_S):
                self._handle(message)
                if message["kind"] in QUESTIONS:
                    # The runner waits: nothing is downloaded that exists already or doesn't
                    # fit.
                    runner.go_on()
            if ended:
                return
            try:
                self._judge(began, seen)
                self.report()
            except (CancelledError, GivenUpError, DuplicateError):
                runner.end()
                raise

    def _judge(self, began: float, seen: Seen) -> None:
        """Raises an error if the job has to end early."""
        now = time.monotonic()
        silent = now - max(seen.last_byte, began)
        if self.status is Status.EXTRACTING and now - began > self.timeouts.extract_s:
            raise GivenUpError(
                verdict(Code.TOO_LONG, f"{self.timeouts.extract_s:.0f} s at the page")
            )
        if now - began > self.timeouts.total_s:
            raise GivenUpError(
                verdict(Code.TOO_LONG, f"{self.timeouts.total_s / 3600:.0f} hours")
            )
        if self.status is Status.DOWNLOADING:
            self._judge_silence(silent)
            # Bytes arrive, but no video data: an endless list.
            if now - self._moved > self.timeouts.silent_s:
                reason = f"{self.timeouts.silent_s:.0f} s without any video data"
                raise GivenUpError(verdict(Code.TOO_LONG, reason))
        max_bytes = settings.DOWNLOAD_MAX_GB * 10**9
        if seen.bytes_down > 2 * max_bytes:
            raise GivenUpError(verdict(Code.TOO_LARGE, f"more than {max_bytes:,} bytes"))
        if seen.bytes_down > self._reserved + quota.SLACK_BYTES:
            # The site sent no size, or one that is too small.
            received = seen.bytes_down
            self._reserve(
                min(received + quota.RESERVE_STEP_BYTES, max_bytes), received=received
            )

    def _judge_silence(self, seconds: float) -> None:
        if seconds > self.timeouts.silent_s:
            raise GivenUpError(verdict(Code.STALLED))
        if seconds > QUIET_NOTICE_S:
            note = f"No data for {seconds:.0f} s{self._retry}."
            self._row.update(note=note, speed=0, seconds_left=None)
            self._quiet = True
        elif self._quiet:
            self._row["note"] = ""
            self._quiet = False

    # ---- the runner's messages ---------------------------------------------------------------

    def _handle(self, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "version":
                self._row["tool_version"] = str(message["version"])[:32]
            case "extracted":
                self._extracted(message)
            case "chosen":
                self._chosen(message["passes"])
            case "progress":
                self._progress(message)
            case "retry":
                self._retry = f", try {message['number'] + 1} of {message['of'] + 1}"
            case "processing":
                self._row.update(
                    percent=self.whole.processed(),
                    note=_STEPS.get(message["step"], message["step"][:60]),
                    speed=None,
                    seconds_left=None,
                )
                self._move_on(Status.PROCESSING)
            case "done" | "failed" | "cancelled":
                self._end = message
                self.outcome.warnings = [
                    plain(warning) for warning in message.get("warnings", ())
                ]
                self.outcome.file = str(message.get("file") or "")
                self.outcome.got = str(message.get("format") or "")[:500]
            case _:
                raise RunnerError(f"Unknown message {message['kind'][:20]!r}.")

    def _extracted(self, message: dict[str, Any]) -> None:
        """Stores the metadata; raises `DuplicateError` if the library has the video already."""
        video = message["id"]
        if message["extractor"] == "Generic":
            # The generic extractor's id is only a file name: the URL distinguishes videos.
            video = f"{video[:200]}-{importer.short(self.job.url)}"
        metadata: dict[str, Any] = {
            "extractor": message["extractor"],
            "title": message["title"],
            "uploader": message["uploader"],
            "page": message["page"] or self.job.url,
            "licence": message["licence"],
            "seconds": message["seconds"],
        }
        if not jobs.mine(self.job).update(**metadata):
            raise ClaimLostError
        if (done := _done(self.job, message["extractor"], video)) is not None:
            raise DuplicateError(done)
        try:
            with transaction.atomic():
                jobs.mine(self.job).update(video_id=video)
        except IntegrityError:
            raise DuplicateError(None) from None
        self.job.refresh_from_db()

    def _chosen(self, passes: Sequence[dict[str, Any]]) -> None:
        sizes = [_whole(item["size"], _MAX_BYTES) for item in passes]
        self.whole.planned(
            [
                Pass(item["format_id"], size, item["picture"])
                for item, size in zip(passes, sizes, strict=True)
            ]
        )
        total = sum(size or 0 for size in sizes) if all(sizes) else None
        if total:
            self._reserve(total)
        self._row.update(bytes_total=total, percent=self.whole.percent)
        self._moved = time.monotonic()
        self._move_on(Status.DOWNLOADING)

    def _reserve(self, count: int, *, received: int = 0) -> None:
        """Reserves space for `count` bytes, `come` of which are here. Raises `GivenUpError`."""
        if (why := quota.reserve(self.job, count, received=received)) is not None:
            raise GivenUpError(why)
        self._reserved = count

    def _progress(self, message: dict[str, Any]) -> None:
        self._moved = time.monotonic()
        done = _whole(message["done"], _MAX_BYTES) or 0
        total = _whole(message["total"], _MAX_BYTES)
        share = 1.0
        if not message["finished"]:
            share = share_of(done, total, message["fragment"], message["fragments"])
        if total and message["sure"]:
            # The size of a plain file is known only when its first bytes arrive.
            self._sizes[message["format_id"]] = total
            if (whole := sum(self._sizes.values())) > self._reserved:
                self._reserve(whole)
        percent = self.whole.fetched(message["format_id"], share)
        self._row.update(
            percent=percent,
            bytes_done=done,
            speed=_whole(message["speed"], _MAX_BYTES),
            seconds_left=_whole(message["eta"], _MAX_SECONDS),
        )
        if total and not self._row.get("bytes_total"):
            self._row["bytes_total"] = total

    def _verdict(self, refused: str) -> Verdict:
        """Returns why there is no video."""
        end = self._end
        if end.get("code") in {Code.LATER, Code.LIVE}:
            max_wait = timedelta(days=settings.DOWNLOAD_WAIT_DAYS)
            return planned(
                Code(end["code"]), local_moment(end["begins"]), timezone.now(), most=max_wait
            )
        return of_end(end, refused)

    # ---- the row -----------------------------------------------------------------------------

    @property
    def _row(self) -> dict[str, Any]:
        """Changes not written yet: they wait while the database is unavailable."""
        return self._heartbeat.columns

    def _move_on(self, status: DownloadJob.Status) -> None:
        if status is not self.status:
            self.status = self._row["status"] = status
            self._heartbeat.hasten()

    def report(self, status: DownloadJob.Status | None = None, **row: Any) -> None:
        """Writes `row` at once, other changes not too often.

        Raises `CancelledError`, `ClaimLostError`.
        """
        self._row.update(row)
        if row:
            self._heartbeat.hasten()
        if status is not None:
            self._move_on(status)
        try:
            if self._heartbeat.send():
                quota.watch()
                touch_alive_file()
        except ClaimLostError:
            if jobs.mine(self.job).exists():
                raise CancelledError from None
            raise


def local_moment(seconds: float | None) -> datetime | None:
    """Converts to the installation's time zone; None for invalid dates from a page."""
    if seconds is None:
        return None
    try:
        return timezone.localtime(datetime.fromtimestamp(seconds, UTC))
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _whole(number: float | None, maximum: int) -> int | None:
    return None if number is None else max(0, min(int(number), maximum))


#: yt-dlp's steps, in an operator's words.
_STEPS: Final = {
    "Merger": "Merging video and audio",
    "VideoRemuxer": "Converting to the requested container",
    "ExtractAudio": "Extracting the audio",
    "Metadata": "Writing title and chapters into the file",
    "FixupM3u8": "Repairing the site's stream",
    "Subtitles": "Downloading subtitles",
}
