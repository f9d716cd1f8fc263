"""API routes for settings and history, except the library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from streams.ingest import keys as stream_keys
from streams.models import (
    AsRun,
    Block,
    Broadcaster,
    Channel,
    Incident,
    LiveStream,
    Output,
    Run,
    Takeover,
)
from streams.playout.ffmpeg.process import channel_folder
from streams.tests import rows
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.security.secret import Secret
from streamsite.tests.api_calls import ApiCall, api_caller

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path
    settings.INGEST_SERVER = "mediamtx"
    # Port 9 is closed.
    settings.INGEST_API_URL = "http://127.0.0.1:9"


@pytest.fixture
def call(client: Client) -> ApiCall:
    return api_caller(client)


# ---- channels --------------------------------------------------------------------------------
def test_a_channel_is_created_changed_and_deleted(call: ApiCall) -> None:
    playlist = rows.playlist()
    status, made = call("POST", "channels", {"name": "News", "slug": "news", "fps": 25})
    assert status == 201
    assert (made["fps"], made["width"], made["desired_state"]) == (25, 1280, "off")
    assert made["status"]["state"] == "off"
    change = {"playlist_id": playlist.pk, "max_rating": 12, "time_zone": "Europe/Berlin"}
    status, changed = call("PATCH", "channels/news", change)
    assert (status, changed["playlist"], changed["max_rating"]) == (200, "Loop", 12)
    row = Channel.objects.get()
    assert row.hours_changed_at is not None
    assert call("PATCH", "channels/news", {"playlist_id": None})[1]["playlist"] is None
    assert call("GET", "channels/news") == call("PATCH", "channels/news", {})
    assert call("DELETE", "channels/news") == (204, None)
    assert call("GET", "channels/news")[0] == 404


def test_a_change_does_not_undo_a_concurrent_order(
    call: ApiCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.channel()
    clean = Channel.full_clean

    def ordered_meanwhile(channel: Channel, *args: Any, **kwargs: Any) -> None:
        Channel.objects.update(desired_state="on", skips=7)
        clean(channel, *args, **kwargs)

    monkeypatch.setattr(Channel, "full_clean", ordered_meanwhile)
    assert call("PATCH", "channels/demo", {"name": "Renamed"})[0] == 200
    row = Channel.objects.get()
    assert (row.name, row.desired_state, row.skips) == ("Renamed", "on", 7)


def test_the_house_format_can_not_change_on_air(call: ApiCall) -> None:
    channel = rows.channel()
    rows.on_air(channel)
    status, refused = call("PATCH", "channels/demo", {"width": 1920})
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:on-air")
    assert call("PATCH", "channels/demo", {"width": 1280, "name": "Other"})[0] == 200
    assert call("DELETE", "channels/demo")[0] == 409
    assert Channel.objects.get().width == 1280


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"playlist_id": 999}, "playlist"),
        ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"width": 1281}, "width"),
        ({"preview": None}, "preview"),
        ({"desired_state": "on"}, "desired_state"),
        ({"max_rating": 99}, "max_rating"),
    ],
)
def test_invalid_channels_are_refused(call: ApiCall, wrong: dict[str, Any], field: str) -> None:
    rows.channel()
    status, refused = call("PATCH", "channels/demo", wrong)
    assert (status, refused["type"]) == (422, "urn:streamsite:problem:invalid")
    assert [error["loc"][-1] for error in refused["errors"]] == [field]


def test_text_that_no_database_accepts_is_refused_before_parsing(call: ApiCall) -> None:
    rows.channel()
    status, refused = call("PATCH", "channels/demo", {"name": "A\0B"})
    assert (status, refused["type"]) == (400, "urn:streamsite:problem:malformed")


def test_changes_are_logged_with_the_key(client: Client, call: ApiCall) -> None:
    call("POST", "channels", {"name": "News", "slug": "news"})
    assert not LogEntry.objects.exists()
    client.force_login(rows.user("streams.change_channel"))
    sent = {"name": "Other"}
    client.patch("/api/v1/channels/news", sent, content_type="application/json")
    assert LogEntry.objects.get().change_message == "Changed name."


def test_orders_are_logged_with_the_key(call: ApiCall) -> None:
    rows.channel()
    assert call("POST", "channels/demo/start")[0] == 202
    assert Run.objects.get().started_by == "API key Robot"


def test_an_undecryptable_key_is_reported_and_can_be_replaced(
    call: ApiCall, admin_client: Client, settings: Settings
) -> None:
    output = rows.output(rows.channel())
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    where = f"outputs/{output.pk}"
    body = call("GET", where)[1]
    assert (body["has_key"], body["key_readable"]) == (True, False)
    listed = admin_client.get(reverse("admin:streams_output_changelist")).content.decode()
    assert 'alt="None"' in listed or "unknown" in listed.lower()
    body = call("PATCH", where, {"key": "typed-again-4711"})[1]
    assert (body["has_key"], body["key_readable"]) == (True, True)
    body = call("PATCH", where, {"key": ""})[1]
    assert (body["has_key"], body["key_readable"]) == (False, False)


# ---- outputs ---------------------------------------------------------------------------------
def test_an_outputs_key_is_never_returned(call: ApiCall) -> None:
    rows.channel()
    new = {"channel": "demo", "name": "Main", "platform": "youtube", "key": rows.KEY}
    status, made = call("POST", "outputs", new)
    assert (status, made["has_key"], "key" in made) == (201, True, False)
    where = f"outputs/{made['id']}"
    output = Output.objects.get()
    assert output.key == Secret(rows.KEY)
    assert call("PATCH", where, {"name": "Other", "platform": "twitch"})[1]["has_key"]
    body = [call("GET", where), call("GET", "outputs?channel=demo&platform=twitch")]
    assert rows.KEY not in str(body)
    assert body[1][1]["items"] == [body[0][1]]
    assert not call("PATCH", where, {"key": ""})[1]["has_key"]
    assert call("DELETE", where)[0] == 204
    assert call("GET", "outputs")[1]["items"] == []


def test_invalid_outputs_are_refused(call: ApiCall) -> None:
    rows.channel()
    new = {"channel": "demo", "name": "Main"}
    assert call("POST", "outputs", new | {"platform": "myspace"})[0] == 422
    assert call("POST", "outputs", new | {"url": "ftp://x"})[0] == 422
    assert call("POST", "outputs", new | {"channel": "none"})[0] == 404
    assert call("POST", "outputs", new | {"roll_over_hours": 0})[0] == 422
    assert not Output.objects.exists()


# ---- blocks and hours ------------------------------------------------------------------------
def test_a_block_is_created_changed_and_deleted(call: ApiCall) -> None:
    channel = rows.channel()
    assert channel.playlist is not None
    new = {
        "channel": "demo",
        "name": "Night",
        "playlist_id": channel.playlist.pk,
        "starts": "22:00",
        "ends": "02:30:15",
        "days": ["fri", "sat"],
    }
    status, made = call("POST", "blocks", new)
    assert status == 201
    assert made.items() >= new.items()
    assert Block.objects.get().weekdays == {4, 5}
    where = f"blocks/{made['id']}"
    change = {"days": ["sun"], "first_day": "2026-03-01", "start": "hard", "priority": -3}
    status, changed = call("PATCH", where, change)
    assert status == 200
    assert changed.items() >= change.items()
    assert call("GET", where) == (200, changed)
    refused: tuple[dict[str, Any], ...] = (
        {"days": []},
        {"days": ["someday"]},
        {"starts": "24:00"},
        {"starts": "20:00Z"},
        {"last_day": "2026-02-01"},
        {"first_day": "0001-01-01"},
        {"priority": 101},
        {"playlist_id": 999},
        {"start": "later"},
    )
    for wrong in refused:
        assert call("PATCH", where, wrong)[0] == 422, wrong
    assert call("GET", "blocks?channel=demo&enabled=true")[1]["items"] == [changed]
    assert call("DELETE", where)[0] == 204


def test_hours_are_replaced_as_a_whole(call: ApiCall) -> None:
    rows.channel()
    body = {"hours": [{"days": ["mon"], "starts": "08:00", "ends": "20:00"}]}
    status, made = call("PUT", "channels/demo/hours", body)
    assert (status, made["hours"][0]["days"]) == (200, ["mon"])
    assert Channel.objects.get().hours_changed_at is not None
    wrong = {"hours": [*body["hours"], {"starts": "08:00"}]}
    assert call("PUT", "channels/demo/hours", wrong)[0] == 422
    assert call("GET", "channels/demo/hours") == (200, made)
    assert call("PUT", "channels/demo/hours", {"hours": []}) == (200, {"hours": []})


# ---- history ---------------------------------------------------------------------------------
def test_pages_of_history_are_complete(call: ApiCall) -> None:
    channel = rows.channel()
    day = timedelta(days=1)
    run = Run.objects.create(channel=channel, started_at=NOW, ended_at=NOW + day)
    # Two entries share each start: the cursor must distinguish them.
    for number in range(7):
        at = NOW + timedelta(minutes=number // 2)
        AsRun.objects.create(run=run, title=str(number), started_at=at, ended_at=at)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        _, page = call("GET", f"channels/demo/as-run?limit=3&cursor={cursor}")
        seen += [entry["title"] for entry in page["items"]]
        cursor = page["next_cursor"]
        # A new entry does not shift the pages.
        late = NOW + timedelta(hours=1)
        AsRun.objects.create(run=run, title="new", started_at=late, ended_at=late)
    assert seen == ["6", "5", "4", "3", "2", "1", "0"]
    since = "2026-03-01T12:01:00Z"
    _, page = call("GET", f"channels/demo/as-run?since={since}&until=2026-03-01T12:02:00Z")
    assert [entry["title"] for entry in page["items"]] == ["3", "2"]


def test_runs_and_incidents_are_filtered(call: ApiCall) -> None:
    channel, other = rows.channel(), rows.channel("other")
    run = Run.objects.create(channel=channel, started_at=NOW, ended_at=NOW)
    running = Run.objects.create(channel=other, started_at=NOW)
    fields = {"channel": channel, "severity": "lost", "cause": "x", "opened_at": NOW}
    ended = Incident.objects.create(subject="a", closed_at=NOW, **fields)
    still = Incident.objects.create(subject="b", **fields)

    def ids(path: str) -> list[int]:
        return [row["id"] for row in call("GET", path)[1]["items"]]

    assert ids("runs?channel=demo") == [run.pk]
    assert ids("runs?open=true") == [running.pk]
    assert ids("runs?until=2026-03-01T12:00:00Z") == []
    assert call("GET", f"runs/{run.pk}")[1]["ended_at"] == "2026-03-01T12:00:00Z"
    assert ids("channels/demo/incidents") == [still.pk, ended.pk]
    assert ids("channels/demo/incidents?open=false&severity=lost") == [ended.pk]
    assert ids("channels/demo/incidents?severity=planned") == []
    assert ids("channels/other/incidents") == []


def test_now_and_the_preview(call: ApiCall, client: Client, settings: Settings) -> None:
    channel = rows.channel()
    assert call("GET", "channels/demo/now")[1]["now"] is None
    assert call("GET", "channels/demo/preview.m3u8")[0] == 404
    hls = channel_folder(Path(settings.RUN_DIR), channel.pk) / "hls"
    hls.mkdir(parents=True)
    (hls / "live.m3u8").write_text("#EXTM3U\n#EXTINF:2.0,\nlive7.ts\n")
    (hls / "live7.ts").write_bytes(b"segment")
    _, key = keys.mint("Eye", KeyPermission.READ_ONLY, by="ada", now=timezone.now())
    headers = {"X-API-Key": key.reveal()}
    listed = client.get("/api/v1/channels/demo/preview.m3u8", headers=headers)
    assert listed["Content-Type"] == "application/vnd.apple.mpegurl"
    assert listed.content.decode() == "#EXTM3U\n#EXTINF:2.0,\npreview/live7.ts\n"
    part = client.get("/api/v1/channels/demo/preview/live7.ts", headers=headers)
    assert b"".join(part) == b"segment"
    for name in ("live8.ts", "..%2Flive.m3u8", "live.log"):
        gone = client.get(f"/api/v1/channels/demo/preview/{name}", headers=headers)
        assert gone.status_code == 404


# ---- live ------------------------------------------------------------------------------------
@pytest.mark.parametrize("root", ["/api/v1", ""])
def test_broadcasters_and_their_keys(call: ApiCall, root: str) -> None:
    status, ada = call("POST", f"{root}/broadcasters", {"name": "Ada", "slug": "ada"})
    assert (status, ada["path"]) == (201, "live/ada")
    where = f"{root}/broadcasters/{ada['id']}"
    assert call("PATCH", where, {"note": "At home"})[1]["note"] == "At home"
    assert call("GET", f"{root}/broadcasters")[1]["items"] == [call("GET", where)[1]]

    status, minted = call("POST", f"{root}/stream-keys", {"broadcaster_id": ada["id"]})
    assert status == 201
    value = minted.pop("key_value")
    assert minted["prefix"] == value[:6]
    one = f"{root}/stream-keys/{minted['id']}"
    assert call("GET", one) == (200, minted)
    assert call("GET", f"{root}/stream-keys?broadcaster_id={ada['id']}")[1]["items"] == [minted]
    assert value not in str([call("GET", one), call("GET", f"{root}/stream-keys")])
    assert call("DELETE", one) == (204, None)
    assert call("GET", one)[1]["state"] == "revoked"
    assert call("GET", f"{root}/stream-keys?revoked=false")[1]["items"] == []
    assert call("DELETE", where)[0] == 204


def test_a_live_broadcaster_keeps_path_and_row(call: ApiCall) -> None:
    ada = Broadcaster.objects.create(name="Ada", slug="ada")
    row, _ = stream_keys.mint(ada, by="ada", now=timezone.now())
    live = LiveStream.objects.create(
        broadcaster=ada, key=row, server="mediamtx", path="live/ada", source_id="s1"
    )
    where = f"broadcasters/{ada.pk}"
    assert call("PATCH", where, {"slug": "eve"})[0] == 409
    assert call("DELETE", where)[0] == 409
    body = call("GET", f"streams/{live.pk}")[1]
    assert (body["state"], body["key"]) == ("live", row.prefix)
    assert call("GET", "streams")[1]["items"] == [body]
    assert call("GET", "/streams")[1]["streams"] == [body]
    assert call("GET", f"/streams/{live.pk}")[1] == body
    assert call("GET", "streams?state=ended")[1]["items"] == []
    past = {"broadcaster_id": ada.pk, "expires_at": "2020-01-01T00:00:00Z"}
    assert call("POST", "stream-keys", past)[0] == 422


def test_a_live_feed_is_taken_and_returned(call: ApiCall) -> None:
    ada = Broadcaster.objects.create(name="Ada", slug="ada")
    channel = rows.channel()
    rows.on_air(channel)
    status, refused = call("POST", "channels/demo/take")
    assert (status, refused["type"]) == (409, "urn:streamsite:problem:nobody-live")
    right = {"broadcaster_id": ada.pk, "rank": 2}
    status, body = call("PUT", "channels/demo/takeover-rights", {"rights": [right]})
    assert (status, body["rights"]) == (200, [right | {"broadcaster": "Ada"}])
    assert call("PUT", "channels/demo/takeover-rights", {"rights": [right, right]})[0] == 422
    assert call("GET", "channels/demo/takeover-rights") == (200, body)
    live = LiveStream.objects.create(
        broadcaster=ada, server="mediamtx", path="live/ada", source_id="s1"
    )
    assert call("POST", "channels/demo/take", {"broadcaster_id": 999})[0] == 404
    assert call("POST", "channels/demo/take", {"broadcaster_id": ada.pk})[0] == 202
    assert call("GET", "channels/demo")[1]["live_order"] == "take"
    assert call("POST", "channels/demo/return")[0] == 202
    assert call("GET", "channels/demo")[1]["live_order"] == "return"
    assert call("POST", "channels/demo/release")[0] == 202
    assert call("GET", "channels/demo")[1]["live_order"] == "auto"
    one = Takeover.objects.create(
        channel=channel, broadcaster=ada, stream=live, requested_at=NOW, on_air_at=NOW
    )
    (seen,) = call("GET", "channels/demo/takeovers")[1]["items"]
    assert (seen["id"], seen["transition"]) == (one.pk, 0)


# ---- API keys --------------------------------------------------------------------------------
def test_keys_mint_and_revoke_keys(call: ApiCall, client: Client) -> None:
    new = {"name": "Eye", "permissions": "READ_ONLY", "allowed_addresses": ["127.0.0.0/8"]}
    status, minted = call("POST", "api-keys", new)
    assert (status, minted["created_by"]) == (201, "API key Robot")
    value = minted.pop("key_value")
    sent = {"X-API-Key": value}
    assert client.get("/api/v1/channels", headers=sent).status_code == 200
    assert client.get("/api/v1/api-keys", headers=sent).status_code == 403
    where = f"api-keys/{minted['id']}"
    body = call("GET", where)[1]
    assert (body["state"], body["last_address"]) == ("active", "127.0.0.1")
    assert value not in str([body, call("GET", "api-keys")])
    assert len(call("GET", "api-keys?permissions=READ_ONLY")[1]["items"]) == 1
    assert call("DELETE", where) == (204, None)
    assert client.get("/api/v1/channels", headers=sent).status_code == 401
    assert call("GET", where)[1]["state"] == "revoked"
    assert call("POST", "api-keys", new | {"allowed_addresses": ["home"]})[0] == 422
    # Older programs send the former name.
    former = call("POST", "api-keys", {"name": "Old", "level": "DOWNLOAD"})
    assert (former[0], former[1]["permissions"]) == (201, "DOWNLOAD")
    assert len(call("GET", "api-keys?level=DOWNLOAD")[1]["items"]) == 1
    assert call("POST", "api-keys", new | {"permissions": "ROOT"})[0] == 422


# ---- compatibility paths ---------------------------------------------------------------------
def test_start_status_and_stop_of_the_only_channel(call: ApiCall) -> None:
    assert call("GET", "/streams/status")[0] == 404
    channel = rows.channel()
    rows.output(channel)
    status, taken = call("POST", "/streams/start")
    assert (status, taken["detail"]) == (202, "Start of Demo is ordered.")
    assert call("POST", "/streams/start")[0] == 409
    status, body = call("GET", "/streams/status")
    assert (status, body["slug"], body["order"]) == (200, "demo", "on")
    assert body["desired_state"] == "on"
    assert body["rtmp_addresses"] == ["rtmps://a.rtmps.youtube.com:443/live2"]
    assert rows.KEY not in str(body)
    assert call("POST", "/streams/stop")[0] == 202
    assert call("POST", "/streams/stop")[0] == 404


def test_with_several_channels_one_must_be_named(call: ApiCall) -> None:
    rows.channel()
    rows.channel("other")
    status, refused = call("POST", "/streams/start")
    assert (status, "?channel=" in refused["detail"]) == (422, True)
    assert call("POST", "/streams/start?channel=other")[0] == 202
    assert call("GET", "/streams/status?channel=other")[1]["order"] == "on"
    assert call("GET", "/streams/status?channel=demo")[1]["order"] == "off"
    assert call("GET", "/streams/status?channel=none")[0] == 404
