"""The runner's work with yt-dlp. Loaded by runner.py alone, after the limits are set.

Like runner.py it imports nothing of streamsite. yt-dlp's errors are passed on unchanged, and
`Stop` carries one of streamsite's codes.
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
#: Maximum characters of a title and of an error.
MAX_CHARS: Final = 500
#: Steps of this module, and a step that is over at once.
_SILENT_STEPS: Final = frozenset({"Gate", "Chosen", "MoveFiles"})
_LANGUAGE: Final = pattern(r"[A-Za-z0-9-]{2,35}")
#: Runs a script from stdin, without network and without files around it.
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
#: Extractors whose lists contain lists: a channel's videos, its shorts.
_OF_LISTS: Final = frozenset({"YoutubeTab", "YoutubePlaylist"})
#: Maximum depth of nested lists.
MAX_DEPTH: Final = 2
Send = Callable[..., None]


class Stop(DownloadCancelled):  # type: ignore[misc]  # the parent has no types
    """Ends the whole job: the only exception that yt-dlp never retries."""

    def __init__(self, code: str, what: str, *, begins: float | None = None) -> None:
        super().__init__(what)
        self.code_of_ours = code
        #: Seconds since 1970.
        self.begins = begins


class NoFFmpeg(external.FFmpegFD):  # type: ignore[misc]  # the parent has no types
    """Replaces FFmpeg as a downloader: it would open any address in a manifest, files too."""

    def real_download(self, _filename: str, info_dict: Mapping[str, Any]) -> bool:
        if info_dict.get("is_live"):
            raise Stop("live", "It is live.")
        raise Stop("drm", "Its encryption is not supported.")


class Bound(ffmpeg.Popen):  # type: ignore[misc]  # the parent has no types
    """Adds the allowed protocols and formats to ffprobe, which yt-dlp does only for FFmpeg."""

    #: Arguments that name protocols and formats.
    may_open: ClassVar[Sequence[str]] = ()

    def __init__(self, args: Sequence[str], *more: Any, **named: Any) -> None:
        if Path(args[0]).name == "ffprobe":
            args = [args[0], *self.may_open, *args[1:]]
        super().__init__(args, *more, **named)


class Bounded(yt_dlp.YoutubeDL):  # type: ignore[misc]  # the parent has no types
    """Checks all requests of yt-dlp, which pass through `urlopen`."""

    def urlopen(self, req: Any) -> Any:
        url = req if isinstance(req, str) else req.url
        if not url.lower().startswith(SCHEMES):
            raise Stop("refused", f"{_scheme(url)}: addresses")
        if not isinstance(req, str):
            # No extractor may choose another proxy.
            req.proxies = {}
            req.headers.pop("Ytdl-Request-Proxy", None)
        return super().urlopen(req)


class GatePP(PostProcessor):  # type: ignore[misc]  # the parent has no types
    """Checks the extracted video before a format is chosen."""

    def __init__(self, protocols: Sequence[str], send: Any) -> None:
        super().__init__()
        self._protocols = protocols
        self._send = send

    def run(self, info: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        for name, text in info.items():
            if isinstance(text, str):
                # FFmpeg's command line can't contain lone surrogates.
                info[name] = text.encode(errors="replace").decode()
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
        self._send.request("extracted", **_about(info))
        return [], info


class ChosenPP(PostProcessor):  # type: ignore[misc]  # the parent has no types
    """Reports the files to download, and their sizes."""

    def __init__(self, send: Any) -> None:
        super().__init__()
        self._send = send

    def run(self, info: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        passes = [
            {
                "format_id": str(part.get("format_id")),
                "size": part.get("filesize") or part.get("filesize_approx"),
                "picture": part.get("vcodec") not in {None, "none"},
            }
            for part in info.get("requested_formats") or [info]
        ]
        self._send.request("chosen", passes=passes)
        return [], info


def _scheme(url: str) -> str:
    return url.partition(":")[0][:20]


def _subtitles_of(subtitles: Mapping[str, Any]) -> dict[str, Any]:
    """Returns subtitles in supported formats; a language becomes part of a file name."""
    kept = {
        language: [entry for entry in formats if entry.get("ext") in _SUBTITLES]
        for language, formats in subtitles.items()
        if _LANGUAGE.fullmatch(language)
    }
    return {language: formats for language, formats in kept.items() if formats}


def usable(formats: Sequence[Any], protocols: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the formats that use HTTP: not rtmp, data: or file:."""
    kept = []
    for entry in formats:
        if not str(entry.get("url", "")).lower().startswith(SCHEMES):
            continue
        if entry.get("protocol", "https") not in protocols:
            continue
        if entry.get("protocol") == "m3u8":
            # yt-dlp's own downloader, whose requests all use the proxy.
            entry["protocol"] = "m3u8_native"
        kept.append(entry)
    return kept


class Hooks:
    """Turns yt-dlp's progress into messages."""

    def __init__(self, most_bytes: int, send: Any) -> None:
        self._most = most_bytes
        self._send = send

    def fetched(self, status: Mapping[str, Any]) -> None:
        done = status.get("downloaded_bytes") or 0
        total = status.get("total_bytes") or 0
        # An estimate from the first fragments is no reason to stop.
        if self._most and max(done, total) > self._most:
            raise Stop("too_large", f"{max(done, total) / 10**9:.1f} GB")
        finished = status.get("status") == "finished"
        (self._send if finished else self._send.now_and_then)(
            "progress",
            format_id=str((status.get("info_dict") or {}).get("format_id")),
            done=done,
            total=total or status.get("total_bytes_estimate"),
            sure=bool(total),
            fragment=status.get("fragment_index"),
            fragments=status.get("fragment_count"),
            speed=status.get("speed"),
            eta=status.get("eta"),
            finished=finished,
        )

    def processed(self, status: Mapping[str, Any]) -> None:
        step = str(status.get("postprocessor"))
        if status.get("status") == "started" and step not in _SILENT_STEPS:
            self._send("processing", step=step)


def run(job: Mapping[str, Any], send: Any, log: Any) -> None:
    """Runs the job and reports its result. Raises the errors that end it."""
    # No plugins, wherever they are installed.
    plugin_dirs.value = []
    all_plugins_loaded.value = True
    for module in (hls, dash, external, yt_dlp.downloader):
        module.FFmpegFD = NoFFmpeg
    ffmpeg.Popen = Bound
    if job["mode"] == "about":
        send("about", **_itself())
        return
    send("version", version=yt_dlp.version.__version__)
    base = {"logger": log, **job["parameters"]}
    if job["mode"] == "inspect":
        with Bounded(base) as ydl:
            info = ydl.extract_info(job["url"], download=False)
            entries = list(islice(_entries(ydl, info or {}), job["cap"]))
            send("inspected", **_inspected(info or {}, entries))
        return
    info = extracted_video(job, base, send)
    if job.get("subtitles"):
        _subtitles(job, info, send, log)
    got = (info.get("requested_downloads") or [{}])[0]
    send(
        "done",
        file=Path(str(got.get("filepath") or "")).name,
        format=str(info.get("format") or "")[:MAX_CHARS],
        warnings=log.warnings,
        **_about(info),
    )


def _itself() -> dict[str, str]:
    """Returns the versions of yt-dlp and of the deno that it would use, from a script."""
    deno = which("deno")
    runtime = ""
    if deno is not None:
        with suppress(OSError, SubprocessError):
            # Not --version: that works even if a sandbox kills the JavaScript engine.
            script = "console.log(`deno ${Deno.version.deno}`)"
            runtime = check_output((deno, *_DENO), input=script, text=True, timeout=20).strip()
    return {
        "version": yt_dlp.version.__version__,
        "python": python_version(),
        "runtime": runtime,
    }


def extracted_video(
    job: Mapping[str, Any], base: Mapping[str, Any], send: Any
) -> dict[str, Any]:
    Bound.may_open = base.get("postprocessor_args", {}).get("ffmpeg_i", ())
    hooks = Hooks(job["most_bytes"], send)
    parameters = {
        **base,
        "progress_hooks": [hooks.fetched],
        "postprocessor_hooks": [hooks.processed],
    }
    with Bounded(parameters) as ydl:
        ydl.add_post_processor(GatePP(job["protocols"], send), when="pre_process")
        ydl.add_post_processor(ChosenPP(send), when="before_dl")
        try:
            result = _one(ydl.extract_info(job["url"], download=False, process=False))
            # The address may lead to a list in a second step, which yt-dlp follows only here.
            info: dict[str, Any] = _one(ydl.process_ie_result(result, download=True))
        except YoutubeDLError as error:
            if pattern(job["upcoming"]).search(str(error).lower()):
                raise Stop("not_yet_live", str(error), begins=_begins(job, base)) from None
            raise
        return dict(ydl.sanitize_info(info))


def _begins(job: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    """Returns the announced start, if the site sends it: yt-dlp's error does not contain it."""
    with suppress(YoutubeDLError), Bounded({**base, "ignore_no_formats_error": True}) as ydl:
        info = ydl.extract_info(job["url"], download=False) or {}
        begins: float | None = info.get("release_timestamp")
        return begins
    return None


def _one(info: Any) -> Any:
    """Accepts one video only, never a whole channel by mistake."""
    if not info or info.get("_type") in _LISTS:
        raise Stop("playlist", "It is a playlist.")
    return info


def _subtitles(job: Mapping[str, Any], info: dict[str, Any], send: Send, log: Any) -> None:
    """Downloads subtitles in a separate pass: if it fails, the video is kept."""
    send("processing", step="Subtitles")
    try:
        with Bounded({"logger": log, **job["subtitles"]}) as ydl:
            ydl.process_ie_result(dict(info), download=True)
    except Exception as error:  # noqa: BLE001 - becomes a warning, and the video is kept
        log.warning(f"Subtitles could not be downloaded: {error}")  # noqa: G004 - no logging logger


def _about(info: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "extractor": str(info.get("extractor_key") or info.get("extractor") or "")[:64],
        "id": str(info.get("id") or "")[:255],
        "title": str(info.get("title") or "")[:MAX_CHARS],
        "uploader": str(info.get("uploader") or info.get("channel") or "")[:255],
        "seconds": info.get("duration"),
        "page": str(info.get("webpage_url") or "")[:2000],
        "licence": str(info.get("license") or "")[:255],
        "height": info.get("height"),
        "timestamp": info.get("release_timestamp") or info.get("timestamp"),
    }


def _entries(ydl: Any, info: Mapping[str, Any], *, depth: int = 0) -> Iterator[Any]:
    """Yields the videos of a list, and of lists in it, on demand."""
    for entry in info.get("entries") or ():
        if not entry:
            continue
        inner = entry
        if entry.get("ie_key") in _OF_LISTS and depth < MAX_DEPTH:
            inner = ydl.extract_info(entry["url"], download=False) or {}
        if inner.get("_type") in _LISTS:
            yield from _entries(ydl, inner, depth=depth + 1)
        else:
            yield entry


def _inspected(info: Mapping[str, Any], listed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the result of an inspection: entries of a list, formats of a video."""
    about = _about(info)
    if info.get("_type") not in _LISTS:
        heights = {entry.get("height") for entry in info.get("formats") or ()}
        languages = info.get("subtitles") or {}
        return {
            **about,
            "playlist": False,
            "live": str(info.get("live_status") or ""),
            "heights": sorted((height for height in heights if height), reverse=True),
            "subtitles": sorted(str(language) for language in languages),
            "entries": [],
        }
    entries = [
        {
            **_about(entry),
            "page": str(entry.get("webpage_url") or entry.get("url") or "")[:2000],
        }
        for entry in listed
    ]
    total = info.get("playlist_count")
    if total is not None and total < len(entries):
        # It is a list of lists.
        total = None
    return {**about, "playlist": True, "count": total, "entries": entries}
