"""Pages and their JSON."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as project
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from streams.models import AsRun, Channel, Incident, LogLine, OutputState, Sample
from streams.monitoring import thumbnail
from streams.tests import rows
from streamsite.tests.waiting import until

pytestmark = pytest.mark.django_db

STATUSES = "/api/v1/channel-statuses"
DEMO = "/api/v1/channels/demo"


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


@pytest.fixture
def browser(client: Client) -> Client:
    client.force_login(rows.operator())
    return client


@pytest.fixture
def demo() -> Channel:
    channel = rows.channel()
    rows.output(channel)
    rows.node()
    return channel


# ---- control room and channel's page ---------------------------------------------------------


def test_the_first_page_is_the_control_room(browser: Client, demo: Channel) -> None:
    rows.on_air(demo)
    Incident.objects.create(
        channel=demo,
        subject="output-1",
        severity="lost",
        cause="The network was away.",
        opened_at=timezone.now(),
    )
    page = browser.get("/admin/").content.decode()
    for seen in ("Control room", "On air", "First", "Second", "2.90 Mbit/s", "1:0"):
        assert seen in page
    assert "The network was away." in page
    assert 'data-picture="/api/v1/channels/demo/picture.jpg"' in page
    shown = re.findall(r'data-verb="(\w+)"[^>]*?>', page)
    assert shown == ["start", "skip", "restart", "stop"]
    assert re.search(r'data-verb="start"[^>]*hidden', page, re.DOTALL)


def test_without_a_channel_the_page_shows_the_first_step(browser: Client) -> None:
    assert "No channel yet" in browser.get("/admin/").content.decode()


def test_pages_have_no_inline_scripts(browser: Client, demo: Channel) -> None:
    for url in ("/admin/", "/admin/monitor/demo/"):
        page = browser.get(url).content.decode()
        ours = page[
            page.index('class="sx"') : page.index('id="modal') if 'id="modal' in page else None
        ]
        assert "<script" not in ours
        assert " onclick=" not in page


def test_the_channels_page_shows_findings(browser: Client) -> None:
    rows.channel(playlist=None)
    page = browser.get("/admin/monitor/demo/").content.decode()
    assert "It can&#x27;t go on air yet" in page or "The channel can't go on air yet" in page
    assert "Demo has no playlist" in page


def test_a_resumed_item_shows_its_in_point_and_rule(browser: Client, demo: Channel) -> None:
    run = rows.on_air(demo)
    block = rows.block(demo, "Matinee")
    now = timezone.now()
    AsRun.objects.create(
        run=run,
        title="Film",
        started_at=now - timedelta(minutes=2),
        ended_at=now,
        ending="whole",
        in_point=36.4,
        rule=f"block-{block.pk}",
    )
    shown = " ".join(browser.get("/channels/demo/panels").content.decode().split())
    assert 'Film <span class="sx-tag">from 0:36</span>' in shown
    assert '<span class="sx-rule">Matinee</span>' in shown
    browser.force_login(rows.user("streams.view_asrun", name="bob"))
    listed = browser.get("/admin/streams/asrun/").content.decode()
    assert "Matinee" in listed
    assert "0:36" in listed


def test_the_channels_page_shows_recent_history(browser: Client, demo: Channel) -> None:
    run = rows.on_air(demo)
    now = timezone.now()
    AsRun.objects.create(run=run, title="First", started_at=now)
    AsRun.objects.create(
        run=run,
        title="We'll be right back",
        kind="slate",
        started_at=now - timedelta(minutes=1),
        ended_at=now,
        ending="whole",
    )
    Incident.objects.create(
        channel=demo,
        subject="programme",
        severity="degraded",
        cause="A source was skipped.",
        opened_at=now - timedelta(minutes=1),
        closed_at=now,
    )
    for seconds in (20, 10):
        Sample.objects.create(
            channel=demo,
            role="hub",
            at=now - timedelta(seconds=seconds),
            state="running",
            bitrate=3_000_000 + seconds,
            fps=30,
            speed=1.0,
            cpu_percent=0.4,
            memory_bytes=57_000_000,
        )
    for url in ("/admin/monitor/demo/", "/channels/demo/panels"):
        page = browser.get(url).content.decode()
        for seen in (
            "We&#x27;ll be right back",
            "Slate",
            "A source was skipped.",
            "57 MB",
            "<polyline",
        ):
            assert seen in page


def test_the_verdict_does_not_repeat_the_cause(browser: Client, demo: Channel) -> None:
    rows.on_air(demo)
    OutputState.objects.update(state="failing", cause="The server hung up.")
    verdict = re.compile(r'data-level="down"( hidden)?>Down: The server hung up.')
    for url in ("/admin/", "/admin/monitor/demo/"):
        assert verdict.findall(browser.get(url).content.decode()) == [" hidden"], url
    OutputState.objects.update(cause="")
    page = browser.get("/admin/monitor/demo/").content.decode()
    assert re.search(r'data-level="down">Down: It is not sent', page)


def test_no_page_contains_the_key(browser: Client, demo: Channel) -> None:
    rows.on_air(demo)
    for url in (
        "/admin/",
        "/admin/monitor/demo/",
        STATUSES,
        "/channels/demo/panels",
    ):
        assert rows.KEY not in browser.get(url).content.decode()


@pytest.mark.parametrize("url", ["/admin/monitor/demo/", "/channels/demo/panels"])
def test_pages_need_a_login(client: Client, demo: Channel, url: str) -> None:
    assert client.get(url)["Location"].startswith("/admin/login/?next=/")
    client.force_login(rows.user(name="clerk"))
    assert client.get(url).status_code == 403


# ---- JSON ------------------------------------------------------------------------------------


def test_an_unchanged_status_is_304(browser: Client, demo: Channel) -> None:
    rows.on_air(demo)
    first = browser.get(STATUSES)
    assert first.json()["channels"][0]["state"] == "on_air"
    again = browser.get(STATUSES, headers={"if-none-match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    Channel.objects.update(desired_state="off")
    changed = browser.get(STATUSES, headers={"if-none-match": first["ETag"]})
    assert changed.status_code == 200
    assert browser.get(f"{STATUSES}?channel=none").status_code == 404


def test_the_log_continues_after_the_last_line(browser: Client, demo: Channel) -> None:
    for number in range(3):
        LogLine.objects.create(
            channel=demo, at=timezone.now(), role="hub", level="info", text=f"[FFMPEG] {number}"
        )
    other = rows.channel("other")
    LogLine.objects.create(
        channel=other, at=timezone.now(), role="hub", level="info", text="no"
    )
    log = f"{DEMO}/log"
    lines = browser.get(log).json()["items"]
    assert [line["text"] for line in lines] == ["[FFMPEG] 2", "[FFMPEG] 1", "[FFMPEG] 0"]
    later = browser.get(f"{log}?after={lines[2]['id']}").json()["items"]
    assert [line["text"] for line in later] == ["[FFMPEG] 2", "[FFMPEG] 1"]


# ---- preview ---------------------------------------------------------------------------------


@pytest.fixture
def segment(demo: Channel) -> Path:
    """A real segment as written by the hub."""
    hls = thumbnail.folder(demo.pk) / "hls"
    hls.mkdir(parents=True)
    made = hls / "live0.ts"
    # fmt: off
    subprocess.run(
        [
            project.FFMPEG_PATH, "-v", "error",
            "-f", "lavfi", "-i", "testsrc2=s=640x360:d=1:r=25",
            "-c:v", "libx264", "-preset", "ultrafast", "-f", "mpegts", str(made),
        ],
        check=True,
    )
    # fmt: on
    (hls / "live.m3u8").write_text("#EXTM3U\n")
    (hls / "live.m3u8.tmp").write_text("half")
    return made


def test_the_preview_is_served(browser: Client, segment: Path) -> None:
    playlist = browser.get(f"{DEMO}/preview.m3u8")
    assert playlist["Content-Type"] == "application/vnd.apple.mpegurl"
    assert playlist["Cache-Control"] == "no-store"
    assert playlist.getvalue() == b"#EXTM3U\n"
    piece = browser.get(f"{DEMO}/preview/live0.ts", headers={"accept-encoding": "gzip"})
    assert piece["Content-Type"] == "video/mp2t"
    assert piece.getvalue() == segment.read_bytes()


@pytest.mark.parametrize(
    "name", ["live.m3u8.tmp", "..%2frecord.json", "../secret_key", ".ts", "a/b.ts", "live9.ts"]
)
def test_other_files_of_the_run_directory_are_not_served(
    browser: Client, segment: Path, name: str
) -> None:
    assert browser.get(f"{DEMO}/preview/{name}").status_code == 404


def test_nginx_sends_the_preview_if_configured(
    browser: Client, segment: Path, settings: Settings
) -> None:
    settings.HLS_ACCEL = True
    answer = browser.get(f"{DEMO}/preview/live0.ts")
    channel = Channel.objects.get()
    assert answer["X-Accel-Redirect"] == f"/_run/channel-{channel.pk}/hls/live0.ts"
    assert answer.content == b""


def test_the_picture_is_made_once_in_ten_seconds(
    browser: Client, segment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A page waits one second, which may be too short on a busy machine.
    monkeypatch.setattr(thumbnail, "PAGE_WAIT_S", 60)
    answer = browser.get(f"{DEMO}/picture.jpg")
    first = answer.getvalue()
    assert answer["Content-Type"] == "image/jpeg"
    assert first.startswith(b"\xff\xd8")
    kept = segment.parent / "picture.jpg"
    assert kept.stat().st_size == len(first)
    kept.write_bytes(b"as it was")
    assert browser.get(f"{DEMO}/picture.jpg").getvalue() == b"as it was"


def test_a_hanging_ffmpeg_blocks_few_pages(
    segment: Path, demo: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, made = threading.Event(), []

    def hangs(of: Path, into: Path) -> None:
        made.append(of)
        go_on.wait(60)
        into.write_bytes(b"new")

    monkeypatch.setattr(thumbnail, "_make", hangs)
    monkeypatch.setattr(thumbnail, "PAGE_WAIT_S", 60)
    old = segment.parent / "picture.jpg"
    old.write_bytes(b"old")
    past = timezone.now().timestamp() - thumbnail.PICTURE_TTL_S - 1
    os.utime(old, (past, past))
    with ThreadPoolExecutor(20) as many:
        pending = [many.submit(thumbnail.picture, demo.pk) for _ in range(20)]
        # Four pages wait; the others show the last picture.
        until(lambda: sum(future.done() for future in pending) >= 16, 60, "most are answered")
        assert {future.result() for future in pending if future.done()} == {old}
        assert old.read_bytes() == b"old"
        go_on.set()
        assert {future.result() for future in pending} == {old}
    assert old.read_bytes() == b"new"
    assert made == [segment]


def test_without_a_picture_there_is_none(browser: Client, demo: Channel) -> None:
    assert browser.get(f"{DEMO}/picture.jpg").status_code == 404


def test_an_old_segment_makes_no_picture(segment: Path, demo: Channel) -> None:
    hour_ago = timezone.now().timestamp() - 3600
    os.utime(segment, (hour_ago, hour_ago))
    assert thumbnail.picture(demo.pk) is None
