"""Fixtures for every test. A missing tool skips on a laptop and fails in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from streamsite.tests.figures import Figures
from streamsite.tests.waiting import Patience

#: The path of Debian's libnginx-mod-rtmp.
RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--measure",
        action="store_true",
        help="Runs measured tests at full length and holds them to their exact bounds.",
    )


def pytest_configure(config: pytest.Config) -> None:
    Patience.exact = bool(config.getoption("--measure"))
    # A busy machine takes its time for an example.
    settings.register_profile("suite", deadline=None)
    settings.load_profile("suite")


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """The length, the bounds and the figures of a measured test."""
    return Figures(Patience.exact, record_property)


def need(present: object, what: str) -> None:
    """Go on only where the machine has it."""
    if present:
        return
    sentence = f"This machine has no {what}: deploy/test.sh installs it."
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(autouse=True)
def no_requests_in_hand() -> Iterator[None]:
    """Forgets limits and storage states that the test before has left in the process."""
    yield
    # After the settings are chosen, which a test of pytest's options is not.
    from media_library.storage import state  # noqa: PLC0415 - Django's settings are chosen first
    from streamsite.api import throttling  # noqa: PLC0415 - Django's settings are chosen first

    throttling.forget()
    state.forget()


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """FFmpeg and ffprobe are there."""
    need(shutil.which("ffmpeg") and shutil.which("ffprobe"), "FFmpeg")
    return "ffmpeg"


@pytest.fixture(scope="session")
def nginx_rtmp() -> Path:
    """The file of the RTMP module; nginx is there too."""
    # Debian keeps nginx out of a user's path.
    need(shutil.which("nginx") or Path("/usr/sbin/nginx").exists(), "nginx")
    need(RTMP_MODULE.exists(), "RTMP module for nginx")
    return RTMP_MODULE
