"""One try at a job: the proxy, the runner, what that says, and what of it is in the row."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from media_library.downloads import cookies, importer, jobs, quota, ytdlp_versions
from media_library.downloads.errors import (
    UPCOMING,
    CancelledError,
    ClaimLostError,
    Code,
    GivenUpError,
    Verdict,
    classify,
    plain,
    planned,
    verdict,
)
from media_library.downloads.options import (
    PROTOCOLS,
    Options,
    Place,
    Sound,
    parameters,
    subtitle_parameters,
)
from media_library.downloads.process import QUESTIONS, Runner, RunnerError, limits
from media_library.downloads.progress import Pass, Whole, share_of
from media_library.downloads.proxy import Proxy
from media_library.jobs.db_retry import SignsOfLife
from media_library.models import DownloadJob
from streamsite.security.ssrf import Rules, own_addresses

Status = DownloadJob.Status

#: Seconds between two looks at the order, which may be to cancel.
LOOK: Final = 0.2
#: Seconds between two writes of the progress, and between two signs of life without any.
WRITE: Final = 0.5
BEAT: Final = 5.0
#: Touched as long as the downloads' cluster works.
CANARY: Final = "downloads.alive"
#: Seconds after which people are told that no data comes.
QUIET: Final = 10.0
#: What the row's columns hold; a site may say any number.
_MOST_SECONDS: Final = 2**31 - 1
_MOST_BYTES: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: to look at the page, without a byte, and for all of it."""

    looking: float = 180.0
    silent: float = 300.0
    whole: float = 12 * 3600.0


class DuplicateError(Exception):
    """The library has it already, or another job is at it (`done` is None)."""

    def __init__(self, done: DownloadJob | None) -> None:
        super().__init__("It is there already.")
        self.done = done


def sing() -> None:
    """Show that the downloads' cluster works."""
    settings.RUN_DIR.mkdir(parents=True, exist_ok=True)
    (settings.RUN_DIR / CANARY).touch()


def _done(job: DownloadJob, extractor: str, video: str) -> DownloadJob | None:
    """An earlier job that brought the same, if that is in the library still and is enough."""
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
    """What is known of a running job; `told` is called by whoever works at it."""

    job: DownloadJob
    patience: Patience
    whole: Whole = field(default_factory=Whole)
    outcome: importer.Outcome = field(default_factory=importer.Outcome)
    status: DownloadJob.Status = Status.EXTRACTING
    #: What is new and not written yet: it waits for a database that is away.
    _row: dict[str, Any] = field(default_factory=dict)
    _written: float = 0.0
    _retry: str = ""
    _quiet: bool = False
    #: When something of the film came last, monotonic.
    _moved: float = 0.0
    #: Bytes that room is kept for; and of each pass what the site said.
    _kept: int = 0
    _sizes: dict[str, int] = field(default_factory=dict)
    _end: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._signs = SignsOfLife(f"download {self.job.pk}")

    @property
    def folder(self) -> Path:
        return jobs.folder_of(self.job)

    # ---- the runner --------------------------------------------------------------------------

    def download(self) -> None:
        """Bring the film into the job's folder. Raises what ends the job."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        quota.demand(self.job)
        options = Options.of(self.job.options)
        most = settings.DOWNLOAD_MAX_GB * 10**9
        rules = Rules(
            frozenset(settings.DOWNLOAD_PORTS),
            settings.DOWNLOAD_NETWORKS,
            own_addresses(settings.ALLOWED_HOSTS),
        )
        with (
            # Both passes, and something for pages.
            Proxy(rules, most_bytes=2 * most) as proxy,
            cookies.lent(self.job.site, self.folder) as have_cookies,
        ):
            place = Place(
                folder=str(self.folder),
                proxy=proxy.url.reveal(),
                ffmpeg=shutil.which(settings.FFMPEG_PATH) or settings.FFMPEG_PATH,
                any_site=self.job.any_site,
                cookies=have_cookies,
            )
            order = {
                "mode": "download",
                "url": self.job.url,
                "folder": str(self.folder),
                "limits": limits(most),
                "most_bytes": most,
                "protocols": PROTOCOLS,
                "upcoming": UPCOMING,
                "parameters": parameters(options, place),
                "subtitles": subtitle_parameters(options, place),
            }
            with Runner(order, folder=self.folder, python=ytdlp_versions.python()) as runner:
                self._row["session"] = runner.pid
                self._listen(runner, proxy)
        if self._end.get("kind") != "done":
            raise GivenUpError(self._verdict(proxy.seen.refused))

    def _listen(self, runner: Runner, proxy: Proxy) -> None:
        began = time.monotonic()
        while True:
            ended = runner.ended
            for message in runner.messages(0.0 if ended else LOOK):
                self._hear(message)
                if message["kind"] in QUESTIONS:
                    # It waited: nothing is fetched that is here, or that there is no room for.
                    runner.go_on()
            if ended:
                return
            try:
                self._judge(began, proxy)
                self.told()
            except (CancelledError, GivenUpError, DuplicateError):
                runner.end()
                raise

    def _judge(self, began: float, proxy: Proxy) -> None:
        """Raises what ends the job before its time."""
        now = time.monotonic()
        silent = now - max(proxy.seen.last_byte, began)
        if self.status is Status.EXTRACTING and now - began > self.patience.looking:
            raise GivenUpError(
                verdict(Code.TOO_LONG, f"{self.patience.looking:.0f} s at the page")
            )
        if now - began > self.patience.whole:
            raise GivenUpError(
                verdict(Code.TOO_LONG, f"{self.patience.whole / 3600:.0f} hours")
            )
        if self.status is Status.DOWNLOADING:
            self._judge_silence(silent)
            # Bytes come, and nothing of the film: a list that never ends.
            if now - self._moved > self.patience.silent:
                said = f"{self.patience.silent:.0f} s without any of the film"
                raise GivenUpError(verdict(Code.TOO_LONG, said))
        most = settings.DOWNLOAD_MAX_GB * 10**9
        if proxy.seen.bytes_down > 2 * most:
            raise GivenUpError(verdict(Code.TOO_LARGE, f"more than {most:,} bytes"))
        if proxy.seen.bytes_down > self._kept + quota.SLACK:
            # The site told no size, or too small a one.
            come = proxy.seen.bytes_down
            self._keep(min(come + quota.STEP, most), come=come)

    def _judge_silence(self, seconds: float) -> None:
        if seconds > self.patience.silent:
            raise GivenUpError(verdict(Code.STALLED))
        if seconds > QUIET:
            note = f"No data for {seconds:.0f} s{self._retry}."
            self._row |= {"note": note, "speed": 0, "seconds_left": None}
            self._quiet = True
        elif self._quiet:
            self._row["note"] = ""
            self._quiet = False

    # ---- what it says ------------------------------------------------------------------------

    def _hear(self, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "version":
                self._row["tool_version"] = str(message["version"])[:32]
            case "found":
                self._found(message)
            case "chosen":
                self._chosen(message["passes"])
            case "progress":
                self._progress(message)
            case "retry":
                self._retry = f", try {message['number'] + 1} of {message['of'] + 1}"
            case "processing":
                self._row |= {
                    "percent": self.whole.processed(),
                    "note": _STEPS.get(message["step"], message["step"][:60]),
                    "speed": None,
                    "seconds_left": None,
                }
                self._move_on(Status.PROCESSING)
            case "done" | "failed" | "cancelled":
                self._end = message
                self.outcome.warnings = [plain(each) for each in message.get("warnings", ())]
                self.outcome.file = str(message.get("file") or "")
                self.outcome.got = str(message.get("format") or "")[:500]
            case _:
                raise RunnerError(f"It says {message['kind'][:20]!r}, which is not known.")

    def _found(self, message: dict[str, Any]) -> None:
        """It is known which video it is: perhaps it is here already."""
        video = message["id"]
        if message["extractor"] == "Generic":
            # There an id is no more than a file's name: the address tells videos apart.
            video = f"{video[:200]}-{importer.short(self.job.url)}"
        said: dict[str, Any] = {
            "extractor": message["extractor"],
            "title": message["title"],
            "uploader": message["uploader"],
            "page": message["page"] or self.job.url,
            "licence": message["licence"],
            "seconds": message["seconds"],
        }
        if not jobs.mine(self.job).update(**said):
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
        sizes = [_whole(each["size"], _MOST_BYTES) for each in passes]
        self.whole.planned(
            [
                Pass(each["format_id"], size, each["picture"])
                for each, size in zip(passes, sizes, strict=True)
            ]
        )
        total = sum(each or 0 for each in sizes) if all(sizes) else None
        if total:
            self._keep(total)
        self._row |= {"bytes_total": total, "percent": self.whole.percent}
        self._moved = time.monotonic()
        self._move_on(Status.DOWNLOADING)

    def _keep(self, count: int, *, come: int = 0) -> None:
        """Have room for so many bytes, `come` of which are here. Raises `GivenUpError`."""
        if (why := quota.reserve(self.job, count, come=come)) is not None:
            raise GivenUpError(why)
        self._kept = count

    def _progress(self, message: dict[str, Any]) -> None:
        self._moved = time.monotonic()
        done = _whole(message["done"], _MOST_BYTES) or 0
        total = _whole(message["total"], _MOST_BYTES)
        share = 1.0
        if not message["finished"]:
            share = share_of(done, total, message["fragment"], message["fragments"])
        if total and message["sure"]:
            # Of a plain file the size is known only when its first bytes come.
            self._sizes[message["format_id"]] = total
            if (whole := sum(self._sizes.values())) > self._kept:
                self._keep(whole)
        percent = self.whole.fetched(message["format_id"], share)
        self._row |= {
            "percent": percent,
            "bytes_done": done,
            "speed": _whole(message["speed"], _MOST_BYTES),
            "seconds_left": _whole(message["eta"], _MOST_SECONDS),
        }
        if total and not self._row.get("bytes_total"):
            self._row["bytes_total"] = total

    def _verdict(self, refused: str) -> Verdict:
        """Why there is no film. The runner's own code goes before what its words mean."""
        end = self._end
        if not end:
            return verdict(Code.INTERNAL, "yt-dlp ended without a word")
        if end["kind"] == "cancelled":
            return verdict(Code.INTERNAL, "yt-dlp was ended by somebody else")
        if end["code"] in {Code.LATER, Code.LIVE}:
            most = timedelta(days=settings.DOWNLOAD_WAIT_DAYS)
            return planned(Code(end["code"]), _moment(end["begins"]), timezone.now(), most=most)
        if end["code"]:
            return verdict(Code(end["code"]), plain(end["text"]))
        if end["type"] == "MemoryError":
            return verdict(Code.TOO_LARGE, "the page needs more memory than a job may take")
        warnings = tuple(str(each) for each in end["warnings"])
        more = f"{end['type']}: {end['said']}"
        return classify(end["text"], more=more, refused=refused, warnings=warnings)

    # ---- the row -----------------------------------------------------------------------------

    def _move_on(self, status: DownloadJob.Status) -> None:
        if status is not self.status:
            self.status = status
            # It is told at once.
            self._written = 0.0

    def told(self, status: DownloadJob.Status | None = None, **row: Any) -> None:
        """Write what is new, not too often. Raises `CancelledError`, `ClaimLostError`."""
        self._row |= row
        if status is not None:
            self._move_on(status)
        self._signs.give(self._tell)

    def _tell(self) -> None:
        order = jobs.mine(self.job).values_list("cancel_asked", flat=True).first()
        if order is None:
            raise ClaimLostError
        if order:
            raise CancelledError
        since = time.monotonic() - self._written
        if since > (WRITE if self._row else BEAT):
            self._write()

    def _write(self) -> None:
        quota.watch()
        self._written = time.monotonic()
        if not jobs.mine(self.job).update(
            status=self.status, heard_at=timezone.now(), **self._row
        ):
            raise ClaimLostError
        self._row = {}
        sing()


def _moment(seconds: float | None) -> datetime | None:
    """In the installation's time zone; None for what is no date, as a page may well hold."""
    if seconds is None:
        return None
    try:
        return timezone.localtime(datetime.fromtimestamp(seconds, UTC))
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def _whole(number: float | None, most: int) -> int | None:
    return None if number is None else max(0, min(int(number), most))


#: What yt-dlp's steps are to an operator.
_STEPS: Final = {
    "Merger": "Putting picture and sound together",
    "VideoRemuxer": "Putting it into the form that was asked for",
    "ExtractAudio": "Taking the sound out",
    "Metadata": "Writing title and chapters into it",
    "FixupM3u8": "Mending what the site sent",
    "Subtitles": "Fetching subtitles",
}
