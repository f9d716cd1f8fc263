"""The configuration that deploy/ ships for MediaMTX, held against what its versions know.

Names and defaults are those of bluenviron/mediamtx (internal/conf/conf.go and path.go) at the
tags v1.15.4, v1.19.0, v1.19.3 and v1.20.1. It does not start with a name that it does not know.
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
#: What all of them know, of the names that are used.
GENERAL = {
    *("logLevel", "readTimeout", "writeTimeout", "authMethod", "authHTTPAddress"),
    *("authHTTPExclude", "api", "apiAddress", "metrics", "metricsAddress", "pprof", "playback"),
    *("rtmp", "rtmpAddress", "rtsp", "rtspTransports", "rtspAddress", "srt", "srtAddress"),
    *("webrtc", "webrtcAddress", "webrtcTrustedProxies", "hls", "hlsAddress"),
    *("hlsTrustedProxies", "hlsVariant", "hlsAllowOrigins", "pathDefaults", "paths"),
}
OLD_HOOKS, NEW_HOOKS = {"runOnReady", "runOnNotReady"}, {"runOnAvailable", "runOnUnavailable"}
#: Of each version: general names, names of a path. The old hooks' names are warned of from
#: 1.19.3 on.
VERSIONS = {
    "v1.15.4": (GENERAL, {"overridePublisher", *OLD_HOOKS}),
    "v1.18.2": (GENERAL, {"overridePublisher", *OLD_HOOKS}),
    "v1.19.0": (GENERAL | {"moq"}, {"overridePublisher", *OLD_HOOKS}),
    "v1.19.2": (GENERAL | {"moq"}, {"overridePublisher", *OLD_HOOKS}),
    "v1.19.3": (GENERAL | {"moq"}, {"overridePublisher", *NEW_HOOKS}),
    "v1.20.1": (GENERAL | {"moq"}, {"overridePublisher", *NEW_HOOKS}),
}
#: What listens unless it is switched off: its name, and the address that it has by itself.
LISTENS = {"playback": ":9996", "pprof": ":9999", "moq": ":8892"}
PUBLIC = {"rtmpAddress", "rtspAddress", "srtAddress", "webrtcAddress", "hlsAddress"}


def started(version: str, folder: Path) -> dict[str, Any]:
    """The configuration that a MediaMTX of that version is started with."""
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
    found = yaml.safe_load(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_is_started_with_names_that_it_knows(version: str, tmp_path: Path) -> None:
    general, of_a_path = VERSIONS[version]
    found = started(version, tmp_path)
    # All of them are used: nothing is left out that the version could have.
    assert set(found) == general
    assert set(found["pathDefaults"]) == of_a_path
    for hook in of_a_path - {"overridePublisher"}:
        said = found["pathDefaults"][hook]
        begins = hook in {"runOnReady", "runOnAvailable"}
        assert said.endswith("/webhook/ready" if begins else "/webhook/not-ready")
        assert "source_id=$MTX_SOURCE_ID" in said


@pytest.mark.parametrize("version", VERSIONS)
def test_no_port_is_open_that_the_documents_do_not_name(version: str, tmp_path: Path) -> None:
    found = started(version, tmp_path)
    for name in LISTENS.keys() & found.keys():
        assert found[name] is False
    ports = {re.sub(r".*:", "", found[name]) for name in PUBLIC}
    said = (settings.BASE_DIR / "deploy/live.md").read_text()
    opened = re.search(r"Open the ports (.*?);", said, re.DOTALL)
    assert opened is not None
    # 8189/udp is WebRTC's own, by default.
    assert set(re.findall(r"\b\d{4}\b", opened[1])) == ports | {"8189"}
    for name in ("apiAddress", "metricsAddress"):
        assert found[name].startswith("127.0.0.1:")
    # Neither RTP nor RTCP by UDP.
    assert found["rtspTransports"] == ["tcp"]


def test_a_version_that_lacks_what_is_needed_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        started("v1.15.3", tmp_path)
    assert "1.15.4 or newer" in caught.value.stderr


def test_the_copy_with_the_token_is_the_owners_alone(tmp_path: Path) -> None:
    started("v1.15.4", tmp_path)
    (copy,) = tmp_path.glob("*.yml")
    assert copy.stat().st_mode & 0o077 == 0
