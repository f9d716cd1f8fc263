"""Static files are collected once, and again where something changed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from django.contrib.staticfiles.finders import get_finder
from django.core.management import call_command
from pytest_django import Settings

from streamsite.http import static_files


@pytest.fixture
def source(tmp_path: Path, settings: Settings) -> Path:
    """A folder with one file, which is all there is to collect."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "site.css").write_text("body { color: red }\n" * 50)
    settings.STATICFILES_DIRS = [folder]
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATIC_ROOT = tmp_path / "root"
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "streamsite.http.static_files.Storage"}
    }
    get_finder.cache_clear()  # type: ignore[attr-defined]  # Django caches it with lru_cache
    return folder


def collected(settings: Settings) -> dict[str, int]:
    """Names and times of what lies there."""
    result = sorted(Path(settings.STATIC_ROOT).rglob("*.*"))
    return {path.name: path.stat().st_mtime_ns for path in result}


def collect(**options: object) -> None:
    call_command("collectstatic", interactive=False, verbosity=0, **options)


def test_nothing_is_done_twice_and_everything_that_changed_is(
    source: Path, settings: Settings
) -> None:
    collect()
    first = collected(settings)
    # Packed as gzip alone, beside the name and beside the name with its contents' hash.
    assert sum(name.endswith(".gz") for name in first) == 2
    assert not any(name.endswith(".br") for name in first)
    collect()
    assert collected(settings) == first
    (source / "site.css").write_text("body { color: blue }\n" * 50)
    collect()
    assert collected(settings).keys() - first.keys()


def test_what_was_broken_off_is_done_again(source: Path, settings: Settings) -> None:
    collect()
    static_files.stamp("")
    before = collected(settings)
    collect()
    assert static_files.collected() == static_files.fingerprint()
    assert before.keys() < collected(settings).keys()


def test_everybody_may_read_them(source: Path, settings: Settings) -> None:
    (source / "inner").mkdir()
    (source / "inner" / "a.css").write_text("a { color: red }\n" * 50)
    collect()
    root = Path(settings.STATIC_ROOT)
    files = [
        path for path in root.rglob("*") if path.is_file() and path.name != static_files.STAMP
    ]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o044 for path in files} == {0o044}
    assert stat.S_IMODE((root / "inner").stat().st_mode) & 0o055 == 0o055
