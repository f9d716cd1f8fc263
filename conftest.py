"""Fixtures for every test. A missing tool skips on a laptop and fails in CI."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from django.conf import settings as site
from hypothesis import settings

from streamsite.tests.figures import Figures
from streamsite.tests.once import Once
from streamsite.tests.waiting import Patience

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

#: The path of Debian's libnginx-mod-rtmp.
RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")

#: Fixtures that run FFmpeg or a server.
SLOW_FIXTURES: Final = frozenset({"ffmpeg", "nginx_rtmp", "s3_server", "bucket"})


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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests of FFmpeg and servers as slow, before `-m` selects. Then it orders them."""
    for item in items:
        names = {*getattr(item, "fixturenames", ()), *_parameters(item)}
        if names & SLOW_FIXTURES:
            item.add_marker("slow")
    _order(items)


def _parameters(item: pytest.Item) -> set[str]:
    """The texts among a test's parameters: `either` is "folder" or "bucket"."""
    called = getattr(item, "callspec", None)
    return set() if called is None else {v for v in called.params.values() if type(v) is str}


def _order(items: list[pytest.Item]) -> None:
    """Lets each worker (pytest-xdist) begin with its share of the slow tests.

    A long test that begins last keeps the whole run waiting. `worksteal` gives each worker a
    row of as many tests, and takes from the ends of these rows for those that have finished.
    The slow tests of a module stay together, for they share fixtures.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    slow: dict[str, list[pytest.Item]] = {}
    quick: list[pytest.Item] = []
    for item in items:
        marked = item.get_closest_marker("slow") is not None
        (slow.setdefault(item.nodeid.partition("::")[0], []) if marked else quick).append(item)
    rows: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for module in sorted(slow.values(), key=len, reverse=True):
        min(rows, key=len).extend(module)
    length = -(-len(items) // workers)
    for row in rows:
        missing = max(0, length - len(row))
        row.extend(quick[:missing])
        del quick[:missing]
    items[:] = [item for row in rows for item in row] + quick


def pytest_sessionstart(session: pytest.Session) -> None:
    """Makes the database that each worker copies: its migrations take 7 s of CPU."""
    if hasattr(session.config, "workerinput"):
        return
    if not _in_a_file():
        _migrate(os.environ["TEST_DATABASE_URL"], session.config)
    elif not (template := _template(session.config)).exists():
        draft = template.with_suffix(f".{os.getpid()}")
        _migrate(f"sqlite:///{draft}", session.config)
        draft.rename(template)


def _migrate(url: str, config: pytest.Config) -> None:
    """Runs in a process of its own, which keeps no connection to the template."""
    names = {name: value for name, value in os.environ.items() if name != "DATA_DIR"}
    names |= {"DJANGO_SETTINGS_MODULE": "streamsite.tests.settings", "TEST_DATABASE_URL": url}
    argv = (sys.executable, "manage.py", "migrate", "--verbosity=0")
    subprocess.run(argv, cwd=config.rootpath, env=names, check=True)


def _in_a_file() -> bool:
    return "sqlite" in site.DATABASES["default"]["ENGINE"]


def _template(config: pytest.Config) -> Path:
    """The file of the migrated database, which holds for these migrations alone."""
    digest = hashlib.sha256((config.rootpath / "requirements.txt").read_bytes())
    for migration in sorted(config.rootpath.glob("*/migrations/*.py")):
        digest.update(migration.read_bytes())
    folder: Path = config.cache.mkdir("migrated")
    return folder / f"{digest.hexdigest()[:20]}.sqlite3"


@pytest.fixture(scope="session")
def migrated(pytestconfig: pytest.Config) -> Path:
    """A SQLite file with all migrations, to be copied."""
    if not _in_a_file():
        pytest.skip("The database of this run is no file.")
    return _template(pytestconfig)


@pytest.fixture(scope="session")
def django_db_keepdb(
    django_db_modify_db_settings_parallel_suffix: None, pytestconfig: pytest.Config
) -> bool:
    """The test database is a copy of the migrated one, where a database is a file."""
    if not _in_a_file():
        return False
    shutil.copyfile(_template(pytestconfig), site.DATABASES["default"]["TEST"]["NAME"])
    return True


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes folders of files once per run, whichever worker (pytest-xdist) asks first."""
    root = tmp_path_factory.getbasetemp()
    return Once(root.parent if "PYTEST_XDIST_WORKER" in os.environ else root)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """The browser of this process's tests; each opens a tab (`browsing.browser`)."""
    from streamsite.tests import browsing  # noqa: PLC0415 - most processes need no selenium

    running = browsing.chrome(tmp_path_factory.mktemp("profile"))
    yield running
    running.quit()


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
