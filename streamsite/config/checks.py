"""System checks: what this machine lacks, in sentences. `check --deploy` asks more."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from grp import getgrgid
from pathlib import Path
from pwd import getpwuid
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.core.checks import Warning as Caution
from django.db import DatabaseError

from streamsite.security import file_modes, tls
from streamsite.security.fields import unreadable_rows

#: The oldest FFmpeg that was tried: Debian 12's.
OLDEST_FFMPEG: Final = (5, 1)
INSTALL_FFMPEG: Final = "apt-get install --yes ffmpeg"
_VERSION: Final = re.compile(r"^ffmpeg version (?:n)?((\d+)\.(\d+)\S*)")


@lru_cache
def ffmpeg_version(path: str) -> tuple[str, int, int] | None:
    """Version as FFmpeg writes it, and its first two numbers; None: it can't be told."""
    try:
        output = subprocess.run(
            [path, "-hide_banner", "-version"],
            capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = _VERSION.match(output)
    return (version[1], int(version[2]), int(version[3])) if version else None


@register()
def ffmpeg(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warnings, not errors: without FFmpeg nothing plays, but the admin can still say so."""
    path = settings.FFMPEG_PATH
    if shutil.which(path) is None:
        return [
            Caution(
                f"FFmpeg was not found ({path}): nothing can play.",
                hint=f"Type, as root: {INSTALL_FFMPEG}",
                id="streamsite.W001",
            )
        ]
    if shutil.which(settings.FFPROBE_PATH) is None:
        return [
            Caution(
                f"ffprobe was not found ({settings.FFPROBE_PATH}): no file can be read.",
                hint=f"It comes with FFmpeg. Type, as root: {INSTALL_FFMPEG}",
                id="streamsite.W002",
            )
        ]
    version = ffmpeg_version(path)
    if version is not None and version[1:] < OLDEST_FFMPEG:
        return [
            Caution(
                f"FFmpeg {version[0]} is older than {'.'.join(map(str, OLDEST_FFMPEG))}, the "
                "oldest that was tried: it may not play.",
                hint="Install a newer one, and set FFMPEG_PATH to it.",
                id="streamsite.W003",
            )
        ]
    return []


@register(Tags.security, deploy=True)
def ffmpeg_compares_names(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Built with OpenSSL, FFmpeg 5 to 7 verify who signed a certificate, but not for whom."""
    try:
        output = subprocess.run(
            [settings.FFMPEG_PATH, "-hide_banner", "-buildconf"],
            capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    if "--enable-openssl" not in output:
        return []
    return [
        Caution(
            "FFmpeg is built with OpenSSL: it does not compare the name in a server's "
            "certificate, so any server with a certificate passes for another.",
            hint="Take one that is built with GnuTLS, as Debian's and Ubuntu's are.",
            id="streamsite.W009",
        )
    ]


@register()
def certificates_there(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Without them no server that is reached by TLS can prove who it is."""
    if tls.are_there():
        return []
    return [
        Caution(
            "This machine knows no authority that signs certificates: rtmps:// outputs and "
            "https storages are refused.",
            hint="Type, as root: apt-get install --yes ca-certificates; or set SSL_CERT_FILE "
            "to a file that is there.",
            id="streamsite.W010",
        )
    ]


@register(Tags.security, deploy=True)
def field_keys_kept(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """The stored stream keys are lost with the key that encrypts them."""
    if settings.FIELD_KEYS_GIVEN:
        return []
    return [
        Caution(
            f"The key that encrypts stream keys lies beside the data, in {settings.DATA_DIR}.",
            hint="Keep a copy elsewhere, or set FIELD_KEYS: a backup of the database is of no "
            "use without it, and both together are all a thief needs.",
            id="streamsite.W004",
        )
    ]


@register(Tags.security, deploy=True)
def closed_to_others(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Warns of files with password hashes, sessions or keys that others may read."""
    bounds: list[tuple[Path, int]] = [(settings.DATA_DIR, file_modes.FOLDER)]
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3") and database["NAME"] != ":memory:":
        file = Path(database["NAME"])
        bounds += [(path, file_modes.FILE) for path in (file, *file_modes.lies_beside(file))]
    bounds += [
        (settings.DATA_DIR / name, file_modes.FILE) for name in ("secret_key", "field_key")
    ]
    # A server's settings are readable for the service's group and writable for root only.
    bounds.append((settings.SETTINGS_FILE, file_modes.SETTINGS))
    return [
        Caution(
            f"Others may do more with {path} than they should.",
            hint=f"Type: chmod {most:o} {path}",
            id="streamsite.W005",
        )
        for path, most in bounds
        if path.is_file() | path.is_dir() and file_modes.too_open(path, most)
    ]


@register(deploy=True)
def preview_group(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Only a member can give a folder to its group."""
    group = settings.HLS_GROUP
    if group is None or group in {os.getegid(), *os.getgroups()} or os.geteuid() == 0:
        return []
    user, name = getpwuid(os.geteuid()).pw_name, getgrgid(group).gr_name
    return [
        Caution(
            f"{user} is no member of HLS_GROUP, {name}: nginx can't read the preview.",
            hint=f"Type, as root: adduser {user} {name}; then restart the services.",
            id="streamsite.W006",
        )
    ]


@register(Tags.security, deploy=True)
def secrets_readable(
    app_configs: Sequence[AppConfig] | None, **kwargs: Any
) -> list[CheckMessage]:
    """Stored secrets that the present FIELD_KEYS do not decrypt."""
    try:
        unreadable = list(unreadable_rows())
    except DatabaseError as error:
        return [
            Caution(
                f"Whether the stored secrets can be decrypted is unknown: {error}.",
                id="streamsite.W008",
            )
        ]
    if not unreadable:
        return []
    return [
        Caution(
            f"{len(unreadable)} stored secrets can't be decrypted: {'; '.join(unreadable)}.",
            hint="Put the old key back, as the last of FIELD_KEYS, or type them again.",
            id="streamsite.W007",
        )
    ]
