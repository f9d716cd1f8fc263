"""What the runner does with yt-dlp. Loaded by runner.py alone, after the limits are set.

Like that it imports nothing of streamsite. yt-dlp's errors come out as they are, and `Stop`
carries a code of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from platform import python_version
from re import compile as pattern
from shutil import which
from subprocess import SubprocessError, check_output
from typing import Any, ClassVar, Final

import yt_dlp
from yt_dlp.downloader import dash, external, hls
from yt_dlp.globals import all_plugins_loaded, plugin_dirs
from yt_dlp.postprocessor import ffmpeg
from yt_dlp.postprocessor.common import PostProcessor
from yt_dlp.utils import DownloadCancelled, YoutubeDLError

SCHEMES: Final = ("http://", "https://")
#: Characters of a title, of an error.
LONGEST: Final = 500
#: Steps that are none of yt-dlp's own, or over at once.
_SILENT_STEPS: Final = frozenset({"Gate", "Chosen", "MoveFiles"})
_LANGUAGE: Final = pattern(r"[A-Za-z0-9-]{2,35}")
#: A script from its input, without network and without what lies around it.
_DENO: Final = (
    "run",
    "--ext=js",
    "--no-prompt",
    "--no-remote",
    "--no-lock",
    "--no-config",
    "-",
)
_SUBTITLES: Final = frozenset({"vtt", "srt"})
_LISTS: Final = frozenset({"playlist", "multi_video"})
#: Whose addresses in a list are lists: a channel's videos, its shorts.
_OF_LISTS: Final = frozenset({"YoutubeTab", "YoutubePlaylist"})
#: Lists in lists that are followed.
DEEPEST: Final = 2
Tell = Callable[..., None]


class Stop(DownloadCancelled):  # type: ignore[misc]
    """Ends the whole job: this alone passes all of yt-dlp's own patience."""

    def __init__(self, code: str, what: str, *, begins: float | None = None) -> None:
        super().__init__(what)
        self.code_of_ours = code
        #: Seconds since 1970.
        self.begins = begins


class NoFFmpeg(external.FFmpegFD):  # type: ignore[misc]
    """FFmpeg never goes to the network: it would open what a manifest names, files too."""

    def real_download(self, _filename: str, info_dict: Mapping[str, Any]) -> bool:
        if info_dict.get("is_live"):
            raise Stop("live", "It is live.")
        raise Stop("drm", "It is encrypted in a way that is not downloaded.")


class Bound(ffmpeg.Popen):  # type: ignore[misc]
    """yt-dlp hands FFmpeg what it may open, but not ffprobe, which looks into films before."""

    #: Arguments that name protocols and formats.
    may_open: ClassVar[Sequence[str]] = ()

    def __init__(self, args: Sequence[str], *more: Any, **named: Any) -> None:
        if Path(args[0]).name == "ffprobe":
            args = [args[0], *self.may_open, *args[1:]]
        super().__init__(args, *more, **named)


class Bounded(yt_dlp.YoutubeDL):  # type: ignore[misc]
    """All of yt-dlp's requests come through `urlopen`."""

    def urlopen(self, req: Any) -> Any:
        url = req if isinstance(req, str) else req.url
        if not url.lower().startswith(SCHEMES):
            raise Stop("refused", f"{_scheme(url)}: addresses")
        if not isinstance(req, str):
            # No extractor chooses another way out.
            req.proxies = {}
            req.headers.pop("Ytdl-Request-Proxy", None)
        return super().urlopen(req)


class GatePP(PostProcessor):  # type: ignore[misc]
    """Looks at what was found before anything is chosen."""

    def __init__(self, protocols: Sequence[str], tell: Any) -> None:
        super().__init__()
        self._protocols = protocols
        self._tell = tell

    def run(self, info: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        for name, said in info.items():
            if isinstance(said, str):
                # Lone halves of a character (surrogates) go into no command line of FFmpeg's.
                info[name] = said.encode(errors="replace").decode()
        begins = info.get("release_timestamp")
        if info.get("live_status") == "is_upcoming":
            raise Stop("not_yet_live", "It has not begun.", begins=begins)
        if info.get("is_live") or info.get("live_status") == "is_live":
            raise Stop("live", "It is live.", begins=begins)
        if info.get("formats"):
            info["formats"] = usable(info["formats"], self._protocols)
            if not info["formats"]:
                raise Stop("refused", "no http or https address")
        elif info.get("url") and not usable([info], self._protocols):
            raise Stop("refused", f"{_scheme(str(info['url']))}: addresses")
        for kind in ("subtitles", "automatic_captions"):
            info[kind] = _subtitles_of(info.get(kind) or {})
        self._tell.ask("found", **_about(info))
        return [], info


class ChosenPP(PostProcessor):  # type: ignore[misc]
    """Tells which files will be fetched, and how large they are."""

    def __init__(self, tell: Any) -> None:
        super().__init__()
        self._tell = tell

    def run(self, info: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        passes = [
            {
                "format_id": str(each.get("format_id")),
                "size": each.get("filesize") or each.get("filesize_approx"),
                "picture": each.get("vcodec") not in {None, "none"},
            }
            for each in info.get("requested_formats") or [info]
        ]
        self._tell.ask("chosen", passes=passes)
        return [], info


def _scheme(url: str) -> str:
    return url.partition(":")[0][:20]


def _subtitles_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Those in forms that are understood; a language becomes part of a file's name."""
    kept = {
        language: [each for each in formats if each.get("ext") in _SUBTITLES]
        for language, formats in found.items()
        if _LANGUAGE.fullmatch(language)
    }
    return {language: formats for language, formats in kept.items() if formats}


def usable(formats: Sequence[Any], protocols: Sequence[str]) -> list[dict[str, Any]]:
    """The formats whose bytes come over HTTP: neither rtmp, nor data:, nor file:."""
    kept = []
    for each in formats:
        if not str(each.get("url", "")).lower().startswith(SCHEMES):
            continue
        if each.get("protocol", "https") not in protocols:
            continue
        if each.get("protocol") == "m3u8":
            # yt-dlp's own downloader, whose requests all go through the proxy.
            each["protocol"] = "m3u8_native"
        kept.append(each)
    return kept


class Hooks:
    """What yt-dlp tells while it works, as messages."""

    def __init__(self, most_bytes: int, tell: Any) -> None:
        self._most = most_bytes
        self._tell = tell

    def fetched(self, status: Mapping[str, Any]) -> None:
        done = status.get("downloaded_bytes") or 0
        known = status.get("total_bytes") or 0
        # An estimate from the first fragments is no reason to stop.
        if self._most and max(done, known) > self._most:
            raise Stop("too_large", f"{max(done, known) / 10**9:.1f} GB")
        finished = status.get("status") == "finished"
        (self._tell if finished else self._tell.now_and_then)(
            "progress",
            format_id=str((status.get("info_dict") or {}).get("format_id")),
            done=done,
            total=known or status.get("total_bytes_estimate"),
            sure=bool(known),
            fragment=status.get("fragment_index"),
            fragments=status.get("fragment_count"),
            speed=status.get("speed"),
            eta=status.get("eta"),
            finished=finished,
        )

    def processed(self, status: Mapping[str, Any]) -> None:
        step = str(status.get("postprocessor"))
        if status.get("status") == "started" and step not in _SILENT_STEPS:
            self._tell("processing", step=step)


def run(job: Mapping[str, Any], tell: Any, log: Any) -> None:
    """Do the job; what comes of it is told. Raises whatever ends it before."""
    # No plugins, wherever they lie.
    plugin_dirs.value = []
    all_plugins_loaded.value = True
    for module in (hls, dash, external, yt_dlp.downloader):
        module.FFmpegFD = NoFFmpeg
    ffmpeg.Popen = Bound
    if job["mode"] == "about":
        tell("about", **_itself())
        return
    tell("version", version=yt_dlp.version.__version__)
    base = {"logger": log, **job["parameters"]}
    if job["mode"] == "look":
        with Bounded(base) as ydl:
            found = ydl.extract_info(job["url"], download=False)
            entries = list(islice(_entries(ydl, found or {}), job["cap"]))
            tell("looked", **_looked(found or {}, entries))
        return
    info = _film(job, base, tell)
    if job.get("subtitles"):
        _subtitles(job, info, tell, log)
    got = (info.get("requested_downloads") or [{}])[0]
    tell(
        "done",
        file=Path(str(got.get("filepath") or "")).name,
        format=str(info.get("format") or "")[:LONGEST],
        warnings=log.warnings,
        **_about(info),
    )


def _itself() -> dict[str, str]:
    """Which yt-dlp this is, and the deno that it would find, as a script run by that tells."""
    found = which("deno")
    runtime = ""
    if found is not None:
        with suppress(OSError, SubprocessError):
            # Not --version: that works where the engine itself is killed by a sandbox.
            script = "console.log(`deno ${Deno.version.deno}`)"
            runtime = check_output((found, *_DENO), input=script, text=True, timeout=20).strip()
    return {
        "version": yt_dlp.version.__version__,
        "python": python_version(),
        "runtime": runtime,
    }


def _film(job: Mapping[str, Any], base: Mapping[str, Any], tell: Any) -> dict[str, Any]:
    Bound.may_open = base.get("postprocessor_args", {}).get("ffmpeg_i", ())
    hooks = Hooks(job["most_bytes"], tell)
    parameters = {
        **base,
        "progress_hooks": [hooks.fetched],
        "postprocessor_hooks": [hooks.processed],
    }
    with Bounded(parameters) as ydl:
        ydl.add_post_processor(GatePP(job["protocols"], tell), when="pre_process")
        ydl.add_post_processor(ChosenPP(tell), when="before_dl")
        try:
            found = _one(ydl.extract_info(job["url"], download=False, process=False))
            # Behind a first address may be a list still: yt-dlp follows it only here.
            info: dict[str, Any] = _one(ydl.process_ie_result(found, download=True))
        except YoutubeDLError as error:
            if pattern(job["upcoming"]).search(str(error).lower()):
                raise Stop("not_yet_live", str(error), begins=_begins(job, base)) from None
            raise
        return dict(ydl.sanitize_info(info))


def _begins(job: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    """When it is announced for, if the site tells: yt-dlp's error alone does not hold it."""
    with suppress(YoutubeDLError), Bounded({**base, "ignore_no_formats_error": True}) as ydl:
        info = ydl.extract_info(job["url"], download=False) or {}
        begins: float | None = info.get("release_timestamp")
        return begins
    return None


def _one(info: Any) -> Any:
    """One video is asked for, never all of a channel by mistake."""
    if not info or info.get("_type") in _LISTS:
        raise Stop("playlist", "It is a playlist.")
    return info


def _subtitles(job: Mapping[str, Any], info: dict[str, Any], tell: Tell, log: Any) -> None:
    """A pass of its own: whatever becomes of it, the film is here."""
    tell("processing", step="Subtitles")
    try:
        with Bounded({"logger": log, **job["subtitles"]}) as ydl:
            ydl.process_ie_result(dict(info), download=True)
    except Exception as error:  # noqa: BLE001 - told as a warning, and the film goes on
        log.warning(f"Subtitles could not be had: {error}")  # noqa: G004 - no logging logger


def _about(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "extractor": str(info.get("extractor_key") or info.get("extractor") or "")[:64],
        "id": str(info.get("id") or "")[:255],
        "title": str(info.get("title") or "")[:LONGEST],
        "uploader": str(info.get("uploader") or info.get("channel") or "")[:255],
        "seconds": info.get("duration"),
        "page": str(info.get("webpage_url") or "")[:2000],
        "licence": str(info.get("license") or "")[:255],
        "height": info.get("height"),
        "timestamp": info.get("release_timestamp") or info.get("timestamp"),
    }


def _entries(ydl: Any, found: Mapping[str, Any], *, depth: int = 0) -> Iterator[Any]:
    """The videos of a list, and of lists in it; each as it is asked for."""
    for each in found.get("entries") or ():
        if not each:
            continue
        inner = each
        if each.get("ie_key") in _OF_LISTS and depth < DEEPEST:
            inner = ydl.extract_info(each["url"], download=False) or {}
        if inner.get("_type") in _LISTS:
            yield from _entries(ydl, inner, depth=depth + 1)
        else:
            yield each


def _looked(found: Mapping[str, Any], listed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a look tells: of a playlist its entries, of a video its formats."""
    about = _about(found)
    if found.get("_type") not in _LISTS:
        heights = {each.get("height") for each in found.get("formats") or ()}
        languages = found.get("subtitles") or {}
        return {
            **about,
            "playlist": False,
            "live": str(found.get("live_status") or ""),
            "heights": sorted((each for each in heights if each), reverse=True),
            "subtitles": sorted(str(each) for each in languages),
            "entries": [],
        }
    entries = [
        {**_about(each), "page": str(each.get("webpage_url") or each.get("url") or "")[:2000]}
        for each in listed
    ]
    total = found.get("playlist_count")
    if total is not None and total < len(entries):
        # It is a list of lists.
        total = None
    return {**about, "playlist": True, "count": total, "entries": entries}
