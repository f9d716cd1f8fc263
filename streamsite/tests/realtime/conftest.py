"""A site as gunicorn serves it: one for a module, or one for a test that ends or fills it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamsite.tests.serving import Served, served


@pytest.fixture(scope="module")
def shared_site(
    django_db_setup: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    yield from _watched(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(transactional_db: None, shared_site: Served) -> Served:
    return shared_site


@pytest.fixture
def own_site(transactional_db: None, tmp_path: Path) -> Iterator[Served]:
    yield from _watched(tmp_path)


def _watched(folder: Path) -> Iterator[Served]:
    with served(folder) as running:
        yield running
    assert "Traceback" not in running.log.read_text()
