"""Broadcasters, keys and live streams: in the admin, as JSON and by command."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from streams.ingest import addresses, keys, report
from streams.models import Broadcaster, IngestServer, LiveStream, StreamKey
from streams.tests import rows
from streamsite.accounts.models import AuditEntry
from streamsite.security.secret import Secret

pytestmark = pytest.mark.django_db

KEY = re.compile(r"<code data-key>([A-Za-z0-9_-]{32})</code>")
READ = "read-token-of-the-test"


@pytest.fixture(autouse=True)
def mediamtx(settings: Settings) -> None:
    settings.INGEST_SERVER = "mediamtx"
    settings.PUBLIC_INGEST_URL = "rtmp://live.example.org"
    settings.PUBLIC_PLAYBACK_URL = "https://watch.example.org"
    settings.INGEST_READ_TOKEN = Secret(READ)
    # Port 9 is closed.
    settings.INGEST_API_URL = "http://127.0.0.1:9"


@pytest.fixture
def boss(client: Client) -> Client:
    user = rows.user(name="boss")
    user.is_superuser = True
    user.save()
    client.force_login(user)
    return client


@pytest.fixture
def ada() -> Broadcaster:
    return Broadcaster.objects.create(name="Ada", slug="ada")


def mint(client: Client, ada: Broadcaster, **fields: Any) -> str:
    answer = client.post(f"/admin/live/broadcasters/{ada.pk}/mint/", fields)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    match = KEY.search(answer.content.decode())
    assert match
    return match[1]


def stream(ada: Broadcaster, **fields: Any) -> LiveStream:
    usual: dict[str, Any] = {
        "server": "mediamtx",
        "path": ada.path,
        "source_id": "s1",
        "broadcaster": ada,
    }
    usual |= {"started_at": timezone.now() - timedelta(minutes=1)}
    usual |= {"source_type": "rtmpConn", "bitrate": 2_500_000, "tracks": ["H264", "AAC"]}
    return LiveStream.objects.create(**usual | fields)


# ---- keys ------------------------------------------------------------------------------------
def test_a_key_is_shown_once_and_never_stored(boss: Client, ada: Broadcaster) -> None:
    key = mint(boss, ada, label="OBS at home", single_use="on")
    row = StreamKey.objects.get()
    assert (row.label, row.single_use, row.created_by) == ("OBS at home", True, "boss")
    assert row.digest == keys.digest(Secret(key))
    assert key.startswith(row.prefix)
    assert key not in repr(list(StreamKey.objects.values()))
    assert key not in repr(list(LogEntry.objects.values()))
    assert "minted" in LogEntry.objects.get().change_message
    for page in (
        f"/admin/streams/broadcaster/{ada.pk}/change/",
        f"/admin/streams/broadcaster/{ada.pk}/history/",
        "/admin/streams/streamkey/",
        f"/admin/streams/streamkey/{row.pk}/change/",
    ):
        answer = boss.get(page)
        assert answer.status_code == 200, page
        text = answer.content.decode()
        assert key not in text
        assert row.digest not in text
        assert row.prefix in text


def test_the_page_has_settings_ready_to_copy(boss: Client, ada: Broadcaster) -> None:
    answer = boss.post(f"/admin/live/broadcasters/{ada.pk}/mint/")
    text = answer.content.decode()
    match = KEY.search(text)
    assert match
    key = match[1]
    for setting in (
        "rtmp://live.example.org/live",
        f"ada?token={key}",
        f"rtmp://live.example.org/live/ada?token={key}",
        f"srt://live.example.org:8890?streamid=publish:live/ada:u:{key}&amp;pkt_size=1316",
        "http://live.example.org:8889/live/ada/whip",
    ):
        assert f"<code>{setting}</code>" in text, setting


def test_an_expiry_in_the_past_is_refused(boss: Client, ada: Broadcaster) -> None:
    answer = boss.post(
        f"/admin/live/broadcasters/{ada.pk}/mint/",
        {"expires_at": "2020-01-01T00:00"},
        follow=True,
    )
    assert "That time has passed." in answer.content.decode()
    assert not StreamKey.objects.exists()


def test_revoking_needs_confirmation_and_reports_the_result(
    boss: Client, ada: Broadcaster
) -> None:
    mint(boss, ada)
    row = StreamKey.objects.get()
    live = stream(ada, key=row)
    address = f"/admin/live/keys/{row.pk}/revoke/"
    assert "ended at once" in boss.get(address).content.decode()
    row.refresh_from_db()
    assert row.revoked_at is None
    text = boss.post(address, follow=True).content.decode()
    # INGEST_API_URL does not answer: the key is revoked nevertheless, with a warning.
    assert "does not answer" in text
    row.refresh_from_db()
    live.refresh_from_db()
    assert (row.revoked_by, live.ended_at) == ("boss", None)
    assert 'data-key-state="revoked"' in text


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "active"),
        ({"revoked_at": timezone.now()}, "revoked"),
        ({"expires_at": timezone.now()}, "expired"),
        ({"lease_seen_at": timezone.now() + timedelta(hours=1)}, "in_use"),
        ({"single_use": True, "last_used_at": timezone.now() - timedelta(hours=1)}, "used_up"),
    ],
)
def test_every_state_of_a_key_is_shown(
    boss: Client, ada: Broadcaster, fields: dict[str, Any], state: str
) -> None:
    row, _ = keys.mint(ada, by="test", now=timezone.now())
    StreamKey.objects.filter(pk=row.pk).update(**fields)
    page = boss.get(f"/admin/streams/broadcaster/{ada.pk}/change/").content.decode()
    assert f'data-key-state="{state}"' in page
    label = StreamKey.State(state).label
    assert label in boss.get("/admin/streams/streamkey/").content.decode()


def test_minting_and_revoking_need_their_permissions(client: Client, ada: Broadcaster) -> None:
    row, _ = keys.mint(ada, by="test", now=timezone.now())
    client.force_login(rows.user("streams.view_broadcaster", "streams.change_broadcaster"))
    assert client.post(f"/admin/live/broadcasters/{ada.pk}/mint/").status_code == 403
    assert client.post(f"/admin/live/keys/{row.pk}/revoke/").status_code == 403
    page = client.get(f"/admin/streams/broadcaster/{ada.pk}/change/").content.decode()
    assert "Mint a key" not in page
    row.refresh_from_db()
    assert row.revoked_at is None


# ---- broadcasters ----------------------------------------------------------------------------
@pytest.mark.parametrize("slug", ["a/b", "a b", "é", "", "a" * 65, "a:b", "a?token=x"])
def test_a_path_must_be_accepted_by_the_servers(boss: Client, slug: str) -> None:
    answer = boss.post("/admin/streams/broadcaster/add/", {"name": "Eve", "slug": slug})
    assert answer.status_code == 200
    assert not Broadcaster.objects.exists()


def test_a_live_broadcaster_keeps_path_and_row(boss: Client, ada: Broadcaster) -> None:
    stream(ada)
    change = f"/admin/streams/broadcaster/{ada.pk}/change/"
    boss.post(change, {"name": "Ada B", "slug": "other", "enabled": "on"})
    ada.refresh_from_db()
    assert (ada.name, ada.slug) == ("Ada B", "ada")
    text = boss.post(
        f"/admin/streams/broadcaster/{ada.pk}/delete/", {"post": "yes"}, follow=True
    ).content.decode()
    assert "Ada B is live" in text
    assert Broadcaster.objects.exists()


def test_the_history_stays_when_a_broadcaster_is_deleted(
    boss: Client, ada: Broadcaster
) -> None:
    row, _ = keys.mint(ada, by="test", now=timezone.now())
    past = stream(ada, key=row, ended_at=timezone.now())
    boss.post(f"/admin/streams/broadcaster/{ada.pk}/delete/", {"post": "yes"})
    assert not StreamKey.objects.exists()
    past.refresh_from_db()
    assert (past.broadcaster, past.key, past.path) == (None, None, "live/ada")


def test_one_stream_is_live_at_a_path(ada: Broadcaster) -> None:
    stream(ada)
    stream(ada, source_id="old", ended_at=timezone.now())
    with pytest.raises(IntegrityError, match="path"):
        stream(ada, source_id="s2")


# ---- streams ---------------------------------------------------------------------------------
def test_streams_lists_live_streams_with_addresses(boss: Client, ada: Broadcaster) -> None:
    live = stream(ada)
    stream(ada, source_id="old", ended_at=timezone.now())
    (one,) = boss.get("/streams").json()["streams"]
    assert one == boss.get(f"/streams/{live.pk}").json()
    assert one["broadcaster"] == {"name": "Ada", "slug": "ada"}
    assert (one["state"], one["bitrate"], one["tracks"]) == ("live", 2_500_000, ["H264", "AAC"])
    assert one["urls"] == {
        "hls": "https://watch.example.org/live/ada/index.m3u8",
        "webrtc": "https://watch.example.org/live/ada/whep",
        "rtmp": "rtmp://live.example.org/live/ada",
        "rtsp": "rtsp://live.example.org:8554/live/ada",
        "srt": "srt://live.example.org:8890?streamid=read:live/ada",
    }
    assert READ not in str(one)


def test_unknown_streams_are_shown_as_unknown(boss: Client, ada: Broadcaster) -> None:
    stream(ada, unknown=True)
    IngestServer.objects.create(kind="mediamtx", fault="It does not answer.")
    body = boss.get("/streams").json()
    assert body["streams"][0]["state"] == "unknown"
    assert body["fault"] == "It does not answer."
    page = boss.get("/admin/live/").content.decode()
    assert "It does not answer." in page
    assert 'data-state="unknown"' in page


def test_streams_need_the_permission(client: Client, ada: Broadcaster) -> None:
    live = stream(ada)
    paths = ("/streams", f"/streams/{live.pk}", "/admin/live/")
    for path in paths:
        assert client.get(path).status_code == (302 if path.startswith("/admin/") else 401)
    client.force_login(rows.user("streams.view_channel"))
    for path in paths:
        assert client.get(path).status_code == 403
    client.force_login(rows.user("streams.view_livestream", name="eve"))
    for path in paths:
        assert client.get(path).status_code == 200
    assert client.get("/streams/999999").status_code == 404


def test_only_the_live_page_may_fetch_from_the_playback_address(
    boss: Client, ada: Broadcaster
) -> None:
    stream(ada)
    policy = boss.get("/admin/live/")["Content-Security-Policy"]
    assert "connect-src 'self' https://watch.example.org" in policy
    assert re.search(r"media-src [^;]*https://watch\.example\.org", policy)
    other = boss.get("/admin/streams/broadcaster/")["Content-Security-Policy"]
    assert "watch.example.org" not in other


def test_addresses_of_the_servers_own_ports() -> None:
    urls = addresses.playback(
        *("mediamtx", "rtmp://[2001:db8::1]:1936", "http://10.0.0.1:8888", "live/ada"),
        addresses.Ports(),
    )
    assert urls["webrtc"] == "http://10.0.0.1:8889/live/ada/whep"
    assert urls["rtsp"] == "rtsp://[2001:db8::1]:8554/live/ada"
    nginx = addresses.playback(
        "nginx-rtmp", "rtmp://h", "http://h:8888", "live/ada", addresses.Ports()
    )
    assert nginx == {"hls": "http://h:8888/live/ada/index.m3u8", "rtmp": "rtmp://h/live/ada"}


def test_addresses_have_the_ports_of_the_settings(ada: Broadcaster, settings: Settings) -> None:
    settings.INGEST_RTSP_URL = "rtsp://127.0.0.1:9554"
    settings.INGEST_SRT_PORT, settings.INGEST_WEBRTC_PORT = 9890, 9889
    settings.PUBLIC_INGEST_URL = "rtmp://tv.example.org:9935"
    settings.PUBLIC_PLAYBACK_URL = "http://tv.example.org:8888"
    urls = report.urls(LiveStream(server="mediamtx", path="live/ada"))
    assert urls == {
        "hls": "http://tv.example.org:8888/live/ada/index.m3u8",
        "rtmp": "rtmp://tv.example.org:9935/live/ada",
        "webrtc": "http://tv.example.org:9889/live/ada/whep",
        "rtsp": "rtsp://tv.example.org:9554/live/ada",
        "srt": "srt://tv.example.org:9890?streamid=read:live/ada",
    }
    forms = addresses.publish(
        "mediamtx", settings.PUBLIC_INGEST_URL, "live/ada", Secret("k" * 32), report.ports()
    )
    assert ":9890?" in next(form.value for form in forms if form.program == "SRT")
    assert ":9889/" in next(form.value for form in forms if form.program == "WHIP")


# ---- the terminal ----------------------------------------------------------------------------
def test_the_command_prints_the_key_last(ada: Broadcaster) -> None:
    out = StringIO()
    call_command("create_stream_key", "ada", "--label", "Phone", "--hours", "2", stdout=out)
    key = out.getvalue().splitlines()[-1]
    row = StreamKey.objects.get()
    assert row.digest == keys.digest(Secret(key))
    assert row.expires_at is not None
    assert timedelta(hours=1) < row.expires_at - timezone.now() <= timedelta(hours=2)
    entry = AuditEntry.objects.get()
    assert (entry.object_name, entry.sentence) == (str(ada), f"Stream key {row} minted.")
    assert entry.who.endswith("(command)")


def test_the_command_creates_broadcasters_only_on_request() -> None:
    with pytest.raises(CommandError, match="--create"):
        call_command("create_stream_key", "ada")
    with pytest.raises(CommandError, match="letters"):
        call_command("create_stream_key", "a/b", "--create")
    call_command("create_stream_key", "ada", "--create", stdout=StringIO())
    assert Broadcaster.objects.get().slug == "ada"
