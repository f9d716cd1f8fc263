"""The library in a real browser: upload, search, ordering, saving."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from media_library.models import MediaItem, Playlist, PlaylistEntry, SyncRun
from media_library.tests.clips import lavfi, make
from streamsite.tests.browsing import browser, complaints, seen, shows_text, site, words
from streamsite.tests.waiting import until

__all__ = ["browser", "site"]

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def inside(browser: Chrome, site: str) -> Iterator[str]:
    """Logs in as a superuser; returns the address."""
    User.objects.create_superuser("ada", password="correct horse")
    log_in(browser, site)
    yield site
    # An editor with changes asks before it is left, which would block the next test.
    browser.execute_script("window.onbeforeunload = null")


def log_in(browser: Chrome, site: str) -> None:
    browser.get(f"{site}/admin/login/")
    seen(browser, "[name=username]").send_keys("ada")
    seen(browser, "[name=password]").send_keys("correct horse")
    seen(browser, "[type=submit]").click()
    seen(browser, ".sx-empty")


def shot(browser: Chrome, name: str) -> None:
    """Saves a screenshot in the folder SHOTS, if it is set: for changes of the pages."""
    if folder := os.environ.get("SHOTS"):
        browser.save_screenshot(f"{folder}/{name}.png")


def screen(browser: Chrome, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def too_wide(browser: Chrome) -> list[str]:
    """Returns elements of ours beyond the right edge."""
    classes: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('.sx *')].filter((e) => e.checkVisibility() && "
        "e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.sx-scroll, .sx-vh')"
        ").map((e) => e.className || e.tagName)"
    )
    return classes


def items(*titles: str, **fields: object) -> list[MediaItem]:
    return [
        MediaItem.objects.create(
            key=f"shows/{title.lower()}.mp4",
            title=title,
            **{"status": "ready", "duration_seconds": 60 * n, "audio_codec": "aac"} | fields,
        )
        for n, title in enumerate(titles, 1)
    ]


def order(browser: Chrome) -> list[str]:
    titles: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('[data-order] .lib-title')]"
        ".map((e) => e.textContent)"
    )
    return titles


def picked(browser: Chrome) -> list[str]:
    titles: list[str] = browser.execute_script(
        "return [...document.querySelectorAll('[data-items-list] .lib-title')]"
        ".map((e) => e.textContent)"
    )
    return titles


def drag(browser: Chrome, source: WebElement, target: WebElement, below: int = 0) -> None:
    """Drags like a hand: HTML's drag and drop begins only after some distance."""
    actions = ActionChains(browser, duration=60)
    actions.move_to_element(source).click_and_hold().move_by_offset(0, 8)
    actions.move_to_element_with_offset(target, 0, below).move_by_offset(0, 2)
    actions.pause(0.1).release().perform()


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_file_is_uploaded_and_becomes_an_item(  # noqa: PLR0917 - fixtures
    request: pytest.FixtureRequest,
    browser: Chrome,
    inside: str,
    settings: Settings,
    tmp_path: Path,
    ffmpeg: str,
    kind: str,
) -> None:
    request.getfixturevalue(kind)
    # 12 MiB of noise: two parts.
    noise = lavfi("nullsrc=s=640x360:r=25:d=6,geq=random(1)*255:128:128")
    clip = make(tmp_path / "A long film.mp4", *noise, "-c:v", "mjpeg", "-q:v", "2", "-f", "mov")
    assert clip.stat().st_size > 9_000_000
    browser.get(f"{inside}/admin/media/upload/?folder=films")
    shot(browser, f"upload-{kind}-before")
    browser.find_element(By.CSS_SELECTOR, "[data-drop] input").send_keys(str(clip))
    until(
        lambda: words(browser, ".lib-file[data-state=done], .lib-file[data-state=fault]"),
        60,
        "the file is up",
    )
    shot(browser, f"upload-{kind}")
    shows_text(browser, ".lib-file", "In the library")
    item = MediaItem.objects.get()
    assert (item.key, item.title) == ("films/A long film.mp4", "A long film")
    assert item.size_bytes == clip.stat().st_size
    assert complaints(browser) == []


def test_items_are_searched_ordered_and_saved(browser: Chrome, inside: str) -> None:
    items("Alpha", "Beta", "Gamma", "Delta")
    broken = items("Broken", status="fault", fault="It ends in the middle: upload it again.")[0]
    playlist = Playlist.objects.create(name="Evening")
    first = PlaylistEntry.objects.create(playlist=playlist, item=broken, position=1)
    browser.get(f"{inside}/admin/media_library/playlist/{playlist.pk}/change/")
    until(lambda: order(browser) == ["Broken"], 60, "the order is drawn")
    shows_text(browser, "[data-warning]", "1 item has a fault")

    search = seen(browser, "[data-q=q]")
    search.send_keys("alp")
    until(lambda: picked(browser) == ["Alpha"], 60, "the search has an answer")
    ActionChains(browser).double_click(seen(browser, "[data-items-list] .lib-row")).perform()
    until(lambda: order(browser) == ["Broken", "Alpha"], 60, "a double click adds it")

    search.send_keys(Keys.CONTROL, "a", Keys.DELETE)
    until(lambda: len(picked(browser)) == 5, 60, "all are there again")
    rows = browser.find_elements(By.CSS_SELECTOR, "[data-items-list] .lib-row")
    assert picked(browser) == ["Broken", "Delta", "Gamma", "Beta", "Alpha"]
    rows[1].click()
    ActionChains(browser).key_down(Keys.SHIFT).click(rows[3]).key_up(Keys.SHIFT).perform()
    add = seen(browser, "[data-add]")
    assert add.text == "Add 3"
    add.click()
    assert order(browser) == ["Broken", "Alpha", "Delta", "Gamma", "Beta"]
    # 60 s each for Broken and Alpha, then 240, 180 and 120.
    shows_text(browser, "[data-total]", "5 items, 11:00")

    placed = browser.find_elements(By.CSS_SELECTOR, "[data-order] .lib-row")
    drag(browser, placed[4], placed[0], -20)
    until(lambda: order(browser)[0] == "Beta", 60, "it was dragged to the top")
    from_library = browser.find_elements(By.CSS_SELECTOR, "[data-items-list] .lib-row")[4]
    drag(browser, from_library, seen(browser, "[data-order] .lib-row"), -20)
    expected = ["Alpha", "Beta", "Broken", "Alpha", "Delta", "Gamma"]
    until(lambda: order(browser) == expected, 60, "the same item stands twice")
    up = browser.find_elements(By.CSS_SELECTOR, "[data-order] [aria-label='Move up: Gamma']")
    up[0].send_keys(Keys.ENTER)
    expected[4:] = ["Gamma", "Delta"]
    assert order(browser) == expected
    shot(browser, "editor-1440")

    seen(browser, "[data-save-order]").click()
    shows_text(browser, "[data-state]", "Saved.")
    browser.refresh()
    until(lambda: order(browser) == expected, 60, "the order is as it was saved")
    shows_text(browser, "[data-total]", "6 items, 12:00")
    assert [entry.item.title for entry in playlist.entries.all()] == expected
    assert playlist.entries.filter(pk=first.pk, item=broken).exists()
    assert complaints(browser) == []


def test_concurrent_changes_of_a_playlist_are_detected(browser: Chrome, inside: str) -> None:
    alpha, _ = items("Alpha", "Beta")
    playlist = Playlist.objects.create(name="Evening")
    PlaylistEntry.objects.create(playlist=playlist, item=alpha, position=1)
    browser.get(f"{inside}/admin/media_library/playlist/{playlist.pk}/change/")
    until(lambda: order(browser) == ["Alpha"], 60, "the order is drawn")
    until(lambda: len(picked(browser)) == 2, 60, "the library is there")
    ActionChains(browser).double_click(seen(browser, "[data-items-list] .lib-row")).perform()
    Playlist.objects.filter(pk=playlist.pk).update(version=7)
    seen(browser, "[data-save-order]").click()
    shows_text(browser, "[data-state]", "The playlist was changed meanwhile")
    # The changed order is still visible.
    assert order(browser) == ["Alpha", "Beta"]
    assert playlist.entries.count() == 1


def opened(browser: Chrome, inside: str, playlist: Playlist, *there: str) -> None:
    """Opens the editor with its order, and adds one item."""
    browser.get(f"{inside}/admin/media_library/playlist/{playlist.pk}/change/")
    until(lambda: order(browser) == [*there], 60, "the order is drawn")
    until(lambda: len(picked(browser)) > 0, 60, "the library is there")
    ActionChains(browser).double_click(seen(browser, "[data-items-list] .lib-row")).perform()


@pytest.mark.parametrize("button", ["_save", "_continue"])
def test_the_admins_save_stores_the_order_as_well(
    browser: Chrome, inside: str, button: str
) -> None:
    items("Alpha")
    playlist = Playlist.objects.create(name="Evening")
    opened(browser, inside, playlist)
    name = seen(browser, "[name=name]")
    name.send_keys(" films")
    # The driver confirms leaving the page; this records whether it was asked.
    browser.execute_script(
        "addEventListener('beforeunload', (e) => (sessionStorage.stops = e.defaultPrevented))"
    )
    seen(browser, f"[name={button}]").click()
    shows_text(browser, "body", "changed successfully")
    assert browser.execute_script("return sessionStorage.stops") == "false"
    playlist.refresh_from_db()
    assert playlist.name == "Evening films"
    assert [entry.item.title for entry in playlist.entries.all()] == ["Alpha"]
    assert ("/change/" in browser.current_url) == (button == "_continue")
    assert complaints(browser) == []


def test_the_admins_save_loses_no_order_that_can_not_be_stored(
    browser: Chrome, inside: str
) -> None:
    items("Alpha")
    playlist = Playlist.objects.create(name="Evening")
    opened(browser, inside, playlist)
    Playlist.objects.filter(pk=playlist.pk).update(version=7)
    seen(browser, "[name=name]").send_keys(" films")
    seen(browser, "[name=_save]").click()
    refusal = "The playlist was changed meanwhile"
    shows_text(browser, "[data-state]", refusal)
    shot(browser, "editor-refused")
    assert order(browser) == ["Alpha"]
    assert seen(browser, "[name=name]").get_attribute("value") == "Evening films"
    playlist.refresh_from_db()
    assert (playlist.name, playlist.entries.count()) == ("Evening", 0)


@pytest.mark.usefixtures("folder")
def test_a_refused_upload_can_not_be_resumed(
    browser: Chrome, inside: str, tmp_path: Path
) -> None:
    for name in ("empty.mp4", "letter.txt"):
        (tmp_path / name).write_text("" if name == "empty.mp4" else "Dear Sir or Madam")
        browser.get(f"{inside}/admin/media/upload/")
        chosen = browser.find_element(By.CSS_SELECTOR, "[data-drop] input")
        chosen.send_keys(str(tmp_path / name))
        why = "is empty" if name == "empty.mp4" else "is not supported"
        shows_text(browser, ".lib-file .lib-fault", why, 60)
        shot(browser, f"upload-refused-{name}")
        shown = [
            button.text for button in browser.find_elements(By.CSS_SELECTOR, ".lib-file button")
        ]
        assert [text for text in shown if text] == ["Cancel"]


@pytest.mark.parametrize("width", [1440, 390])
def test_no_page_of_the_library_is_too_wide(
    browser: Chrome, inside: str, folder: Path, width: int
) -> None:
    long = "A title that goes on for quite a while " * 4
    item = items(long, status="fault", fault="It ends in the middle. " * 5)[0]
    items(*(f"Item {n}" for n in range(30)))
    playlist = Playlist.objects.create(name="Evening")
    PlaylistEntry.objects.create(playlist=playlist, item=item, position=1)
    run = SyncRun.objects.create(
        status="stopped",
        fault="All 31 items would go: the storage is empty, it seems. Look at STORAGE_BUCKET.",
        differences=[["absent", f"shows/{long}.mp4"]],
        ended_at=timezone.now(),
    )
    screen(browser, width)
    pages = {
        "items": "/admin/media_library/mediaitem/",
        "folder": "/admin/media_library/mediaitem/?folder=shows&status=fault",
        "item": f"/admin/media_library/mediaitem/{item.pk}/change/",
        "playlists": "/admin/media_library/playlist/",
        "editor": f"/admin/media_library/playlist/{playlist.pk}/change/",
        "upload": "/admin/media/upload/",
        "syncs": "/admin/media_library/syncrun/",
        "sync": f"/admin/media_library/syncrun/{run.pk}/change/",
        "import": "/admin/media/import/",
    }
    for name, page in pages.items():
        browser.get(inside + page)
        seen(browser, ".sx, #content-main")
        if name == "editor":
            until(lambda: len(picked(browser)) > 20, 60, "the library is there")
        shot(browser, f"{name}-{width}")
        assert too_wide(browser) == [], name
    assert complaints(browser) == []


def test_a_playlist_of_thousands_stays_usable(browser: Chrome, inside: str) -> None:
    MediaItem.objects.bulk_create(
        MediaItem(key=f"{n:05}.mp4", title=f"Item {n}", status="ready", duration_seconds=60)
        for n in range(5000)
    )
    playlist = Playlist.objects.create(name="Long")
    PlaylistEntry.objects.bulk_create(
        PlaylistEntry(playlist=playlist, item_id=pk, position=n)
        for n, pk in enumerate(MediaItem.objects.order_by("key").values_list("pk", flat=True))
    )
    browser.get(f"{inside}/admin/media_library/playlist/{playlist.pk}/change/")
    shows_text(browser, "[data-total]", "5000 items", 30)
    down = browser.find_element(
        By.CSS_SELECTOR, "[data-order] [aria-label='Move down: Item 0']"
    )
    down.send_keys(Keys.ENTER)
    seen(browser, "[data-save-order]").click()
    shows_text(browser, "[data-state]", "Saved.", 30)
    assert [entry.item.title for entry in playlist.entries.all()[:2]] == ["Item 1", "Item 0"]


def test_a_list_is_imported_and_the_file_stays_chosen(
    browser: Chrome, inside: str, folder: Path, tmp_path: Path
) -> None:
    items("Alpha", "Beta")
    (tmp_path / "list.m3u").write_text("#EXTM3U\nshows/alpha.mp4\nnone.mp4\nshows/beta.mp4\n")
    (tmp_path / "latin.csv").write_bytes("key,title\nshows/alpha.mp4,Ä\n".encode("latin-1"))
    browser.get(f"{inside}/admin/media/import/")
    seen(browser, "[name=file]").send_keys(str(tmp_path / "latin.csv"))
    seen(browser, ".sx-start").click()
    shows_text(browser, "[data-error]", "is not UTF-8")
    seen(browser, "[name=file]").send_keys(str(tmp_path / "list.m3u"))
    seen(browser, "[name=name]").send_keys("Night")
    seen(browser, "[name=dry]").click()
    seen(browser, ".sx-start").click()
    shows_text(browser, "[data-outcome]", "2 lines matched")
    shows_text(browser, "[data-problems]", "Line 3: none.mp4 is not in the library")
    assert not Playlist.objects.exists()
    seen(browser, "[name=dry]").click()
    seen(browser, ".sx-start").click()
    shows_text(browser, "[data-outcome]", "Done")
    shows_text(browser, "[data-counts] a", "Night")
    assert Playlist.objects.get().entries.count() == 2
    assert complaints(browser) == []


def test_buttons_send_their_request_and_show_the_answer(
    browser: Chrome, inside: str, folder: Path
) -> None:
    (item,) = items("Alpha")
    browser.get(f"{inside}/admin/media_library/mediaitem/{item.pk}/change/")
    seen(browser, ".lib-item [data-api]").click()
    shows_text(browser, "[data-messages]", "The file will be inspected.")
    item.refresh_from_db()
    assert item.status == "new"
    browser.get(f"{inside}/admin/media_library/syncrun/")
    seen(browser, "[data-test]").click()
    shows_text(browser, "[data-checks]", "Delete")
    seen(browser, ".sx-start").click()
    shows_text(browser, "[data-messages]", "The sync begins.")
    assert SyncRun.objects.get().started_by == "ada"
    shows_text(browser, "[data-sync] h2", "Running")
    assert complaints(browser) == []
    # The login ends while the page is open. After a login in another tab the page goes on.
    browser.get(f"{inside}/admin/media_library/mediaitem/{item.pk}/change/")
    browser.delete_cookie("sessionid")
    seen(browser, ".lib-item [data-api]").click()
    shows_text(browser, "[data-messages]", "log in again in another tab")
    page = browser.current_window_handle
    browser.switch_to.new_window("tab")
    log_in(browser, inside)
    browser.close()
    browser.switch_to.window(page)
    MediaItem.objects.update(status="ready")
    seen(browser, ".lib-item [data-api]").click()
    shows_text(browser, "[data-messages]", "The file will be inspected.")
    # The permission is withdrawn while the page is open.
    browser.get(f"{inside}/admin/media_library/mediaitem/{item.pk}/change/")
    button = seen(browser, ".lib-item [data-api]")
    User.objects.update(is_superuser=False)
    button.click()
    shows_text(browser, "[data-messages]", "You have no permission to do that.")
