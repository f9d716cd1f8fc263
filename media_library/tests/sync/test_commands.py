"""sync_media, upload_media and check --deploy, from the operator's view."""

from __future__ import annotations

import json
import os
import shutil
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


def output_of(command: str, *args: str, fails: str = "") -> str:
    """Returns the command's output; `fails` is part of the sentence that it fails with."""
    out = StringIO()
    if fails:
        with pytest.raises(CommandError, match=fails) as failed:
            call_command(command, *args, stdout=out, stderr=StringIO())
        assert failed.value.returncode != 0
    else:
        call_command(command, *args, stdout=out, stderr=StringIO())
    return out.getvalue()


def last_line(text: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(text.splitlines()[-1])
    return result


def test_the_last_line_is_the_result(either: str) -> None:
    put("a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4")
    counts = last_line(output_of("sync_media", "--json"))
    assert list(counts) == ["added", "changed", "gone", "unchanged", "seconds"]
    assert (counts["added"], counts["unchanged"]) == (5, 0)
    put("a.mp4", content=b"another")
    storage.delete("b.mp4")
    counts = last_line(output_of("sync_media", "--json"))
    assert (counts["changed"], counts["gone"], counts["unchanged"]) == (1, 0, 3)
    assert last_line(output_of("sync_media", "--json"))["gone"] == 1
    assert output_of("sync_media").startswith("0 added, 0 changed, 0 gone, 4 unchanged.")


def test_the_deletion_guard_stops_it_and_accepting_continues(either: str) -> None:
    put("a.mp4", "b.mp4")
    output_of("sync_media")
    storage.delete("a.mp4")
    text = output_of("sync_media", "--json", fails="1 of 2 items .* --accept")
    assert last_line(text)["gone"] == 0
    assert last_line(output_of("sync_media", "--json", "--accept-gone"))["gone"] == 1


def test_a_dry_run_lists_the_difference(folder: Path) -> None:
    put("a.mp4")
    text = output_of("sync_media", "--dry-run")
    assert "added    a.mp4" in text
    assert not MediaItem.objects.exists()


def test_an_unreachable_storage_ends_it_with_a_sentence(
    bucket: None, settings: Settings
) -> None:
    settings.STORAGE_BUCKET = "flims"
    text = output_of("sync_media", "--json", fails="check STORAGE_BUCKET")
    assert last_line(text)["added"] == 0


def test_a_running_sync_is_reported(folder: Path) -> None:
    runner.prepare()
    output_of("sync_media", fails="A sync has been running since")


def test_ctrl_c_leaves_a_sync_that_can_be_resumed_at_once(
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
    assert last_line(output_of("sync_media", "--json"))["added"] == 2
    assert SyncRun.objects.count() == 1


# ---- uploads ---------------------------------------------------------------------------------


def test_files_are_uploaded_and_become_items(either: str, tmp_path: Path) -> None:
    video, other = tmp_path / "My film.mp4", tmp_path / "other.mkv"
    video.write_bytes(os.urandom(9 * 1024 * 1024))
    other.write_bytes(b"film")
    folder = ("--folder", "films/1950s")
    text = output_of("upload_media", str(video), *folder, "--title", "Mine", "--json")
    (uploaded,) = last_line(text)["uploaded"]
    assert (uploaded["key"], uploaded["title"]) == ("films/1950s/My film.mp4", "Mine")
    assert storage.read(uploaded["key"], 0, 10**8) == video.read_bytes()
    # The same name again gets another key.
    text = output_of("upload_media", str(video), str(other), *folder)
    assert "films/1950s/My film (2).mp4" in text
    # The sync counts it as unchanged.
    counts = last_line(output_of("sync_media", "--json"))
    assert (counts["added"], counts["changed"], counts["unchanged"]) == (0, 0, 3)


def test_failed_uploads_are_named_and_the_rest_is_uploaded(
    folder: Path, tmp_path: Path
) -> None:
    good, empty, text_file = (tmp_path / name for name in ("a.mp4", "empty.mp4", "a.txt"))
    good.write_bytes(b"film")
    empty.touch()
    text_file.write_text("text")
    missing = tmp_path / "none.mp4"
    paths = [str(path) for path in (missing, empty, text_file, good)]
    text = output_of(
        "upload_media", "--json", *paths, fails=r"Not uploaded: .*none\.mp4.*a\.txt"
    )
    assert last_line(text)["failed"] == paths[:3]
    assert [listed.key for listed in storage.listing()] == ["a.mp4"]
    assert not list((folder / ".uploads").iterdir())
    output_of("upload_media", "--title", "x", str(good), str(good), fails="one file")


# ---- checks ----------------------------------------------------------------------------------


def test_check_deploy_reports_errors_of_the_storage(bucket: None, settings: Settings) -> None:
    from media_library.checks import storage_can_be_used  # noqa: PLC0415 - Django's settings are chosen first

    assert storage_can_be_used(None) == []
    settings.STORAGE_BUCKET = "flims"
    errors = storage_can_be_used(None)
    assert errors[0].id == "media_library.E001"
    assert "check STORAGE_BUCKET" in errors[0].msg


def test_check_deploy_reports_a_missing_folder(folder: Path) -> None:
    from media_library.checks import storage_can_be_used  # noqa: PLC0415 - Django's settings are chosen first

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
    migrated: Path,
) -> None:
    """Ratios only; deploy/bench.sh measures a million items."""
    few_items, many_items = (10_000, 100_000) if figures.exact else (4_000, 40_000)
    results = {}
    for count in (few_items, many_items):
        place = tmp_path / f"{DATA_DIR.parent.name}-{count}"
        monkeypatch.setenv("DATA_DIR", str(place / "data"))
        monkeypatch.setenv("DATABASE_URL", f"sqlite:///{place}/data/bench.sqlite3")
        (place / "data").mkdir(parents=True)
        shutil.copyfile(migrated, place / "data/bench.sqlite3")
        results[count] = [bench_sync.in_own_process(count) for _ in range(2)]
        assert results[count][0]["added"] == results[count][1]["unchanged"] == count
    first, second = results[many_items]
    if figures.exact:
        assert second["seconds"] * 2 < first["seconds"]
    for few, many in zip(results[few_items], results[many_items], strict=True):
        # MB: SQLite's page cache may be fuller.
        assert many["memory"] < few["memory"] + 30
