"""Stores a downloaded file in the storage and makes it an item of the library."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from media_library import events, storage
from media_library.downloads import jobs
from media_library.downloads import subtitles as captions
from media_library.downloads.errors import (
    CancelledError,
    Code,
    GivenUpError,
    verdict,
)
from media_library.downloads.options import Options, Sound
from media_library.downloads.subtitles import Cue
from media_library.downloads.translation import Server, TranslateError
from media_library.ffmpeg import runner
from media_library.ffmpeg.probe import NotReadableError, ProbeError, probe
from media_library.ffmpeg.runner import Bounds, ToolError
from media_library.jobs import enqueue
from media_library.location import LocalFile
from media_library.models import DownloadJob, MediaItem
from media_library.models.titles import LONGEST_TITLE
from media_library.storage import StorageError
from media_library.uploads import service
from streamsite.processes.claims import (
    DATABASE_ERRORS,
    Background,
    ClaimLostError,
    retry_write,
)

logger = logging.getLogger(__name__)

#: Prefix of downloads in the storage.
HOME: Final = "downloads/"
#: Seconds between two reports of the progress while the file is uploaded.
PROGRESS_INTERVAL_S: Final = 0.5
#: Suffixes of pictures that are kept beside a video.
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
#: Maximum bytes of subtitles: ten hours of speech are one megabyte.
MAX_SUBTITLE_BYTES: Final = 20_000_000

Report = Callable[..., None]


@dataclass
class Outcome:
    """The runner's result."""

    #: The name of the file in the job's folder.
    file: str = ""
    got: str = ""
    warnings: list[str] = field(default_factory=list)
    #: Downloaded subtitles by language.
    subtitles: dict[str, list[Cue]] = field(default_factory=dict)


class Uploads(Background):
    """Objects of a job on their way into the storage; reports the progress meanwhile."""

    def __init__(self, report: Report) -> None:
        super().__init__(self._report_share, PROGRESS_INTERVAL_S)
        self.keys: list[str] = []
        #: Bytes of the video.
        self.size = 0
        self._report = report
        self._sent = 0
        self._lock = threading.Lock()

    def file(self, source: Path, key: str, *, consume: bool = False) -> None:
        """Uploads a file. Raises `StorageError`, and an error that ends the job."""
        self.check()
        self.keys.append(key)
        storage.upload(source, key, consume=consume, progress=self._piece)

    def take_back(self, since: int = 0) -> None:
        """Removes the uploaded objects from the storage, except for the first `since`."""
        for key in self.keys[since:]:
            with suppress(StorageError):
                storage.delete(key)
        del self.keys[since:]

    def _piece(self, count: int) -> None:
        # Called by the transfer's threads: an exception ends the transfer.
        self.check()
        with self._lock:
            self._sent += count

    def _report_share(self) -> None:
        share = min(1.0, self._sent / self.size) if self.size else 0.0
        self._report(percent=93 + int(6 * share))


def short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def store(job: DownloadJob, outcome: Outcome, report: Report) -> MediaItem | None:
    """Verifies, stores and creates the item; None for audio only, which no channel can play.

    `report` is called with the progress, and raises errors that end the job. Raises
    `GivenUpError`. After any other error nothing of the job stays in the storage, unless
    another worker has the job, or will have it.
    """
    report(DownloadJob.Status.STORING, percent=93, note="", speed=None, seconds_left=None)
    uploads = Uploads(report)
    try:
        return _store(job, outcome, report, uploads)
    except (ClaimLostError, *DATABASE_ERRORS):
        raise
    except StorageError as error:
        uploads.take_back()
        raise GivenUpError(verdict(Code.STORAGE, str(error))) from None
    except BaseException:
        uploads.take_back()
        raise


def _store(
    job: DownloadJob, outcome: Outcome, report: Report, uploads: Uploads
) -> MediaItem | None:
    options = Options.of(job.options)
    folder = jobs.folder_of(job)
    video = options.sound is Sound.NO
    with uploads:
        source = _verified(folder, outcome, video=video)
        uploads.size = size = source.stat().st_size
        key = _key(job, source)
        uploads.file(source, key)
        kept = _whole(key, size)
        extras = _extras(folder, key, outcome, uploads)
    extras += _translations(folder, key, options.translate, outcome, uploads, report)

    def finish() -> MediaItem | None:
        with transaction.atomic():
            item = item_of(job, key, kept) if video else None
            done = jobs.mine(job).update(
                **jobs.released(
                    status=DownloadJob.Status.DONE,
                    percent=100,
                    ended_at=timezone.now(),
                    key=key,
                    size_bytes=size,
                    bytes_done=size,
                    got=outcome.got,
                    extras=extras,
                    warnings=outcome.warnings,
                    item=item,
                    code="",
                    fault="",
                )
            )
            if not done:
                raise ClaimLostError
            service.release(key)
            events.download(job.pk)
        return item

    return retry_write(f"download {job.pk}", finish)


def _verified(folder: Path, outcome: Outcome, *, video: bool) -> Path:
    """Returns the file if it is as requested: yt-dlp may succeed without any."""
    source = folder / Path(outcome.file).name
    if not outcome.file or source.is_symlink() or not source.is_file():
        raise GivenUpError(verdict(Code.MEDIA, "yt-dlp ended without a file."))
    if not source.stat().st_size:
        raise GivenUpError(verdict(Code.MEDIA, "it is empty."))
    extension = source.suffix.lower().lstrip(".")
    allowed = settings.MEDIA_EXTENSIONS if video else [sound.value for sound in Sound if sound]
    if extension not in allowed:
        raise GivenUpError(
            verdict(Code.MEDIA, f"the library does not accept .{extension[:16]}.")
        )
    try:
        if video:
            probe(LocalFile(source), ffprobe=settings.FFPROBE_PATH, timeout_s=60)
        else:
            _require_audio(source)
    except NotReadableError as error:
        raise GivenUpError(verdict(Code.INTERNAL, str(error))) from None
    except (ProbeError, ToolError) as error:
        raise GivenUpError(verdict(Code.MEDIA, str(error))) from None
    return source


def _require_audio(source: Path) -> None:
    """Raises `ToolError` unless the file has an audio stream."""
    only = ("-protocol_whitelist", "file", "-format_whitelist", "mov,mp3,ogg,wav,flac,matroska")
    output = runner.run(
        (
            *(settings.FFPROBE_PATH, "-v", "error", *only, "-select_streams", "a"),
            *("-show_entries", "stream=codec_name", "-of", "json", f"file:{source}"),
        ),
        bounds=Bounds(60),
    )
    if not json.loads(output or "{}").get("streams"):
        raise ToolError("no sound was found in it.")


def _key(job: DownloadJob, source: Path) -> str:
    """Returns the job's key in the storage. The site's texts are never used unchanged."""
    held = DownloadJob.objects.values_list("key", flat=True).get(pk=job.pk)
    suffix = source.suffix.lower()
    if held.endswith(suffix) and held:
        # Reserved in an earlier try, whose worker died during the upload.
        return held
    service.release(held)
    site = slugify(job.site.replace(".", "-"))[:60] or "site"
    stem = slugify(job.title)[:100].strip("-") or "video"
    key = service.reserve(_names(f"{HOME}{site}/{stem}", suffix))
    if not jobs.mine(job).update(key=key):
        service.release(key)
        raise ClaimLostError
    return key


def _names(stem: str, suffix: str) -> Iterator[str]:
    """Yields names whose subtitles and picture are free too, whatever the container."""
    for number in count(1):
        name = f"{stem}-{number}" if number > 1 else stem
        if not DownloadJob.objects.filter(key__startswith=f"{name}.").exists():
            yield f"{name}{suffix}"


def _whole(key: str, size: int) -> storage.Facts:
    kept = storage.facts(key)
    if kept.size_bytes != size:
        storage.delete(key)
        raise StorageError(f"The storage kept {kept.size_bytes:,} of {size:,} bytes.")
    return kept


def item_of(job: DownloadJob, key: str, kept: storage.Facts) -> MediaItem:
    """Creates the item, or updates the one that a sync created for the file."""
    rights = "\n".join(filter(None, (job.rights, job.licence and f"Licence: {job.licence}")))
    about = {
        "title": (job.title or Path(key).stem)[:LONGEST_TITLE],
        "source": (job.shown_page or job.shown_url)[:500],
        "rights": rights,
    }
    item, made = MediaItem.objects.get_or_create(
        key=key, defaults={**about, "size_bytes": kept.size_bytes, "etag": kept.etag}
    )
    if not made:
        MediaItem.objects.filter(pk=item.pk).update(**about)
    # Inspected and prepared like any other item.
    transaction.on_commit(enqueue.probe)
    return item


def forget(job: DownloadJob) -> None:
    """Removes the objects and reservation of a job that was cancelled."""
    if not job.key:
        return
    with suppress(StorageError):
        storage.delete(job.key)
    service.release(job.key)


# ---- beside the video ------------------------------------------------------------------------


def _extras(folder: Path, key: str, outcome: Outcome, uploads: Uploads) -> list[dict[str, str]]:
    """Stores subtitles and picture beside the video; an error becomes a warning."""
    stem = key.rpartition(".")[0]
    extras = []
    for file in sorted(folder.glob("media*")):
        if file.is_symlink() or not file.is_file():
            continue
        suffix, language = file.suffix.lower(), file.stem.rpartition(".")[2]
        if suffix in PICTURES:
            with _beside(f"The picture ({suffix})", outcome, uploads):
                uploads.file(file, f"{stem}{suffix}")
                extras.append({"kind": "picture", "language": "", "key": f"{stem}{suffix}"})
        elif suffix in {".vtt", ".srt"}:
            with _beside(f"The subtitles ({language})", outcome, uploads):
                extras += list(
                    _subtitles(file, f"{stem}.{language}", language, outcome, uploads)
                )
    return extras


@contextmanager
def _beside(what: str, outcome: Outcome, uploads: Uploads) -> Iterator[None]:
    """Turns errors of a by-product into warnings: the video is stored anyway."""
    before = len(uploads.keys)
    try:
        yield
    except (CancelledError, ClaimLostError, GivenUpError, *DATABASE_ERRORS):
        raise
    except StorageError as error:
        uploads.take_back(before)
        outcome.warnings.append(f"{what} could not be stored: {error}")
    except Exception as error:
        logger.exception("download: %s", what)
        uploads.take_back(before)
        outcome.warnings.append(f"{what} could not be read ({type(error).__name__}): skipped.")


def _subtitles(
    file: Path, stem: str, language: str, outcome: Outcome, uploads: Uploads
) -> Iterator[dict[str, str]]:
    if file.stat().st_size > MAX_SUBTITLE_BYTES:
        outcome.warnings.append(f"The subtitles ({language}) are too long: they are skipped.")
        return
    cues = captions.unrolled(captions.parse(file.read_text(errors="replace")))
    if not cues:
        outcome.warnings.append(f"The subtitles ({language}) are empty: they are skipped.")
        return
    outcome.subtitles[language] = cues
    yield from _in_three_forms(cues, file.parent, stem, language, uploads)


def _in_three_forms(
    cues: Sequence[Cue], folder: Path, stem: str, language: str, uploads: Uploads
) -> Iterator[dict[str, str]]:
    for form, write in (("srt", captions.srt), ("vtt", captions.vtt), ("txt", captions.txt)):
        made = folder / f"stored.{form}"
        made.write_text(write(cues))
        uploads.file(made, f"{stem}.{form}", consume=True)
        yield {"kind": form, "language": language, "key": f"{stem}.{form}"}


def _translations(
    folder: Path,
    key: str,
    languages: Sequence[str],
    outcome: Outcome,
    uploads: Uploads,
    report: Report,
) -> list[dict[str, str]]:
    """Translates subtitles into more languages; an error becomes a warning."""
    extras: list[dict[str, str]] = []
    for language in languages:
        if language not in outcome.subtitles:
            with _beside(f"The subtitles translated into {language}", outcome, uploads):
                extras += _translated(folder, key, language, outcome, uploads, report)
    return extras


def _translated(
    folder: Path, key: str, language: str, outcome: Outcome, uploads: Uploads, report: Report
) -> list[dict[str, str]]:
    def pulse() -> None:
        report(note=f"Translating the subtitles into {language}")

    server = Server(settings.LIBRETRANSLATE_URL, settings.LIBRETRANSLATE_KEY)
    source, cues = next(iter(outcome.subtitles.items()), ("", []))
    why = ""
    if not server.url:
        # The setting was removed after the order.
        why = "no server is set (LIBRETRANSLATE_URL)."
    elif not cues:
        why = "there are none to translate."
    else:
        try:
            cues = server.translate(cues, source, language, pulse)
        except TranslateError as error:
            why = str(error)
    if why:
        outcome.warnings.append(f"No subtitles in {language}: {why}")
        return []
    stem = f"{key.rpartition('.')[0]}.{language}"
    return [
        extra | {"translated_from": source}
        for extra in _in_three_forms(cues, folder, stem, language, uploads)
    ]
