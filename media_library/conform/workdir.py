"""A folder for each try at a copy: full of large files, so none stays behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from media_library.models import PreparedCopy


@contextmanager
def workplace(claim: str) -> Iterator[Path]:
    """A folder of this try alone. What a killed worker leaves behind, the sweep removes.

    Raises `OSError` where it can't be made.
    """
    folder: Path = settings.DATA_DIR / "work" / claim
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _remove(folder)


def tidy() -> None:
    """Remove the workplaces of tries that are over."""
    work: Path = settings.DATA_DIR / "work"
    # The folders first: one whose try begins after the question of who is at work stays.
    folders = [folder for folder in work.iterdir() if folder.is_dir()] if work.is_dir() else []
    running = PreparedCopy.objects.filter(status=PreparedCopy.Status.RUNNING)
    at_work = set(running.values_list("claim", flat=True))
    for folder in folders:
        if folder.name not in at_work:
            _remove(folder)


def _remove(folder: Path) -> None:
    # Its own try and the sweep, or two sweeps, may be at it at once. What can't be removed now
    # is removed by the next sweep.
    shutil.rmtree(folder, ignore_errors=True)
