"""The compatibility paths: each is there, and does what its successor does."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from media_library.models import DownloadJob
from streams.models import Broadcaster, LiveStream, StreamKey
from streams.tests import rows
from streamsite.security.secret import Secret
from streamsite.tests.api_calls import ApiCall, api_caller

pytestmark = pytest.mark.django_db

#: The ingest server's token.
TOKEN = "t0ken-of-the-ingest-server"
#: Routes that are read: the old path, and the new one, which answers the same but for
#: moments. `/ws/progress/{job_id}` is in test_live.
READ = {
    "/health": "/api/v1/health",
    "/health/detailed": "/api/v1/health/detailed",
    "/health/metrics": "/api/v1/health/metrics",
    "/health/uptime": "/api/v1/health/uptime",
    "/broadcasters": "/api/v1/broadcasters",
    "/broadcasters/1": "/api/v1/broadcasters/1",
    "/stream-keys": "/api/v1/stream-keys",
    "/stream-keys/1": "/api/v1/stream-keys/1",
    "/streams/1": "/api/v1/streams/1",
}


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path
    settings.INGEST_SERVER, settings.INGEST_TOKEN = "mediamtx", Secret(TOKEN)
    # Nobody listens at port 9.
    settings.INGEST_API_URL = "http://127.0.0.1:9"


@pytest.fixture
def call(client: Client) -> ApiCall:
    return api_caller(client)


@pytest.mark.parametrize("path", READ)
def test_it_answers_as_its_successor(call: ApiCall, path: str) -> None:
    rows.channel()
    ada = Broadcaster.objects.create(pk=1, name="Ada", slug="ada")
    StreamKey.objects.create(pk=1, broadcaster=ada, prefix="x", digest="y")
    LiveStream.objects.create(pk=1, server="mediamtx", path="live/ada", source_id="s1")
    old, new = call("GET", path), call("GET", READ[path])
    assert old[0] == new[0] in {200, 503}
    assert old[1].keys() == new[1].keys()
    if "health" not in path:
        assert old == new


def test_what_is_live(call: ApiCall) -> None:
    LiveStream.objects.create(server="mediamtx", path="live/ada", source_id="s1")
    assert call("GET", "/streams")[1]["streams"] == call("GET", "/api/v1/streams")[1]["items"]


def test_a_channel_is_started_reported_of_and_stopped(call: ApiCall) -> None:
    rows.output(rows.channel())
    assert call("POST", "/streams/start")[0] == 202
    assert call("POST", "/streams/start")[0] == 409
    reported = call("GET", "/streams/status?channel=demo")[1]
    assert reported["rtmp_addresses"] == ["rtmps://a.rtmps.youtube.com:443/live2"]
    assert rows.KEY not in str(reported)
    assert call("POST", "/streams/stop")[0] == 202
    assert call("POST", "/streams/stop")[0] == 404
    rows.channel("bare", playlist=None)
    status, refused = call("POST", "/streams/start?channel=bare")
    assert (status, [item["check"] for item in refused["findings"]]) == (422, ["programme"])


def test_a_key_is_reported_once(call: ApiCall) -> None:
    ada = call("POST", "/broadcasters", {"name": "Ada", "slug": "ada"})[1]
    assert (ada["name"], ada["slug"]) == ("Ada", "ada")
    status, minted = call("POST", "/stream-keys", {"broadcaster_id": ada["id"]})
    assert (status, len(minted["key_value"]) > 20) == (201, True)
    one = f"/stream-keys/{minted['id']}"
    assert "key_value" not in call("GET", one)[1]
    assert minted["key_value"] not in str([call("GET", one), call("GET", "/stream-keys")])
    assert call("DELETE", one)[0] == 204
    assert call("GET", one)[1]["state"] == "revoked"


def test_the_ingest_server_requests_and_reports(client: Client, call: ApiCall) -> None:
    ada = call("POST", "/broadcasters", {"name": "Ada", "slug": "ada"})[1]
    key = call("POST", "/stream-keys", {"broadcaster_id": ada["id"]})[1]["key_value"]
    requests = {
        "action": "publish", "path": "live/ada", "protocol": "rtmp", "ip": "203.0.113.7",
        "user": "", "password": "", "query": f"token={key}", "id": "s1",
    }  # fmt: skip
    wrong = requests | {"query": f"token={'x' * len(key)}"}
    for output, status in ((wrong, 403), (requests, 204)):
        assert (
            client.post("/auth", output, content_type="application/json").status_code == status
        )
    form = "application/x-www-form-urlencoded"
    reported = "path=live/ada&source_type=rtmpConn&source_id=s1"
    token = {"X-Ingest-Token": TOKEN}
    for path, count in (("/webhook/ready", 1), ("/webhook/not-ready", 0)):
        assert client.post(path, reported, content_type=form).status_code == 403
        assert client.post(path, reported, content_type=form, headers=token).status_code == 204
        assert LiveStream.objects.filter(ended_at=None).count() == count


def test_a_download_is_ordered_reported_listed_and_tried_again(call: ApiCall) -> None:
    status, job = call("POST", "/api/v1/download", {"url": "https://example.org/a"})
    assert status == 202
    assert call("GET", f"/api/v1/status/{job['id']}") == (200, job)
    assert call("GET", "/api/v1/jobs")[1]["items"] == [job]
    DownloadJob.objects.update(status="failed", code="http", fault="It answered 404.")
    status, again = call("POST", f"/api/v1/retry/{job['id']}")
    assert (status, again["status"]) == (202, "queued")
    assert call("GET", "/api/v1/info?url=ftp://example.org/")[0] == 422
