"""A channel's logo: upload, storage, and burning into items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from selenium.webdriver import Chrome

from media_library import actions, storage, tasks
from media_library.house_format import HouseFormat, Logo
from media_library.location import LocalFile
from media_library.models import PreparedCopy
from media_library.storage import StorageError
from media_library.tests.clips import lavfi, make
from media_library.tests.rows import others_may_write, user
from streams.models import Channel
from streams.tests import rows
from streamsite.security.secret import Secret
from streamsite.tests.browsing import browser, complaints, seen, shows_text, site, words
from streamsite.tests.waiting import until

__all__ = ["browser", "site"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("ffmpeg")]


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.MEDIA_ROOT.mkdir()
    settings.STORAGES = dict(settings.STORAGES)


@pytest.fixture
def channel() -> Channel:
    return rows.channel(width=320, height=180, video_bitrate=500_000)


def picture(path: Path, size: str = "64x32", *options: str) -> bytes:
    return make(path, *lavfi(f"color=red:s={size}"), "-frames:v", "1", *options).read_bytes()


def put(client: Client, channel: Channel, content: bytes) -> Any:
    answer = client.put(f"/api/v1/channels/{channel.slug}/logo", content, "image/png")
    channel.refresh_from_db()
    return answer


def test_a_logo_is_stored_by_its_content_and_can_be_removed(
    admin_client: Client, channel: Channel, tmp_path: Path
) -> None:
    red = picture(tmp_path / "red.png")
    Channel.objects.update(logo_corner="br", logo_width=25)
    assert put(admin_client, channel, red).status_code == 200
    house_format = channel.house_format
    assert house_format.logo is not None
    assert (house_format.logo.corner, house_format.logo.width) == ("br", 25)
    assert storage.read(house_format.logo.key, 0, len(red) + 1) == red
    # Saved by the form, the logo stays.
    form = rows.channel_form(channel) | {"logo_corner": "br", "logo_width": "25"}
    admin_client.post(reverse("admin:streams_channel_change", args=[channel.pk]), form)
    channel.refresh_from_db()
    assert channel.house_format == house_format
    admin_client.delete(f"/api/v1/channels/{channel.slug}/logo")
    channel.refresh_from_db()
    assert channel.house_format == house_format.bare


def test_staff_see_the_logo_that_is_set(
    admin_client: Client, channel: Channel, tmp_path: Path
) -> None:
    address = f"/api/v1/channels/{channel.slug}/logo"
    form = reverse("admin:streams_channel_change", args=[channel.pk])
    assert admin_client.get(address).status_code == 404
    before = admin_client.get(form).content.decode()
    assert f'src="{address}"' not in before
    red = picture(tmp_path / "red.png")
    put(admin_client, channel, red)
    answer = admin_client.get(address)
    assert (answer.content, answer["Content-Type"]) == (red, "image/png")
    assert Client().get(address).status_code == 401
    after = admin_client.get(form).content.decode()
    assert f'src="{address}"' in after
    storage.delete(Logo(channel.logo).key)
    away = admin_client.get(address)
    assert away.status_code == 503
    assert "is not in the media folder" in away.content.decode()


def test_a_buckets_logo_is_not_fetched_by_the_page(
    admin_client: Client, channel: Channel, settings: Settings
) -> None:
    # The address is closed: any request to the bucket fails.
    settings.STORAGE_PROVIDER, settings.STORAGE_BUCKET = "aws", "films"
    settings.STORAGE_ENDPOINT_URL = "http://127.0.0.1:1"
    settings.STORAGE_ACCESS_KEY_ID = "id"
    settings.STORAGE_SECRET_ACCESS_KEY = Secret("hush-hush")
    settings.STORAGES = dict(settings.STORAGES)
    Channel.objects.update(logo="0123456789abcdef")
    answer = admin_client.get(f"/api/v1/channels/{channel.slug}/logo")
    assert answer.status_code == 302
    place, _, signature = answer["Location"].partition("?")
    assert place == "http://127.0.0.1:1/films/logos/0123456789abcdef.png"
    assert "X-Amz-Expires=3600" in signature
    assert answer["Cache-Control"] == "no-cache, private"
    form = admin_client.get(reverse("admin:streams_channel_change", args=[channel.pk]))
    assert "img-src 'self' data: blob: http://127.0.0.1:1" in form["Content-Security-Policy"]


def test_a_concurrent_order_is_not_undone(
    admin_client: Client, channel: Channel, tmp_path: Path
) -> None:
    rows.on_air(channel)
    red = picture(tmp_path / "red.png")
    put(admin_client, channel, red)
    assert channel.logo
    assert channel.desired_state == "on"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("refused", [False, True])
def test_other_writes_continue_while_a_logo_is_stored(
    admin_client: Client,
    channel: Channel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    refused: bool,
) -> None:
    free: list[bool] = []
    upload = storage.upload

    def noted(source: Path, key: str, **options: Any) -> None:
        free.append(others_may_write())
        if refused:
            raise StorageError("The storage does not answer.")
        upload(source, key, **options)

    monkeypatch.setattr(storage, "upload", noted)
    red = picture(tmp_path / "red.png")
    answer = put(admin_client, channel, red)
    assert free == [True]
    assert bool(channel.logo) is not refused
    assert (answer.status_code == 503) is refused


def test_storing_a_logo_needs_the_permission(
    client: Client, channel: Channel, tmp_path: Path, settings: Settings
) -> None:
    client.force_login(user("view_mediaitem"))
    red = picture(tmp_path / "red.png")
    answer = put(client, channel, red)
    assert answer.status_code == 403
    assert not list(settings.MEDIA_ROOT.iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("photo.jpg", "is no PNG"),
        ("broken.png", "is damaged"),
        ("huge.png", "has 5000x16 pixels"),
        ("heavy.png", "more than 2 MB"),
    ],
)
def test_an_invalid_logo_is_refused_with_a_reason(
    name: str, words: str, admin_client: Client, channel: Channel, tmp_path: Path
) -> None:
    match name:
        case "photo.jpg":
            given = picture(tmp_path / name)
        case "broken.png":
            given = picture(tmp_path / name)[:60]
        case "huge.png":
            given = picture(tmp_path / name, "5000x16")
        case _:
            given = picture(tmp_path / name) + bytes(2 << 20)
    answer = put(admin_client, channel, given)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert channel.logo == ""


def test_the_logo_is_burnt_into_its_corner(
    admin_client: Client, channel: Channel, tmp_path: Path
) -> None:
    red = picture(tmp_path / "red.png")
    Channel.objects.update(logo_corner="br", logo_width=25)
    put(admin_client, channel, red)
    clip = make(
        tmp_path / "clip.mp4",
        *lavfi("color=blue:s=320x180:r=30:d=2", "sine=d=2"),
        *("-c:v", "libx264", "-pix_fmt", "yuv420p"),
    )
    item = actions.add_file(clip, title="Blue")
    copy = actions.request_prepare(item, channel.house_format)
    assert HouseFormat.of(copy.house_format) == channel.house_format
    assert tasks.prepare_item(copy.pk).startswith("Ready")
    copy.refresh_from_db()
    at = storage.locate(copy.key)
    assert isinstance(at, LocalFile)
    with av.open(str(at.path)) as container:
        shown = list(container.decode(video=0))
    for frame in (shown[0], shown[-1]):
        # The centre of the logo: 25 % of the width, 4 % of the height from the edges.
        assert is_red(frame, 320 - 7 - 40, 180 - 7 - 20)
        assert not is_red(frame, 20, 20)
        assert not is_red(frame, 160, 90)


def is_red(frame: av.VideoFrame, x: int, y: int) -> bool:
    plane = frame.reformat(format="rgb24").planes[0]
    red, _, blue = bytes(plane)[y * plane.line_size + 3 * x :][:3]
    return red > 150 and blue < 100


def test_a_missing_logo_is_reported_with_the_action_to_take(
    channel: Channel, tmp_path: Path
) -> None:
    clip = make(tmp_path / "clip.mp4", *lavfi("testsrc2=s=96x64:d=1", "sine=d=1"))
    Channel.objects.filter(pk=channel.pk).update(logo="0123456789abcdef")
    channel.refresh_from_db()
    copy = actions.request_prepare(actions.add_file(clip, title="A"), channel.house_format)
    tasks.prepare_item(copy.pk)
    copy.refresh_from_db()
    assert copy.status == PreparedCopy.Status.FAULT
    assert "logo is not in the storage: upload it again" in copy.fault


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_logo_is_chosen_below_the_form(
    browser: Chrome, site: str, channel: Channel, tmp_path: Path
) -> None:
    User.objects.create_superuser("ada", password="correct horse")
    form = reverse("admin:streams_channel_change", args=[channel.pk])
    browser.get(f"{site}{form}")
    seen(browser, "[name=username]").send_keys("ada")
    seen(browser, "[name=password]").send_keys("correct horse")
    seen(browser, "[type=submit]").click()
    picture(tmp_path / "photo.jpg")
    picture(tmp_path / "red.png")
    # The bar with the form's buttons covers the end of the screen.
    bottom = "scrollTo(0, document.body.scrollHeight)"
    seen(browser, "[data-logo]")
    # What is typed above is not lost.
    seen(browser, "[name=name]").send_keys(" 2")
    browser.execute_script(bottom)
    seen(browser, "[data-logo-file]").send_keys(str(tmp_path / "photo.jpg"))
    seen(browser, "[data-logo-put]").click()
    shows_text(browser, "[data-logo-error]", "is no PNG")
    seen(browser, "[data-logo-file]").send_keys(str(tmp_path / "red.png"))
    seen(browser, "[data-logo-put]").click()
    shows_text(browser, "[data-messages]", "The logo is stored.")
    loaded = "return document.querySelector('[data-logo] img').naturalWidth === 64"
    until(lambda: browser.execute_script(loaded), 60, "the logo shows")
    browser.execute_script(bottom)
    seen(browser, "[data-logo-remove]").click()
    shows_text(browser, "[data-messages]", "The logo is removed.")
    assert not words(browser, "[data-logo-remove]")
    assert seen(browser, "[name=name]").get_attribute("value") == f"{channel.name} 2"
    assert all("422" in line for line in complaints(browser))
    channel.refresh_from_db()
    assert channel.logo == ""
