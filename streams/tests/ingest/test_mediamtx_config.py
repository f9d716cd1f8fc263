"""The shipped MediaMTX configuration, compared with the options of its versions.

Names and defaults are those of bluenviron/mediamtx (internal/conf/conf.go and path.go) at the
tags v1.15.4, v1.19.0, v1.19.3 and v1.20.1. MediaMTX does not start with an unknown option.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

FOLDER = Path(settings.BASE_DIR) / "deploy/mediamtx"
#: The used options that all versions have.
GENERAL = {
    *("logLevel", "readTimeout", "writeTimeout", "authMethod", "authHTTPAddress"),
    *("authHTTPExclude", "api", "apiAddress", "metrics", "metricsAddress", "pprof", "playback"),
    *("rtmp", "rtmpAddress", "rtsp", "rtspTransports", "rtspAddress", "srt", "srtAddress"),
    *("webrtc", "webrtcAddress", "webrtcTrustedProxies", "hls", "hlsAddress"),
    *("hlsTrustedProxies", "hlsVariant", "hlsAllowOrigins", "pathDefaults", "paths"),
}
OLD_HOOKS, NEW_HOOKS = {"runOnReady", "runOnNotReady"}, {"runOnAvailable", "runOnUnavailable"}
#: Option names by version: general ones, and those of a path. From 1.19.3 on MediaMTX warns of
#: the old hooks' names.
VERSIONS = {
    "v1.15.4": (GENERAL, {"overridePublisher", *OLD_HOOKS}),
    "v1.18.2": (GENERAL, {"overridePublisher", *OLD_HOOKS}),
    "v1.19.0": (GENERAL | {"moq"}, {"overridePublisher", *OLD_HOOKS}),
    "v1.19.2": (GENERAL | {"moq"}, {"overridePublisher", *OLD_HOOKS}),
    "v1.19.3": (GENERAL | {"moq"}, {"overridePublisher", *NEW_HOOKS}),
    "v1.20.1": (GENERAL | {"moq"}, {"overridePublisher", *NEW_HOOKS}),
}
#: Listeners that are on by default: option name and default address.
LISTENS = {"playback": ":9996", "pprof": ":9999", "moq": ":8892"}
PUBLIC = {"rtmpAddress", "rtspAddress", "srtAddress", "webrtcAddress", "hlsAddress"}


def started(version: str, folder: Path) -> dict[str, Any]:
    """Returns the configuration with which this version of MediaMTX is started."""
    program = folder / "mediamtx"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo {version} || cat "$1"\n')
    program.chmod(0o755)
    done = subprocess.run(
        (FOLDER / "start.sh", program),
        env={"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    config = yaml.safe_load(done.stdout)
    assert isinstance(config, dict)
    return config


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gets_its_own_option_names(version: str, tmp_path: Path) -> None:
    general, of_a_path = VERSIONS[version]
    config = started(version, tmp_path)
    # All options of the version are used.
    assert set(config) == general
    assert set(config["pathDefaults"]) == of_a_path
    for hook in of_a_path - {"overridePublisher"}:
        command = config["pathDefaults"][hook]
        begins = hook in {"runOnReady", "runOnAvailable"}
        assert command.endswith("/webhook/ready" if begins else "/webhook/not-ready")
        assert "source_id=$MTX_SOURCE_ID" in command


@pytest.mark.parametrize("version", VERSIONS)
def test_all_open_ports_are_documented(version: str, tmp_path: Path) -> None:
    config = started(version, tmp_path)
    for name in LISTENS.keys() & config.keys():
        assert config[name] is False
    ports = {re.sub(r".*:", "", config[name]) for name in PUBLIC}
    document = (settings.BASE_DIR / "deploy/live.md").read_text()
    opened = re.search(r"Open the ports (.*?);", document, re.DOTALL)
    assert opened is not None
    # 8189/udp is WebRTC's own, by default.
    assert set(re.findall(r"\b\d{4}\b", opened[1])) == ports | {"8189"}
    for name in ("apiAddress", "metricsAddress"):
        assert config[name].startswith("127.0.0.1:")
    # No RTP or RTCP by UDP.
    assert config["rtspTransports"] == ["tcp"]


def test_a_version_that_is_too_old_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        started("v1.15.3", tmp_path)
    assert "1.15.4 or newer" in caught.value.stderr


def test_only_the_owner_can_read_the_copy_with_the_token(tmp_path: Path) -> None:
    started("v1.15.4", tmp_path)
    (copy,) = tmp_path.glob("*.yml")
    assert copy.stat().st_mode & 0o077 == 0
