"""Characters that begin a new line or disguise a text are refused wherever they are typed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from media_library.ffmpeg.runner import opened
from media_library.location import SignedUrl
from media_library.models import MediaItem, Playlist
from media_library.playlists.m3u_csv import Row, write_m3u
from media_library.tests.web import web_site
from streams.ingest import keys as stream_keys
from streams.models import Broadcaster, Channel, Output, StreamKey
from streams.playout.contract.live_feed import LiveFeed
from streams.playout.ffmpeg.commands import feed_listing
from streams.tests import rows
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.security.secret import Secret, quoted_url
from streamsite.security.text import control_character, one_line, text_fault

#: A new line (also C1's), a terminal's command, Unicode's separators, overrides, a NUL. Around
#: a text those that are white space are left out, as all white space is.
BAD = (
    *("a\nb", "a\rb", "a\x85b", "\x1b[2Ja", "a\u2028b", "a\u2029b", "a\u202eb", "a\u2066b"),
    "a\0b",
)


@pytest.mark.parametrize("text", BAD)
def test_what_has_no_place_in_a_name(text: str) -> None:
    assert "U+" in text_fault(text)
    assert text_fault(one_line(text)) == ""


@pytest.mark.parametrize(
    "text",
    ["", "Café – 4711", "日本語\u3000番組", "a\u00a0b", "👩\u200d🚀", "عربي", "\u200fعربي"],
)
def test_what_people_write(text: str) -> None:
    assert control_character(text) == ""


def test_a_playlists_lines_are_its_own() -> None:
    row = Row(key="a.mp4", title="One\n#EXTINF:1,Two\x85\x1b[2J", seconds=None)
    text = write_m3u("Night\nx", [row])
    assert text.splitlines() == [
        "#EXTM3U", "#PLAYLIST:Night x", "#EXTINF:-1,One #EXTINF:1,Two [2J", "a.mp4"
    ]  # fmt: skip


# ---- forms and API ---------------------------------------------------------------------------


@pytest.fixture
def api(db: None) -> Any:
    _, key = keys.mint("tests", KeyPermission.ADMIN, by="ada", now=timezone.now())
    client = Client(headers={"X-API-Key": key.reveal()})

    def post(path: str, body: dict[str, object]) -> tuple[int, str]:
        answer = client.post(f"/api/v1/{path}", body, content_type="application/json")
        return answer.status_code, answer.content.decode()

    return post


@pytest.mark.parametrize("text", BAD)
def test_a_stream_key_in_the_api(api: Any, text: str) -> None:
    rows.channel()
    new = {"channel": "demo", "name": "Main", "platform": "youtube", "key": text}
    status, output = api("outputs", new)
    assert status in {400, 422}
    assert "control character" in output or "NUL" in output
    assert not Output.objects.exists()


@pytest.mark.parametrize("text", BAD[:-1])
def test_a_stream_key_in_the_form(admin_client: Client, text: str) -> None:
    new = {"channel": rows.channel().pk, "name": "Main", "platform": "youtube", "key": text}
    page = admin_client.post(reverse("admin:streams_output_add"), new)
    assert page.status_code == 200
    assert "control character" in page.content.decode()
    assert not Output.objects.exists()


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("channels", {"slug": "news"}),
        ("playlists", {}),
        ("broadcasters", {"slug": "ada"}),
        ("tags", {}),
        ("webhooks", {"url": "https://crm.example.org/in", "events": ["channel.on_air"]}),
    ],
)
def test_names_in_the_api(api: Any, path: str, body: dict[str, object], text: str) -> None:
    status, output = api(path, body | {"name": text})
    assert status in {400, 422}
    assert "control character" in output or "NUL" in output
    for model in (Channel, Playlist, Broadcaster):
        assert not model._default_manager.exists()


@pytest.mark.parametrize("text", BAD[:-1])
def test_names_in_forms(admin_client: Client, text: str) -> None:
    channel = rows.channel()
    form = rows.channel_form(channel) | {"name": text, "logo_corner": "br", "logo_width": "9"}
    where = reverse("admin:streams_channel_change", args=[channel.pk])
    assert "control character" in admin_client.post(where, form).content.decode()
    ada = Broadcaster.objects.create(name="Ada", slug="ada")
    mint = reverse("mint-key", args=[ada.pk])
    page = admin_client.post(mint, {"label": text}, follow=True).content.decode()
    assert "control character" in page
    assert not StreamKey.objects.exists()
    assert Channel.objects.get().name == channel.name


@pytest.mark.django_db
def test_rows_are_checked_whoever_writes_them() -> None:
    ada = Broadcaster.objects.create(name="Ada", slug="ada")
    key, _ = stream_keys.mint(ada, by="test", now=timezone.now())
    for row, field in (
        (MediaItem(key="a.mp4"), "title"), (rows.channel(), "name"), (ada, "name"),
        (Playlist(), "name"), (key, "label"), (rows.block(rows.channel("b")), "name"),
    ):  # fmt: skip
        setattr(row, field, "x\u202ey")
        with pytest.raises(ValidationError) as result:
            row.full_clean()
        assert "U+202E" in str(result.value.message_dict[field])
    # A file may be named so: its key is what the storage says.
    MediaItem(key="odd\x1b.mp4", title="Odd").full_clean(exclude=["status"])


# ---- lists that FFmpeg reads -----------------------------------------------------------------


def test_an_address_is_one_line() -> None:
    url = quoted_url("http://h/a'b\nc\x00d\u2028e?x=1%20&y=é")
    assert url == "http://h/a%27b%0Ac%00d%E2%80%A8e?x=1%20&y=é"


@pytest.mark.parametrize("writer", ["live feed", "signed address"])
def test_a_line_break_adds_no_line_to_ffmpegs_list(
    writer: str, tmp_path: Path, ffmpeg: str
) -> None:
    with web_site(tmp_path) as site:
        evil = f"{site.url('a.ts')}\nfile '{site.url('other.ts')}'\noption x 1\nfile 'y"
        if writer == "signed address":
            with opened(SignedUrl(Secret(evil))) as source:
                run(source.args, source.descriptors)
        else:
            feed = LiveFeed(1, 1, "Ada", Secret(evil), 0.0)
            reader, end = os.pipe()
            with os.fdopen(end, "w") as out:
                out.write(feed_listing(feed))
            allowed = ("-protocol_whitelist", "file,pipe,http,tcp")
            run(("-f", "concat", "-safe", "0", *allowed, "-i", f"/dev/fd/{reader}"), (reader,))
            os.close(reader)
        # The list was read, and its one file asked for by its whole name.
        assert {path.partition("\n")[0] for path in site.requests} == {"/a.ts"}
        assert all("\nfile '" in path for path in site.requests)


def run(arguments: tuple[str, ...], descriptors: tuple[int, ...]) -> None:
    argv = (project.FFMPEG_PATH, "-nostdin", "-v", "error", *arguments, "-f", "null", "-")
    subprocess.run(argv, pass_fds=descriptors, check=False, capture_output=True, timeout=60)
