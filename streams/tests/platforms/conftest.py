from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from streams.tests.platforms.stand_in import StandIn


@pytest.fixture
def platform(settings: Settings) -> Iterator[StandIn]:
    """A stand-in for all platforms, over real HTTP."""
    server = StandIn()
    server.start()
    settings.PLATFORM_STAND_IN = server.place
    yield server
    server.shutdown()
    server.server_close()
