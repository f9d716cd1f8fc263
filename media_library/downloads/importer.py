"""What was downloaded goes into the storage and becomes an item of the library."""

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
from django.db import InterfaceError, OperationalError, connections, transaction
from django.utils import timezone
from django.utils.text import slugify

from media_library import events, storage
from media_library.downloads import jobs
from media_library.downloads import subtitles as captions
from media_library.downloads.errors import (
    CancelledError,
    ClaimLostError,
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
from media_library.jobs.db_retry import insist
from media_library.location import LocalFile
from media_library.models import DownloadJob, MediaItem
from media_library.models.titles import LONGEST_TITLE
from media_library.storage import StorageError
from media_library.uploads import service

logger = logging.getLogger(__name__)

#: Where downloads lie in the storage.
HOME: Final = "downloads/"
#: Seconds between two words about the progress while the storage takes the file.
TELL: Final = 0.5
#: Kinds of pictures that are kept beside a film.
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
#: Bytes of subtitles that are read: ten hours of talk are one megabyte.
LONGEST_SUBTITLES: Final = 20_000_000

Tell = Callable[..., None]


@dataclass
class Outcome:
    """What the runner said it did."""

    #: The name of the file in the job's folder.
    file: str = ""
    got: str = ""
    warnings: list[str] = field(default_factory=list)
    #: Those that came, by language.
    subtitles: dict[str, list[Cue]] = field(default_factory=dict)


@dataclass
class _Put:
    """What of a job is in the storage by now, and the end that was ordered meanwhile."""

    keys: list[str] = field(default_factory=list)
    #: Bytes of the film.
    size: int = 0
    sent: int = 0
    ended: Exception | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def share(self) -> float:
        return min(1.0, self.sent / self.size) if self.size else 0.0

    def file(self, source: Path, key: str, *, consume: bool = False) -> None:
        """Raises `StorageError`, and what ended the job meanwhile."""
        self.check()
        self.keys.append(key)
        storage.upload(source, key, consume=consume, progress=self._piece)

    def check(self) -> None:
        if self.ended is not None:
            raise self.ended

    def take_back(self, since: int = 0) -> None:
        """Remove from the storage what was put there since the first so many files."""
        for key in self.keys[since:]:
            with suppress(StorageError):
                storage.delete(key)
        del self.keys[since:]

    def _piece(self, count: int) -> None:
        # Called by the transfer's threads: what is raised ends the transfer.
        self.check()
        with self._lock:
            self.sent += count


def short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def store(job: DownloadJob, outcome: Outcome, tell: Tell) -> MediaItem | None:
    """Verify, store, and make the item; None for sound alone, which no channel can play.

    `tell` is called about the progress, and raises what ends the job. Raises `GivenUpError`.
    Whatever else it raises, nothing of the job stays in the storage, unless the job is another
    worker's now or will be.
    """
    tell(DownloadJob.Status.STORING, percent=93, note="", speed=None, seconds_left=None)
    put = _Put()
    try:
        return _store(job, outcome, tell, put)
    except (ClaimLostError, OperationalError, InterfaceError):
        raise
    except StorageError as error:
        put.take_back()
        raise GivenUpError(verdict(Code.STORAGE, str(error))) from None
    except BaseException:
        put.take_back()
        raise


def _store(job: DownloadJob, outcome: Outcome, tell: Tell, put: _Put) -> MediaItem | None:
    options = Options.of(job.options)
    folder = jobs.folder_of(job)
    film = options.sound is Sound.NO
    with _telling(tell, put):
        source = _verified(folder, outcome, film=film)
        put.size = size = source.stat().st_size
        key = _key(job, source)
        put.file(source, key)
        kept = _whole(key, size)
        extras = _extras(folder, key, outcome, put)
    extras += _translations(folder, key, options.translate, outcome, put, tell)

    def finish() -> MediaItem | None:
        with transaction.atomic():
            item = _item(job, key, kept) if film else None
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

    return insist(f"download {job.pk}", finish)


def _verified(folder: Path, outcome: Outcome, *, film: bool) -> Path:
    """The file, if it is what was asked for: yt-dlp may end well without any."""
    source = folder / Path(outcome.file).name
    if not outcome.file or source.is_symlink() or not source.is_file():
        raise GivenUpError(verdict(Code.MEDIA, "yt-dlp ended without a file."))
    if not source.stat().st_size:
        raise GivenUpError(verdict(Code.MEDIA, "it is empty."))
    extension = source.suffix.lower().lstrip(".")
    known = settings.MEDIA_EXTENSIONS if film else [each.value for each in Sound if each]
    if extension not in known:
        raise GivenUpError(verdict(Code.MEDIA, f"the library takes no .{extension[:16]}."))
    try:
        if film:
            probe(LocalFile(source), ffprobe=settings.FFPROBE_PATH, patience=60)
        else:
            _heard(source)
    except NotReadableError as error:
        raise GivenUpError(verdict(Code.INTERNAL, str(error))) from None
    except (ProbeError, ToolError) as error:
        raise GivenUpError(verdict(Code.MEDIA, str(error))) from None
    return source


def _heard(source: Path) -> None:
    """Raises `ToolError` unless there is sound in it."""
    only = ("-protocol_whitelist", "file", "-format_whitelist", "mov,mp3,ogg,wav,flac,matroska")
    said = runner.run(
        (
            *(settings.FFPROBE_PATH, "-v", "error", *only, "-select_streams", "a"),
            *("-show_entries", "stream=codec_name", "-of", "json", f"file:{source}"),
        ),
        bounds=Bounds(60),
    )
    if not json.loads(said or "{}").get("streams"):
        raise ToolError("no sound was found in it.")


def _key(job: DownloadJob, source: Path) -> str:
    """Its name in the storage, this job's alone. Nothing of the site's is in it as it came."""
    held = DownloadJob.objects.values_list("key", flat=True).get(pk=job.pk)
    suffix = source.suffix.lower()
    if held.endswith(suffix) and held:
        # Reserved at an earlier try, whose worker died while it was stored.
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
    """Names whose subtitles and picture are nobody's either, whatever his film's form."""
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


@contextmanager
def _telling(tell: Tell, put: _Put) -> Iterator[None]:
    """Words about the progress from a thread; raises at the end what that raised."""
    done = threading.Event()

    def beat() -> None:
        try:
            while not done.wait(TELL):
                tell(percent=93 + int(6 * put.share))
        except (CancelledError, ClaimLostError, GivenUpError) as error:
            put.ended = error
        finally:
            connections.close_all()

    thread = threading.Thread(target=beat, name="storing")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    put.check()


def _item(job: DownloadJob, key: str, kept: storage.Facts) -> MediaItem:
    """A sync may have seen the file first: then it is that item."""
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
    # Looked into and prepared like any other.
    transaction.on_commit(enqueue.probe)
    return item


def forget(job: DownloadJob) -> None:
    """Of a job that nobody wants any more: what an earlier try stored, and its name there."""
    if not job.key:
        return
    with suppress(StorageError):
        storage.delete(job.key)
    service.release(job.key)


# ---- beside the film -------------------------------------------------------------------------


def _extras(folder: Path, key: str, outcome: Outcome, put: _Put) -> list[dict[str, str]]:
    """Subtitles and picture, stored beside the film; what can't be is told as a warning."""
    stem = key.rpartition(".")[0]
    extras = []
    for file in sorted(folder.glob("media*")):
        if file.is_symlink() or not file.is_file():
            continue
        suffix, language = file.suffix.lower(), file.stem.rpartition(".")[2]
        if suffix in PICTURES:
            with _beside(f"The picture ({suffix})", outcome, put):
                put.file(file, f"{stem}{suffix}")
                extras.append({"kind": "picture", "language": "", "key": f"{stem}{suffix}"})
        elif suffix in {".vtt", ".srt"}:
            with _beside(f"The subtitles ({language})", outcome, put):
                extras += list(_subtitles(file, f"{stem}.{language}", language, outcome, put))
    return extras


@contextmanager
def _beside(what: str, outcome: Outcome, put: _Put) -> Iterator[None]:
    """Whatever goes wrong with a by-product is a warning: the film is here, and stays."""
    before = len(put.keys)
    try:
        yield
    except (CancelledError, ClaimLostError, GivenUpError, OperationalError, InterfaceError):
        raise
    except StorageError as error:
        put.take_back(before)
        outcome.warnings.append(f"{what} could not be stored: {error}")
    except Exception as error:
        logger.exception("download: %s", what)
        put.take_back(before)
        outcome.warnings.append(f"{what} could not be read ({type(error).__name__}): left out.")


def _subtitles(
    file: Path, stem: str, language: str, outcome: Outcome, put: _Put
) -> Iterator[dict[str, str]]:
    if file.stat().st_size > LONGEST_SUBTITLES:
        outcome.warnings.append(f"The subtitles ({language}) are too long: they are left out.")
        return
    cues = captions.unrolled(captions.parse(file.read_text(errors="replace")))
    if not cues:
        outcome.warnings.append(f"The subtitles ({language}) are empty: they are left out.")
        return
    outcome.subtitles[language] = cues
    yield from _in_three_forms(cues, file.parent, stem, language, put)


def _in_three_forms(
    cues: Sequence[Cue], folder: Path, stem: str, language: str, put: _Put
) -> Iterator[dict[str, str]]:
    for form, write in (("srt", captions.srt), ("vtt", captions.vtt), ("txt", captions.txt)):
        made = folder / f"stored.{form}"
        made.write_text(write(cues))
        put.file(made, f"{stem}.{form}", consume=True)
        yield {"kind": form, "language": language, "key": f"{stem}.{form}"}


def _translations(
    folder: Path,
    key: str,
    wanted: Sequence[str],
    outcome: Outcome,
    put: _Put,
    tell: Tell,
) -> list[dict[str, str]]:
    """Subtitles in more languages; what can't be had is a warning."""
    made: list[dict[str, str]] = []
    for language in wanted:
        if language not in outcome.subtitles:
            with _beside(f"The subtitles translated into {language}", outcome, put):
                made += _translated(folder, key, language, outcome, put, tell)
    return made


def _translated(
    folder: Path, key: str, language: str, outcome: Outcome, put: _Put, tell: Tell
) -> list[dict[str, str]]:
    def pulse() -> None:
        tell(note=f"Translating the subtitles into {language}")

    server = Server(settings.LIBRETRANSLATE_URL, settings.LIBRETRANSLATE_KEY)
    source, cues = next(iter(outcome.subtitles.items()), ("", []))
    why = ""
    if not server.url:
        # It was taken away since the order.
        why = "no server is set (LIBRETRANSLATE_URL)."
    elif not cues:
        why = "none came that could be translated."
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
        each | {"translated_from": source}
        for each in _in_three_forms(cues, folder, stem, language, put)
    ]
