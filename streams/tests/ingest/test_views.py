"""The ingest server's callbacks over HTTP, with the database."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from streams.ingest import keys
from streams.models import Broadcaster, LiveStream, StreamKey
from streamsite.security.secret import Secret

pytestmark = [pytest.mark.django_db, pytest.mark.database]

FORM = "application/x-www-form-urlencoded"
TOKEN = "shared-token-of-the-test"


@pytest.fixture(autouse=True)
def mediamtx(settings: Settings) -> None:
    settings.INGEST_SERVER = "mediamtx"
    settings.INGEST_TOKEN = Secret(TOKEN)
    # Callbacks come to 127.0.0.1, whatever the site's name.
    settings.ALLOWED_HOSTS = ["tv.example.org"]


@pytest.fixture
def ada() -> Broadcaster:
    return Broadcaster.objects.create(name="Ada", slug="ada")


def mint(ada: Broadcaster, **fields: Any) -> tuple[StreamKey, str]:
    row, key = keys.mint(ada, by="test", now=timezone.now(), **fields)
    return row, key.reveal()


def authenticate(
    client: Client, key: str = "", source: str | None = "s1", **fields: Any
) -> int:
    body = {"action": "publish", "path": "live/ada", "protocol": "rtmp", "ip": "203.0.113.7"}
    body |= {"id": source, "query": f"token={key}" if key else ""} | fields
    answer = client.post("/auth", json.dumps(body), "application/json", HTTP_HOST="127.0.0.1")
    assert answer.content == b""
    return answer.status_code


def report(
    client: Client, what: str, source: str, token: str = TOKEN, path: str = "live/ada"
) -> int:
    answer = client.post(
        f"/webhook/{what}",
        urlencode({"path": path, "source_type": "rtmpConn", "source_id": source}),
        FORM,
        headers={"X-Ingest-Token": token},
    )
    return answer.status_code


def publish(client: Client, key: str, *, done: bool = False, **fields: Any) -> int:
    form = {"app": "live", "addr": "127.0.0.1", "clientid": "1", "name": "ada", "token": key}
    verb = "publish-done" if done else "publish"
    address, body = f"/ingest/nginx/{TOKEN}/{verb}", urlencode(form | fields)
    answer = client.post(address, body, FORM, HTTP_HOST="127.0.0.1")
    return answer.status_code


def live() -> list[str]:
    return list(LiveStream.objects.filter(ended_at=None).values_list("source_id", flat=True))


# ---- MediaMTX --------------------------------------------------------------------------------
def test_a_key_goes_live_and_ends(client: Client, ada: Broadcaster) -> None:
    row, key = mint(ada)
    assert authenticate(client, key) == 204
    row.refresh_from_db()
    assert (row.source_id, row.last_address, row.protocol) == ("s1", "203.0.113.7", "rtmp")
    assert row.state(timezone.now()) is StreamKey.State.IN_USE

    assert report(client, "ready", "s1") == 204
    stream = LiveStream.objects.get()
    assert (stream.broadcaster, stream.key, stream.address) == (ada, row, "203.0.113.7")
    assert report(client, "ready", "s1") == 204
    assert live() == ["s1"]

    assert report(client, "not-ready", "s1") == 204
    row.refresh_from_db()
    assert live() == []
    assert row.state(timezone.now()) is StreamKey.State.ACTIVE


def test_all_refusals_are_identical(client: Client, ada: Broadcaster) -> None:
    now = timezone.now()
    used, in_use = mint(ada)
    revoked, revoked_key = mint(ada)
    keys.revoke(revoked, by="test", now=now, server=None)
    _, expired = mint(ada, expires_at=now)
    eve = Broadcaster.objects.create(name="Eve", slug="eve", enabled=False)
    _, disabled = mint(eve)
    assert authenticate(client, in_use) == 204
    assert authenticate(client, in_use, source="s2") == 403
    for key in ("x" * 32, "short", revoked_key, expired, disabled):
        assert authenticate(client, key, source="s2") == 403
    assert authenticate(client, disabled, source="s2", path="live/eve") == 403
    assert authenticate(client, in_use, source="s1", path="live/eve") == 403
    used.refresh_from_db()
    assert used.source_id == "s1"


def test_a_request_without_credentials_gets_401(client: Client, ada: Broadcaster) -> None:
    assert authenticate(client) == 401
    assert authenticate(client, action="read") == 401


def test_rtsp_authenticates_twice(client: Client, ada: Broadcaster) -> None:
    _, key = mint(ada)
    assert authenticate(client, source=None, protocol="rtsp") == 401
    for _ in range(2):
        assert authenticate(client, source="r1", protocol="rtsp", user="u", password=key) == 204


def test_a_source_without_an_id_is_identified_by_its_address(
    client: Client, ada: Broadcaster
) -> None:
    """WHIP may authenticate before the session has its id; the hook contains it."""
    row, key = mint(ada)
    assert authenticate(client, key, source=None) == 204
    assert authenticate(client, key, source=None) == 204
    assert authenticate(client, key, source=None, ip="198.51.100.1") == 403
    assert report(client, "ready", "w1") == 204
    row.refresh_from_db()
    assert row.source_id == "w1"
    assert LiveStream.objects.get().key == row
    assert report(client, "not-ready", "w1") == 204
    row.refresh_from_db()
    assert row.lease_seen_at is None


def test_a_lease_lapses_if_the_end_is_never_reported(client: Client, ada: Broadcaster) -> None:
    row, key = mint(ada)
    assert authenticate(client, key) == 204
    for seconds, status in ((14, 403), (15, 204)):
        seen = timezone.now() - timedelta(seconds=seconds)
        StreamKey.objects.filter(pk=row.pk).update(lease_seen_at=seen, source_id="s1")
        assert authenticate(client, key, source="s2") == status


def test_late_events_of_an_old_source_change_nothing(client: Client, ada: Broadcaster) -> None:
    row, key = mint(ada)
    authenticate(client, key, source="old")
    report(client, "ready", "old")
    StreamKey.objects.update(lease_seen_at=timezone.now() - timedelta(seconds=16))
    assert authenticate(client, key, source="new") == 204
    report(client, "ready", "new")
    assert live() == ["new"]
    report(client, "not-ready", "old")
    report(client, "ready", "old")
    row.refresh_from_db()
    assert live() == ["new"]
    assert (row.source_id, row.leased(timezone.now())) == ("new", True)


def test_a_start_reported_after_its_successors_changes_nothing(
    client: Client, ada: Broadcaster
) -> None:
    _, key = mint(ada)
    authenticate(client, key, source="old")
    StreamKey.objects.update(lease_seen_at=timezone.now() - timedelta(seconds=16))
    authenticate(client, key, source="new")
    report(client, "ready", "new")
    report(client, "ready", "old")
    assert live() == ["new"]


def test_a_single_use_key_is_accepted_again_within_its_grace(
    client: Client, ada: Broadcaster
) -> None:
    row, key = mint(ada, single_use=True)
    assert authenticate(client, key, source="s1") == 204
    report(client, "ready", "s1")
    report(client, "not-ready", "s1")
    assert authenticate(client, key, source="s2", ip="198.51.100.1") == 403
    assert authenticate(client, key, source="s2") == 204
    report(client, "not-ready", "s2")
    StreamKey.objects.update(last_used_at=timezone.now() - timedelta(seconds=60))
    assert authenticate(client, key, source="s3") == 403
    row.refresh_from_db()
    assert row.state(timezone.now()) is StreamKey.State.USED_UP


def test_events_need_the_token(client: Client, ada: Broadcaster, settings: Settings) -> None:
    for token in ("", "wrong", TOKEN + "x"):
        assert report(client, "ready", "s1", token=token) == 403
    settings.INGEST_TOKEN = Secret("")
    assert report(client, "ready", "s1", token="") == 403
    assert live() == []


def test_an_answer_takes_two_queries(
    client: Client, ada: Broadcaster, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, key = mint(ada)
    with django_assert_num_queries(2):
        authenticate(client, key)
    with django_assert_num_queries(1):
        authenticate(client, "x" * 32)
    with django_assert_num_queries(0):
        authenticate(client, "no key")


def test_without_an_ingest_server_callbacks_are_404(client: Client, settings: Settings) -> None:
    settings.INGEST_SERVER = "none"
    assert authenticate(client, "x" * 32) == 404


@pytest.mark.parametrize("path", ["/auth", "/webhook/ready", f"/ingest/nginx/{TOKEN}/publish"])
def test_only_posts_are_answered(client: Client, path: str) -> None:
    assert client.get(path).status_code == 405
    assert client.post(path, b"[]", "application/json").status_code in {400, 403}
    assert client.post(path, b"x" * 20_000, "text/plain").status_code == 413


# ---- nginx-rtmp ------------------------------------------------------------------------------
@pytest.fixture
def nginx(settings: Settings) -> None:
    settings.INGEST_SERVER = "nginx-rtmp"


def test_nginx_rtmp_goes_live_and_ends(nginx: None, client: Client, ada: Broadcaster) -> None:
    _, key = mint(ada)
    assert publish(client, "x" * 32) == 403
    assert publish(client, "") == 401
    assert publish(client, key) == 204
    assert live() == ["1"]
    assert publish(client, key, clientid="2") == 403
    assert publish(client, "", done=True) == 204
    assert live() == []
    assert publish(client, key, clientid="3") == 204


def test_the_end_of_a_refused_second_publisher_changes_nothing(
    nginx: None, client: Client, ada: Broadcaster, settings: Settings
) -> None:
    """If both keys are accepted here, nginx-rtmp itself refuses the second publisher."""
    settings.INGEST_REPLACE = True
    _, first = mint(ada)
    other, second = mint(ada)
    assert publish(client, first) == 204
    assert publish(client, second, clientid="2") == 204
    assert live() == ["1"]
    assert publish(client, second, done=True, clientid="2") == 204
    other.refresh_from_db()
    assert live() == ["1"]
    assert other.lease_seen_at is None
    assert publish(client, first, clientid="3") == 403


def test_a_wrong_secret_in_the_address_is_refused_and_not_logged(
    nginx: None, client: Client, ada: Broadcaster, caplog: pytest.LogCaptureFixture
) -> None:
    _, key = mint(ada)
    wrong = "wrong-secret-of-somebody"
    for verb in ("publish", "publish-done", "fly"):
        answer = client.post(f"/ingest/nginx/{wrong}/{verb}", f"name=ada&token={key}", FORM)
        assert answer.status_code == (404 if verb == "fly" else 403)
    assert client.post(f"/ingest/nginx/{TOKEN}/elsewhere").status_code == 404
    assert "ingest.wrong_token" in caplog.text
    for secret in (wrong, key, TOKEN):
        assert secret not in caplog.text


def test_a_missing_key_is_logged(
    client: Client, ada: Broadcaster, caplog: pytest.LogCaptureFixture
) -> None:
    # RTSP and WHIP clients always start without a key: this is not logged.
    assert (
        authenticate(client, protocol="webrtc") == authenticate(client, protocol="rtsp") == 401
    )
    assert "ingest.refused" not in caplog.text
    # Only the key was pasted into OBS, and became the path's name.
    assert authenticate(client) == 401
    assert "no credentials" in caplog.text


# ---- secrets ---------------------------------------------------------------------------------
def test_the_key_is_in_no_row_and_no_log(
    client: Client, ada: Broadcaster, caplog: pytest.LogCaptureFixture
) -> None:
    _, key = mint(ada)
    with CaptureQueriesContext(connection) as queries:
        authenticate(client, key)
        authenticate(client, key, source="s2")
        # The key was entered in the wrong field.
        authenticate(client, key, path=f"live/{key}", source="s3")
        report(client, "ready", "s1")
    assert all(key not in query["sql"] for query in queries)
    assert "ingest.refused" in caplog.text
    assert key not in caplog.text
    for model in (StreamKey, LiveStream, LogEntry):
        assert key not in repr(list(model.objects.values()))
