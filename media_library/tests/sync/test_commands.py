"""sync_media, upload_media and check --deploy, as an operator meets them."""

from __future__ import annotations

import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from media_library import storage
from media_library.models import MediaItem, SyncRun
from media_library.sync import runner
from media_library.tests import bench_sync
from media_library.tests.storage.test_list_objects import put
from streamsite.tests.figures import Figures
from streamsite.tests.settings import DATA_DIR

pytestmark = pytest.mark.django_db


def said(command: str, *args: str, fails: str = "") -> str:
    """What the command wrote; `fails` are words of the sentence that it ends with."""
    out = StringIO()
    if fails:
        with pytest.raises(CommandError, match=fails) as failed:
            call_command(command, *args, stdout=out, stderr=StringIO())
        assert failed.value.returncode != 0
    else:
        call_command(command, *args, stdout=out, stderr=StringIO())
    return out.getvalue()


def last_line(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


def test_the_last_line_is_the_result(either: str) -> None:
    put("a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4")
    found = last_line(said("sync_media", "--json"))
    assert list(found) == ["added", "changed", "gone", "unchanged", "seconds"]
    assert (found["added"], found["unchanged"]) == (5, 0)
    put("a.mp4", content=b"another")
    storage.delete("b.mp4")
    found = last_line(said("sync_media", "--json"))
    assert (found["changed"], found["gone"], found["unchanged"]) == (1, 0, 3)
    assert last_line(said("sync_media", "--json"))["gone"] == 1
    assert said("sync_media").startswith("0 added, 0 changed, 0 gone, 4 unchanged.")


def test_the_brake_ends_it_with_a_sentence_and_accepting_lets_it_through(either: str) -> None:
    put("a.mp4", "b.mp4")
    said("sync_media")
    storage.delete("a.mp4")
    text = said("sync_media", "--json", fails="1 of 2 items .* --accept")
    assert last_line(text)["gone"] == 0
    assert last_line(said("sync_media", "--json", "--accept-gone"))["gone"] == 1


def test_a_dry_run_lists_the_difference(folder: Path) -> None:
    put("a.mp4")
    text = said("sync_media", "--dry-run")
    assert "added    a.mp4" in text
    assert not MediaItem.objects.exists()


def test_a_storage_out_of_reach_ends_it_with_its_sentence(
    bucket: None, settings: Settings
) -> None:
    settings.STORAGE_BUCKET = "flims"
    text = said("sync_media", "--json", fails="look at STORAGE_BUCKET")
    assert last_line(text)["added"] == 0


def test_one_that_runs_is_told(folder: Path) -> None:
    runner.prepare()
    said("sync_media", fails="A sync has been running since")


def test_ctrl_c_leaves_a_sync_that_goes_on_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.mp4", "b.mp4")
    living = storage.listing

    def interrupted(after: str) -> Any:
        yield from living(after)
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "listing", interrupted)
    with pytest.raises(SystemExit) as ended:
        call_command("sync_media", stderr=StringIO())
    assert ended.value.code == 130
    monkeypatch.setattr(storage, "listing", living)
    assert last_line(said("sync_media", "--json"))["added"] == 2
    assert SyncRun.objects.count() == 1


# ---- uploads ---------------------------------------------------------------------------------


def test_files_are_uploaded_and_become_items(either: str, tmp_path: Path) -> None:
    film, other = tmp_path / "My film.mp4", tmp_path / "other.mkv"
    film.write_bytes(os.urandom(9 * 1024 * 1024))
    other.write_bytes(b"film")
    folder = ("--folder", "films/1950s")
    text = said("upload_media", str(film), *folder, "--title", "Mine", "--json")
    (uploaded,) = last_line(text)["uploaded"]
    assert (uploaded["key"], uploaded["title"]) == ("films/1950s/My film.mp4", "Mine")
    assert storage.read(uploaded["key"], 0, 10**8) == film.read_bytes()
    # The same name again gets another key.
    text = said("upload_media", str(film), str(other), *folder)
    assert "films/1950s/My film (2).mp4" in text
    # The sync finds what it knows.
    found = last_line(said("sync_media", "--json"))
    assert (found["added"], found["changed"], found["unchanged"]) == (0, 0, 3)


def test_what_can_not_be_uploaded_is_named_and_the_rest_is_uploaded(
    folder: Path, tmp_path: Path
) -> None:
    good, empty, text_file = (tmp_path / name for name in ("a.mp4", "empty.mp4", "a.txt"))
    good.write_bytes(b"film")
    empty.touch()
    text_file.write_text("text")
    missing = tmp_path / "none.mp4"
    paths = [str(path) for path in (missing, empty, text_file, good)]
    text = said("upload_media", "--json", *paths, fails=r"Not uploaded: .*none\.mp4.*a\.txt")
    assert last_line(text)["failed"] == paths[:3]
    assert [each.key for each in storage.listing()] == ["a.mp4"]
    assert not list((folder / ".uploads").iterdir())
    said("upload_media", "--title", "x", str(good), str(good), fails="one file")


# ---- checks ----------------------------------------------------------------------------------


def test_check_deploy_tells_what_the_storage_refuses(bucket: None, settings: Settings) -> None:
    from media_library.checks import storage_can_be_used  # noqa: PLC0415

    assert storage_can_be_used(None) == []
    settings.STORAGE_BUCKET = "flims"
    found = storage_can_be_used(None)
    assert found[0].id == "media_library.E001"
    assert "look at STORAGE_BUCKET" in found[0].msg


def test_check_deploy_tells_of_a_folder_that_is_not_there(folder: Path) -> None:
    from media_library.checks import storage_can_be_used  # noqa: PLC0415

    assert storage_can_be_used(None) == []
    folder.rmdir()
    (only,) = storage_can_be_used(None)
    assert "does not exist" in only.msg


# ---- speed -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.measured
def test_an_unchanged_library_is_quick_and_memory_is_flat(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
) -> None:
    """Ratios only; deploy/bench.sh has the figures of a million."""
    found = {}
    for count in (10_000, 100_000):
        place = tmp_path / f"{DATA_DIR.parent.name}-{count}"
        monkeypatch.setenv("DATA_DIR", str(place / "data"))
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{place}/data/bench.sqlite3")
        (place / "data").mkdir(parents=True)
        bench_sync.migrate()
        found[count] = [bench_sync.in_own_process(count) for _ in range(2)]
        assert found[count][0]["added"] == found[count][1]["unchanged"] == count
    first, second = found[100_000]
    if figures.exact:
        assert second["seconds"] * 2 < first["seconds"]
    for few, many in zip(found[10_000], found[100_000], strict=True):
        # MB: SQLite's page cache may be fuller.
        assert many["memory"] < few["memory"] + 30
