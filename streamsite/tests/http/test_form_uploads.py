"""A chosen file survives a fault of another field, for its user alone, for an hour, bounded."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from media_library import storage
from media_library.house_format import Logo
from media_library.models import MediaItem, Playlist
from media_library.tests.clips import lavfi, make
from media_library.tests.rows import item
from streams.models import Channel
from streams.tests import rows
from streamsite.http import form_uploads

pytestmark = pytest.mark.django_db
LIST = b"#EXTM3U\n#PLAYLIST:Night\nshows/a.mp4\n"
IMPORT = "media-import-new"


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> Path:
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    settings.STORAGES = dict(settings.STORAGES)
    return tmp_path / "data" / "form-uploads"


def staff(name: str = "ada") -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser(name))
    return client


def upload(content: bytes = LIST, name: str = "list.m3u") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def token(page: str, name: str = "file") -> str:
    (result,) = re.findall(rf'name="{name}-kept" value="([^"]+)"', page)
    return str(result)


def imported(client: Client, **fields: object) -> str:
    return client.post(reverse(IMPORT), fields).content.decode()


# ---- the import's page -----------------------------------------------------------------------


def test_an_imports_file_survives_another_fields_fault(folders: Path) -> None:
    item("A")
    browser = staff()
    page = imported(browser, file=upload(), name="x" * 121)
    assert "at most 120 characters" in page
    assert "<b>list.m3u</b> is kept for an hour." in page
    # The browser does not demand another one.
    (field,) = re.findall(r'<input type="file"[^>]*>', page)
    assert "required" not in field
    (kept,) = folders.iterdir()
    assert (kept.stat().st_mode & 0o777, kept.read_bytes()) == (0o600, LIST)
    # Refused once more, it is kept on, once.
    again = imported(browser, name="x" * 121, **{"file-kept": token(page)})
    assert list(folders.iterdir()) == [kept]
    page = imported(browser, name="Evening", **{"file-kept": token(again)})
    assert "1 line matched" in page
    assert Playlist.objects.get(name="Evening").entries.count() == 1
    assert not list(folders.iterdir())
    assert "-kept" not in page


def test_what_was_checked_at_first_is_imported_without_choosing_it_again() -> None:
    item("A")
    browser = staff()
    page = imported(browser, file=upload(), dry="on")
    assert not Playlist.objects.exists()
    imported(browser, **{"file-kept": token(page)})
    assert Playlist.objects.get().name == "Night"


def test_another_file_replaces_the_one_that_is_kept() -> None:
    item("A")
    browser = staff()
    first = token(imported(browser, file=upload(), dry="on"))
    other = upload(LIST.replace(b"Night", b"Day"))
    imported(browser, file=other, **{"file-kept": first})
    assert Playlist.objects.get().name == "Day"


def test_a_file_that_is_itself_at_fault_is_not_kept(folders: Path) -> None:
    page = imported(staff(), file=upload(b"a\0b"))
    assert "not a text file" in page
    assert "-kept" not in page
    assert not list(folders.iterdir())


def test_no_other_user_can_redeem_a_token() -> None:
    item("A")
    given = token(imported(staff(), file=upload(), dry="on"))
    page = imported(staff("eve"), **{"file-kept": given})
    assert "kept no longer: choose it again" in page
    assert not Playlist.objects.exists()


@pytest.mark.parametrize("given", ["x", "x:y:z", "../../secret_key", "\x00", "é" * 500])
def test_a_token_that_nobody_signed_opens_nothing(given: str) -> None:
    page = imported(staff(), **{"file-kept": given})
    assert "kept no longer: choose it again" in page
    assert not MediaItem.objects.exists()


def test_after_an_hour_it_is_gone_and_the_page_states_so(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = staff()
    given = token(imported(browser, file=upload(), dry="on"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + form_uploads.MAX_AGE_S + 1)
    page = imported(browser, **{"file-kept": given})
    assert "kept no longer: choose it again" in page
    assert form_uploads.tidy() == 1
    assert not list(folders.iterdir())


# ---- bounds ----------------------------------------------------------------------------------


def test_the_oldest_of_too_many_are_removed(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form_uploads, "MAX_FILES", 3)
    monkeypatch.setattr(form_uploads, "MAX_FILES_PER_USER", 2)
    folders.mkdir()
    now = time.time()
    names = ("1-a", "1-b", "1-c", "2-a", "3-a")
    for age, name in enumerate(names):
        (folders / name).write_bytes(b"x")
        os.utime(folders / name, (now - age, now - age))
    form_uploads.tidy()
    # The newest two of user 1, and the newest of all.
    assert {path.name for path in folders.iterdir()} == {"1-a", "1-b"}


def test_a_file_above_the_forms_bound_is_not_kept(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media_library.views.exchange.MAX_BYTES", 10)
    page = imported(staff(), file=upload())
    assert "is larger than" in page
    assert not folders.exists()


def test_a_disk_that_takes_nothing_does_not_refuse_the_form(
    settings: Settings, tmp_path: Path
) -> None:
    item("A")
    (tmp_path / "data" / "form-uploads").write_bytes(b"no folder")
    page = imported(staff(), file=upload())
    assert "1 line matched" in page


# ---- a channel's logo ------------------------------------------------------------------------


def saved(client: Client, channel: Channel, **fields: object) -> HttpResponse:
    form = rows.channel_form(channel) | {"logo_corner": "br", "logo_width": "25"}
    url = reverse("admin:streams_channel_change", args=[channel.pk])
    answer = client.post(url, form | fields)
    channel.refresh_from_db()
    assert isinstance(answer, HttpResponse)
    return answer


@pytest.fixture
def red(tmp_path: Path, ffmpeg: str) -> bytes:
    return make(tmp_path / "r.png", *lavfi("color=red:s=64x32"), "-frames:v", "1").read_bytes()


def test_a_logo_survives_a_fault_of_another_field(folders: Path, red: bytes) -> None:
    browser, channel = staff(), rows.channel()
    answer = saved(browser, channel, name="", logo_file=upload(red, "red.png"))
    assert (answer.status_code, channel.logo) == (200, "")
    page = answer.content.decode()
    assert "<b>red.png</b> is kept for an hour." in page
    answer = saved(browser, channel, **{"logo_file-kept": token(page, "logo_file")})
    assert answer.status_code == 302
    assert storage.read(Logo(channel.logo).key, 0, len(red) + 1) == red
    assert not list(folders.iterdir())


def test_a_logo_survives_a_fault_of_an_inline(red: bytes) -> None:
    browser, channel = staff(), rows.channel()
    inline = {
        "outputs-TOTAL_FORMS": "1", "outputs-0-channel": str(channel.pk),
        "outputs-0-name": "", "outputs-0-url": "rtmp://127.0.0.1/live",
        "outputs-0-platform": "custom", "outputs-0-key": "typed",
    }  # fmt: skip
    answer = saved(browser, channel, logo_file=upload(red, "red.png"), **inline)
    assert answer.status_code == 200
    page = answer.content.decode()
    kept = {"logo_file-kept": token(page, "logo_file")}
    # It can be left out.
    assert saved(browser, channel, **kept, **{"logo_file-leave-out": "on"}).status_code == 302
    assert channel.logo == ""
    saved(browser, channel, **kept)
    assert channel.logo


def test_a_damaged_logo_is_not_kept(folders: Path, red: bytes) -> None:
    answer = saved(staff(), rows.channel(), name="", logo_file=upload(red[:60], "red.png"))
    page = answer.content.decode()
    assert "is damaged" in page
    assert "-kept" not in page
    assert not list(folders.iterdir())


def test_the_names_marks_do_not_reach_the_page(red: bytes) -> None:
    name = "evil\u202egnp.exe\x1b.png"
    page = saved(staff(), rows.channel(), name="", logo_file=upload(red, name)).content.decode()
    assert "\u202e" not in page
    assert "<b>evilgnp.exe.png</b>" in page
