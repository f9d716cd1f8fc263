"""Preflight: checks whether a channel can go on air, with findings in sentences."""

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

#: A channel's HLS window at 50 Mbit/s takes 125 MB: with less free space it may not fit.
MIN_FREE_BYTES: Final = 150_000_000
#: Seconds for which a page reuses the storage's state, and for which it waits for a new one.
STORAGE_MAX_AGE_S: Final = 2.0
STORAGE_TIMEOUT_S: Final = 3.0


UNFIT_FFMPEG: Final = (
    f"This FFmpeg ({settings.FFMPEG_PATH}) accepts a stream key only where every user of the "
    "machine can read it. Set FFMPEG_PATH to FFmpeg 5, 6 or 7, such as Debian's."
)


NO_CERTIFICATES: Final = (
    "This machine has no CA certificates, so it can't verify any server. Run apt install "
    "ca-certificates."
)

MAKING_SAMPLES: Final = (
    "The sample clips are being made, which takes a minute or two. The Demo channel starts "
    "automatically when the first clip is ready."
)


def ffmpeg_hides_keys() -> bool | None:
    """Returns whether FFmpeg takes the key from a pipe. Tested once per build, in about 1 s."""
    return hides_keys(settings.FFMPEG_PATH, settings.DATA_DIR / "ffmpeg.json")


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault that a check has found. `sentence` says what is wrong and what to do."""

    check: str
    sentence: str
    stops_the_start: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check, good or bad. `stops`: a bad result prevents the start."""

    check: str
    ok: bool
    sentence: str
    stops: bool = True


#: The sentence of each check that found no fault.
WELL: Final = {
    "programme": "The playlist has playable items.",
    "outputs": "Every output has an address, and a stream key where it needs one.",
    "certificates": "Every encrypted connection verifies the server's certificate.",
    "ffmpeg": "FFmpeg is installed, and hides stream keys from other users.",
    "folders": "The disks have free space.",
}


def findings(channel: Channel) -> list[Finding]:
    """Returns all findings, those that prevent the start first."""
    results = [*local_findings(channel, attended=True), *storage_findings()]
    return sorted(results, key=lambda finding: not finding.stops_the_start)


def local_findings(channel: Channel, *, attended: bool) -> list[Finding]:
    """Returns the findings in the database and on this machine, without remote systems.

    `attended`: an incomplete output prevents the start, as a person can complete or disable it.
    Otherwise it does not: the other outputs must not wait.
    """
    outputs = list(_outputs(channel))
    if not attended and goes_somewhere(channel):
        outputs = [replace(finding, stops_the_start=False) for finding in outputs]
    return [*_programme(channel), *outputs, *_ffmpeg(channel), *folders()]


def checked(results: Iterable[Finding]) -> Iterator[Check]:
    """Yields the findings as checks, together with the checks without a fault.

    Those on the storage are left out: the node checks it.
    """
    faults: dict[str, list[Finding]] = {name: [] for name in WELL}
    for finding in results:
        if finding.check in faults:
            faults[finding.check].append(finding)
    for name, well in WELL.items():
        yield from (
            Check(name, ok=False, sentence=bad.sentence, stops=bad.stops_the_start)
            for bad in faults[name]
        )
        if not faults[name]:
            yield Check(name, ok=True, sentence=well)


def _programme(channel: Channel) -> Iterator[Finding]:
    """Yields faults of the base playlist. Playable blocks or filler make them harmless."""
    stops = not any(map(_plays, _other_lists(channel)))
    if channel.playlist is None:
        sentence = f"{channel.name} has no playlist. Choose one in its settings."
        yield Finding("programme", sentence, stops)
        return
    entries = channel.playlist.entries.aggregate(
        all=Count("pk"), faulty=Count("pk", filter=Q(item__status=MediaItem.Status.FAULT))
    )
    name = channel.playlist.name
    if not entries["all"] and being_made():
        yield Finding("programme", MAKING_SAMPLES, stops)
    elif not entries["all"]:
        yield Finding("programme", f"The playlist “{name}” is empty. Add items to it.", stops)
    elif entries["all"] == entries["faulty"]:
        yield Finding(
            "programme",
            f"No item of the playlist “{name}” can be played. The library shows the fault of "
            "each item.",
            stops,
        )
    elif entries["faulty"]:
        yield Finding(
            "programme",
            f"{entries['faulty']} of {entries['all']} entries of the playlist “{name}” can't "
            "be played and will be skipped. The library shows why.",
            stops_the_start=False,
        )


def _other_lists(channel: Channel) -> Iterator[Playlist]:
    yield from Playlist.objects.filter(blocks__channel=channel, blocks__enabled=True).distinct()
    if channel.filler is not None:
        yield channel.filler


def _plays(playlist: Playlist) -> bool:
    return playlist.entries.exclude(item__status=MediaItem.Status.FAULT).exists()


def goes_somewhere(channel: Channel) -> bool:
    """Returns whether an output is complete; without outputs, whether the preview is on."""
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
            f"{channel.name} has no destination. Enable an output or the preview in its "
            "settings.",
        )
    for output in enabled:
        yield from _output(output)


def _output(output: Output) -> Iterator[Finding]:
    preset = PLATFORMS[Platform(output.platform)]
    if preset.needs_key and not output.key:
        yield Finding(
            "outputs",
            f"Output “{output.name}” has no stream key. {preset.label} shows it on its live "
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
    """Returns warnings that also apply on air. It contacts no remote system."""
    return [finding for finding in _outputs(channel) if finding.check == "certificates"]


def unverified(output: Output) -> str:
    """Returns the warning about an output that does not verify certificates."""
    return (
        f"Output “{output.name}” does not verify the server's certificate: anyone on the "
        "network "
        "path can read the stream key. Switch “Verify the certificate” on."
    )


def _ffmpeg(channel: Channel) -> Iterator[Finding]:
    if shutil.which(settings.FFMPEG_PATH) is None:
        yield Finding(
            "ffmpeg",
            f"FFmpeg is missing ({settings.FFMPEG_PATH} was not found). Run apt install "
            "ffmpeg, or set FFMPEG_PATH.",
        )
        return
    enabled = channel.outputs.filter(enabled=True)
    if (
        any(output.key or output.secret_query for output in enabled)
        and ffmpeg_hides_keys() is False
    ):
        yield Finding("ffmpeg", UNFIT_FFMPEG)


def storage_findings() -> Iterator[Finding]:
    reading = state.state(fresh_s=STORAGE_MAX_AGE_S, wait_s=STORAGE_TIMEOUT_S)
    if reading is None:
        yield Finding("storage", state.UNKNOWN, stops_the_start=False)
    elif fault := reading.value:
        # With cached files and filler, a channel can run for a night without the storage.
        yield Finding("storage", fault, stops_the_start=not _fetched())
    elif fault := emptied():
        yield Finding("storage", fault, stops_the_start=False)


def _fetched() -> bool:
    """Returns whether files of the bucket are cached on this machine's disk."""
    folder: Path = settings.CACHE_DIR
    if settings.STORAGE_PROVIDER == "local" or not folder.is_dir():
        return False
    return any(path.suffix != ".part" for path in folder.iterdir())


def folders() -> Iterator[Finding]:
    """Yields faults of the working folders and their disks."""
    run_dir: Path = settings.RUN_DIR
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        yield Finding(
            "folders",
            f"{run_dir} can't be created ({error.strerror}). Set RUN_DIR to a folder of your "
            "own.",
        )
        return
    if not os.access(run_dir, os.W_OK | os.X_OK):
        yield Finding(
            "folders",
            f"{run_dir} can't be written to. Make the user that runs the playout its owner.",
        )
    for folder in (run_dir, settings.DATA_DIR):
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES:
            yield Finding(
                "folders",
                f"The disk of {folder} is nearly full ({free // 1_000_000} MB free). Free at "
                "least "
                f"{MIN_FREE_BYTES // 1_000_000} MB.",
            )
