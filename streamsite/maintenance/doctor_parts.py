"""The parts of the doctor's report: what checks, preflight and health know, and the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import django
import psutil
from django.conf import settings
from django.core import checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from streams.models import Channel
from streams.monitoring import components, preflight
from streams.monitoring.preflight import Finding
from streams.monitoring.report import report as air_report
from streams.node.preflight_runner import in_the_world
from streams.playout.contract.picture import Segment
from streams.playout.ffmpeg.air_probe import AirDecoder, DecoderError
from streams.playout.node.witness import ALIVE_FILE
from streamsite import __version__
from streamsite.config.checks import ffmpeg_version
from streamsite.maintenance import scheduled_backups
from streamsite.maintenance.doctor import Line, Part, Verdict

#: Seconds for a program that shows what it is.
TOOL_TIMEOUT_S: Final = 10.0
#: What FFmpeg must be able to do, by the option that lists it: encode what is prepared, measure
#: loudness, drop priming packets, and send.
NEEDED: Final = {
    "-encoders": ("libx264", "aac", "mjpeg", "png"),
    "-filters": ("ebur128", "alimiter", "scale", "overlay"),
    "-bsfs": ("noise", "extract_extradata", "setts"),
    "-muxers": ("flv", "hls", "mpegts", "mp4"),
    "-protocols": ("rtmp", "rtmps", "https", "srt"),
}
#: Shares of a disk and of memory that should be free.
MIN_FREE_DISK: Final = 0.05
MIN_FREE_MEMORY: Final = 0.1
#: Seconds between the machine's clock and the database's.
MAX_CLOCK_DIFFERENCE_S: Final = 2.0
#: Seconds of silence of a cluster: one touches its file each minute at least.
MAX_SILENCE_S: Final = 180.0
#: Components whose failure takes channels off the air.
GRAVE: Final = components.VITAL | {"disk", "ffmpeg"}


def ok(sentence: str) -> Line:
    return Line(Verdict.OK, sentence)


def warning(sentence: str) -> Line:
    return Line(Verdict.WARNING, sentence)


def fault(sentence: str) -> Line:
    return Line(Verdict.FAULT, sentence)


# ---- versions and the machine ----------------------------------------------------------------


def versions(_now: datetime) -> Iterator[Line]:
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    yield ok(
        f"streamsite {__version__}, Python {platform.python_version()}, "
        f"Django {django.get_version()}, {system}, {platform.machine()}."
    )


def ffmpeg(_now: datetime) -> Iterator[Line]:
    version = ffmpeg_version(settings.FFMPEG_PATH)
    if version is None:
        yield fault(f"{settings.FFMPEG_PATH} can't be run.")
        return
    missing = [
        name
        for option, names in NEEDED.items()
        for name in names
        if name not in _listed_by_ffmpeg(option)
    ]
    if missing and missing != ["srt"]:
        yield fault(f"FFmpeg {version[0]} lacks {', '.join(missing)}: install Debian's.")
    elif missing:
        yield warning(f"FFmpeg {version[0]} lacks srt: outputs to srt:// can't be sent.")
    else:
        yield ok(f"FFmpeg {version[0]} has all encoders, filters and protocols it needs.")


def _listed_by_ffmpeg(option: str) -> set[str]:
    done = subprocess.run(
        [settings.FFMPEG_PATH, "-hide_banner", option],
        capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, stdin=subprocess.DEVNULL,
        check=True,
    )  # fmt: skip
    return {name for word in done.stdout.split() for name in word.split(",")}


def air(_now: datetime) -> Iterator[Line]:
    """Whether the air of channels can be looked at: its decoder is a program of its own."""
    with closing(AirDecoder()) as decoder:
        try:
            # There is no such segment: the answer counts.
            decoder.inspect([Segment(Path("none.ts"), 0.0, 0.0)])
        except DecoderError as error:
            yield warning(
                f"{error} What viewers see is unknown: install requirements.txt again."
            )
        else:
            yield ok("Picture and sound of channels can be looked at.")


def database(_now: datetime) -> Iterator[Line]:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sqlite_version()")
            (version,) = cursor.fetchone()
            size = Path(settings.DATABASES["default"]["NAME"]).stat().st_size
            yield ok(f"SQLite {version}, {size / 1e6:.1f} MB.")
        else:
            before = time.time()
            cursor.execute(
                "SELECT current_setting('server_version'), "
                "pg_database_size(current_database()), extract(epoch from clock_timestamp())"
            )
            version, size, there = cursor.fetchone()
            yield ok(f"PostgreSQL {version}, {size / 1e6:.1f} MB.")
            difference = abs(float(there) - (before + time.time()) / 2)
            if difference > MAX_CLOCK_DIFFERENCE_S:
                yield fault(
                    f"This machine's clock and the database's differ by {difference:.1f} s: "
                    "set both by NTP."
                )
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        yield fault(f"{len(plan)} migrations are missing: type manage.py migrate.")


def broker(_now: datetime) -> Iterator[Line]:
    if not settings.Q_BROKER_URL:
        yield ok("The queue is in the database.")
        return
    # Only here: it opens the broker.
    from django_q.brokers import get_broker  # noqa: PLC0415 - see above

    yield ok(f"The queue is in {get_broker().info()}.")


def memory(_now: datetime) -> Iterator[Line]:
    ram = psutil.virtual_memory()
    swap = psutil.swap_memory()
    own = sum(_pss(process) for process in psutil.process_iter() if _is_ours(process))
    sentence = (
        f"{ram.available / 1e6:,.0f} of {ram.total / 1e6:,.0f} MB are available; "
        f"{own / 1e6:,.0f} MB are used by streamsite's user; swap {swap.percent:.0f} %."
    )
    low = ram.available < MIN_FREE_MEMORY * ram.total
    yield warning(sentence) if low else ok(sentence)
    load = os.getloadavg()
    cores = os.cpu_count() or 1
    busy = f"{cores} cores, load {load[0]:.1f} (1 min), {load[2]:.1f} (15 min)."
    yield warning(busy) if load[2] > 2 * cores else ok(busy)


def _is_ours(process: psutil.Process) -> bool:
    try:
        return bool(process.uids().real == os.getuid())
    except psutil.Error:
        return False


def _pss(process: psutil.Process) -> int:
    """Bytes, with what is shared divided among those that share it."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def disks(_now: datetime) -> Iterator[Line]:
    folders: dict[int, Path] = {}
    for folder in (
        settings.DATA_DIR,
        settings.RUN_DIR,
        settings.CACHE_DIR,
        *((settings.MEDIA_ROOT,) if settings.STORAGE_PROVIDER == "local" else ()),
    ):
        if folder.is_dir():
            folders.setdefault(folder.stat().st_dev, folder)
    for folder in folders.values():
        usage = shutil.disk_usage(folder)
        sentence = f"{folder}: {usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB are free."
        low = usage.free < MIN_FREE_DISK * usage.total
        yield warning(sentence) if low else ok(sentence)
    yield from (fault(finding.sentence) for finding in preflight.folders())


def clock(now: datetime) -> Iterator[Line]:
    zone = timezone.localtime(now)
    shown = f"{zone:%Y-%m-%d %H:%M:%S %Z} ({settings.TIME_ZONE})"
    try:
        done = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"],
            capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, stdin=subprocess.DEVNULL,
            check=True,
        )  # fmt: skip
        state = done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        state = ""
    if state == "no":
        yield warning(
            f"{shown}. The clock is not set by NTP: apt-get install systemd-timesyncd."
        )
    else:
        yield ok(f"{shown}. " + ("Set by NTP." if state else "Whether NTP sets it is unknown."))


# ---- the program -----------------------------------------------------------------------------


def settings_checks(_now: datetime) -> Iterator[Line]:
    """What `check --deploy` finds."""
    messages = checks.run_checks(include_deployment_checks=True)
    for message in messages:
        if message.is_silenced():
            continue
        sentence = " ".join(filter(None, (message.msg, message.hint)))
        kind = fault if message.level >= checks.ERROR else warning
        yield kind(f"{sentence} ({message.id})")
    if not messages:
        yield ok("check --deploy finds nothing.")


def clusters(_now: datetime) -> Iterator[Line]:
    for name in ("playout", "jobs", "downloads"):
        file = settings.RUN_DIR / (ALIVE_FILE if name == "playout" else f"{name}.alive")
        try:
            age = time.time() - file.stat().st_mtime
        except FileNotFoundError:
            # Another node may do the jobs.
            kind = fault if name == "playout" else warning
            yield kind(f"The cluster {name} does not run on this machine.")
            continue
        sentence = f"The cluster {name} worked {age:.0f} s ago."
        yield fault(sentence) if age > MAX_SILENCE_S else ok(sentence)


def backups(now: datetime) -> Iterator[Line]:
    if not settings.BACKUP_TO:
        yield warning("No backup is made by itself: set BACKUP_TO and BACKUP_PASSPHRASE.")
    for place in settings.BACKUP_TO:
        last = scheduled_backups.newest(place)
        if last is None:
            yield warning(f"There is no backup in the {place} yet.")
            continue
        sentence = f"The last backup in the {place} is of {last:%Y-%m-%d %H:%M} UTC."
        late = now - last > 2 * timedelta(hours=settings.BACKUP_HOURS)
        yield warning(sentence) if late else ok(sentence)


def health(now: datetime) -> Iterator[Line]:
    """What /health/detailed says."""
    for part in components.detailed(now).parts:
        kind = ok if part.ok else fault if part.name in GRAVE else warning
        yield kind(f"{part.name}: {part.sentence}")


def channels(now: datetime) -> Iterator[Line]:
    """What is on air, and the preflight of every channel."""
    reports = {channel.slug: channel for channel in air_report(now).channels}
    for channel in Channel.objects.select_related("state"):
        if (air := reports.get(channel.slug)) is not None:
            kind = ok if air.well else fault if air.down else warning
            cause = f": {air.cause}" if air.cause else "."
            yield kind(f"{channel.slug}: ordered {air.desired_state}, {air.label}{cause}")
        ordered = channel.desired_state == Channel.DesiredState.ON
        for finding in preflight.local_findings(channel, attended=False):
            yield _finding(channel, finding, ordered=ordered)
    if not reports:
        yield ok("There is no channel.")


def _finding(channel: Channel, finding: Finding, *, ordered: bool) -> Line:
    kind = fault if ordered and finding.stops_the_start else warning
    return kind(f"{channel.slug}: {finding.sentence}")


def destinations(now: datetime) -> Iterator[Line]:
    """The checks that reach out: slate, storage, next items, destinations."""
    well = 0
    for channel in Channel.objects.select_related("state"):
        for check in in_the_world(channel, now):
            well += check.ok
            if not check.ok:
                yield warning(f"{channel.slug}: {check.sentence}")
    yield ok(f"{well} checks of slates, next items and destinations passed.")


PARTS: Final[tuple[Part, ...]] = (
    Part("versions", versions, of_rows=False),
    Part("ffmpeg", ffmpeg, of_rows=False),
    Part("air", air, of_rows=False),
    Part("database", database, of_rows=False),
    Part("broker", broker, of_rows=False),
    Part("memory", memory, of_rows=False),
    Part("disks", disks, of_rows=False),
    Part("clock", clock, of_rows=False),
    Part("settings", settings_checks),
    Part("clusters", clusters, of_rows=False),
    Part("backups", backups, of_rows=False),
    Part("health", health),
    Part("channels", channels),
    Part("destinations", destinations),
)
