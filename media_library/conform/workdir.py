"""A folder for each try at a copy, removed afterwards because its files are large."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from media_library.models import PreparedCopy


@contextmanager
def work_folder(claim: str) -> Iterator[Path]:
    """Creates a folder for this try. The sweep removes those of killed workers.

    Raises `OSError` if it can't be created.
    """
    folder: Path = settings.DATA_DIR / "work" / claim
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        _remove(folder)


def tidy() -> None:
    """Removes the work folders of tries that are over."""
    work: Path = settings.DATA_DIR / "work"
    # The folders first: the folder of a try that begins after the query stays.
    folders = [folder for folder in work.iterdir() if folder.is_dir()] if work.is_dir() else []
    running = PreparedCopy.objects.filter(status=PreparedCopy.Status.RUNNING)
    at_work = set(running.values_list("claim", flat=True))
    for folder in folders:
        if folder.name not in at_work:
            _remove(folder)


def _remove(folder: Path) -> None:
    # The try itself and the sweep, or two sweeps, may remove it at once. The next sweep removes
    # the rest.
    shutil.rmtree(folder, ignore_errors=True)
