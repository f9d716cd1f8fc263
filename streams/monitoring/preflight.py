"""What a channel lacks before it can go on air, in sentences."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.db.models import Count, Q

from media_library.conform.sample_clips import being_made
from media_library.models import MediaItem, Playlist
from media_library.storage import state
from media_library.sync.empty_guard import emptied
from streams.outputs.platforms import PLATFORMS, Platform
from streams.playout.ffmpeg.capability import hides_keys
from streamsite.security import tls

if TYPE_CHECKING:
    from streams.models import Channel, Output

#: Bytes. A channel's HLS window at 50 Mbit/s is 125 MB: below this it may not fit.
LEAST_FREE: Final = 150_000_000
#: Seconds: a page shows a storage's state again for so long, and waits for a newer one.
STORAGE_FRESH: Final = 2.0
STORAGE_WAIT: Final = 3.0


UNFIT_FFMPEG: Final = (
    f"This FFmpeg ({settings.FFMPEG_PATH}) ignores the stream key unless it stands where "
    "everybody can read it: set FFMPEG_PATH to FFmpeg 5, 6 or 7, such as Debian's."
)


NO_CERTIFICATES: Final = (
    "This machine knows no authority that signs certificates, so no server can prove who it "
    "is: type apt install ca-certificates."
)

MAKING_SAMPLES: Final = (
    "The sample clips are being made, which takes a minute or two: the Demo channel starts by "
    "itself when the first is ready."
)


def ffmpeg_hides_keys() -> bool | None:
    """Whether FFmpeg takes the key from a pipe: tried once per build, in a second."""
    return hides_keys(settings.FFMPEG_PATH, settings.DATA_DIR / "ffmpeg.json")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's bad result. `sentence` says what is wrong and what to do."""

    check: str
    sentence: str
    stops_the_start: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """One check's result, well or not, in a sentence. `stops`: nothing starts without it."""

    check: str
    ok: bool
    sentence: str
    stops: bool = True


#: What is said of a check that found nothing wrong.
WELL: Final = {
    "programme": "The playlist has something to play.",
    "outputs": "Every output has an address, and a stream key where it needs one.",
    "certificates": "Every encrypted connection verifies the server's certificate.",
    "ffmpeg": "FFmpeg is there, and takes stream keys where nobody can read them.",
    "folders": "The disks have room.",
}


def findings(channel: Channel) -> list[Finding]:
    """Everything that is wrong, what stops the start first."""
    found = [*local_findings(channel, attended=True), *_storage()]
    return sorted(found, key=lambda finding: not finding.stops_the_start)


def local_findings(channel: Channel, *, attended: bool) -> list[Finding]:
    """What is wrong in the rows and on this machine: nothing is asked that may be away.

    `attended`: a person at the button is asked to complete an output, or to disable it. Where
    nobody is, the others must not wait for that.
    """
    outputs = list(_outputs(channel))
    if not attended and goes_somewhere(channel):
        outputs = [replace(finding, stops_the_start=False) for finding in outputs]
    return [*_programme(channel), *outputs, *_ffmpeg(channel), *folders()]


def checked(found: Iterable[Finding]) -> Iterator[Check]:
    """Findings as checks, with those that went well."""
    faults: dict[str, list[Finding]] = {name: [] for name in WELL}
    for finding in found:
        faults[finding.check].append(finding)
    for name, well in WELL.items():
        yield from (
            Check(name, ok=False, sentence=bad.sentence, stops=bad.stops_the_start)
            for bad in faults[name]
        )
        if not faults[name]:
            yield Check(name, ok=True, sentence=well)


def _programme(channel: Channel) -> Iterator[Finding]:
    """With blocks or filler to play, a base playlist that gives nothing stops no start."""
    stops = not any(map(_plays, _other_lists(channel)))
    if channel.playlist is None:
        said = f"{channel.name} has no playlist: choose one in its settings."
        yield Finding("programme", said, stops)
        return
    entries = channel.playlist.entries.aggregate(
        all=Count("pk"), faulty=Count("pk", filter=Q(item__status=MediaItem.Status.FAULT))
    )
    name = channel.playlist.name
    if not entries["all"] and being_made():
        yield Finding("programme", MAKING_SAMPLES, stops)
    elif not entries["all"]:
        yield Finding("programme", f"The playlist “{name}” is empty: add items to it.", stops)
    elif entries["all"] == entries["faulty"]:
        yield Finding(
            "programme",
            f"Nothing in the playlist “{name}” can be played: the library says of each item "
            "what is wrong with it.",
            stops,
        )
    elif entries["faulty"]:
        yield Finding(
            "programme",
            f"{entries['faulty']} of {entries['all']} entries of the playlist “{name}” can't "
            "be played and will be skipped: the library says why.",
            stops_the_start=False,
        )


def _other_lists(channel: Channel) -> Iterator[Playlist]:
    yield from Playlist.objects.filter(blocks__channel=channel, blocks__enabled=True).distinct()
    if channel.filler is not None:
        yield channel.filler


def _plays(playlist: Playlist) -> bool:
    return playlist.entries.exclude(item__status=MediaItem.Status.FAULT).exists()


def goes_somewhere(channel: Channel) -> bool:
    """Whether one of its outputs lacks nothing; of a channel without any: the preview."""
    enabled = list(channel.outputs.filter(enabled=True))
    complete = [
        output
        for output in enabled
        if not any(finding.stops_the_start for finding in _output(output))
    ]
    return bool(complete or (channel.preview and not enabled))


def _outputs(channel: Channel) -> Iterator[Finding]:
    enabled = list(channel.outputs.filter(enabled=True))
    if not enabled and not channel.preview:
        yield Finding(
            "outputs",
            f"{channel.name} goes nowhere: enable an output, or the preview, in its settings.",
        )
    for output in enabled:
        yield from _output(output)


def _output(output: Output) -> Iterator[Finding]:
    preset = PLATFORMS[Platform(output.platform)]
    if preset.needs_key and not output.key:
        yield Finding(
            "outputs",
            f"Output “{output.name}” has no stream key: {preset.label} shows it on its live "
            "page. Enter it, or disable the output.",
        )
    for _, fault in output.faults:
        if fault:
            yield Finding("outputs", f"Output “{output.name}”: {fault}")
    if output.unverified:
        yield Finding("certificates", unverified(output), stops_the_start=False)
    elif output.encrypted and not tls.are_there():
        yield Finding("certificates", f"Output “{output.name}”: {NO_CERTIFICATES}")


def standing(channel: Channel) -> list[Finding]:
    """What stays worth knowing while it is on air. Nothing is asked that may be away."""
    return [finding for finding in _outputs(channel) if finding.check == "certificates"]


def unverified(output: Output) -> str:
    """The warning about an output that trusts whatever answers."""
    return (
        f"Output “{output.name}” does not verify the server's certificate: whoever stands "
        "between can read the stream key. Switch “Verify the certificate” on."
    )


def _ffmpeg(channel: Channel) -> Iterator[Finding]:
    if shutil.which(settings.FFMPEG_PATH) is None:
        yield Finding(
            "ffmpeg",
            f"FFmpeg is missing ({settings.FFMPEG_PATH} was not found): type apt install "
            "ffmpeg, or set FFMPEG_PATH.",
        )
        return
    enabled = channel.outputs.filter(enabled=True)
    if (
        any(output.key or output.secret_query for output in enabled)
        and ffmpeg_hides_keys() is False
    ):
        yield Finding("ffmpeg", UNFIT_FFMPEG)


def _storage() -> Iterator[Finding]:
    found = state.state(fresh_s=STORAGE_FRESH, wait_s=STORAGE_WAIT)
    if found is None:
        yield Finding("storage", state.UNKNOWN, stops_the_start=False)
    elif fault := found.value:
        # With what was fetched before, and filler, a channel goes through a night without it.
        yield Finding("storage", fault, stops_the_start=not _fetched())
    elif fault := emptied():
        yield Finding("storage", fault, stops_the_start=False)


def _fetched() -> bool:
    """Whether anything of a bucket lies on this machine's disk."""
    folder: Path = settings.CACHE_DIR
    if settings.STORAGE_PROVIDER == "local" or not folder.is_dir():
        return False
    return any(path.suffix != ".part" for path in folder.iterdir())


def folders() -> Iterator[Finding]:
    """What is wrong with the folders in which channels work, and with their disks."""
    run_dir: Path = settings.RUN_DIR
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        yield Finding(
            "folders",
            f"{run_dir} can't be made ({error.strerror}): set RUN_DIR to a folder of yours.",
        )
        return
    if not os.access(run_dir, os.W_OK | os.X_OK):
        yield Finding(
            "folders",
            f"{run_dir} can't be written to: give it to the user that runs the playout.",
        )
    for folder in (run_dir, settings.DATA_DIR):
        free = shutil.disk_usage(folder).free
        if free < LEAST_FREE:
            yield Finding(
                "folders",
                f"The disk of {folder} is nearly full ({free // 1_000_000} MB free): make room "
                f"until {LEAST_FREE // 1_000_000} MB are free.",
            )
