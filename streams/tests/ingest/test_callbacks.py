"""Parsing of callbacks and access decisions, without a database."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ingest import callbacks
from streams.ingest.callbacks import AccessRequest, Action, KeyFacts, UnreadableError, Verdict
from streamsite.security.secret import Secret

KEY = "k3y_abcdefghijklmnopqrstuvwxyz-0"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE, GRACE = timedelta(seconds=15), timedelta(seconds=60)
UUID = "5b1a4ee1-6f0f-4d63-9f0c-6b1f4a2d9a10"

#: As MediaMTX 1.20 sends them (its documentation, "Authentication", and facts recorded from its
#: source): fields that a protocol has not are empty, and `id` may be null.
MEDIAMTX: dict[str, dict[str, Any]] = {
    "RTMP, OBS": {
        "protocol": "rtmp",
        "id": UUID,
        "query": f"token={KEY}",
    },
    "RTMP, user and pass": {"protocol": "rtmp", "id": UUID, "user": "u", "password": KEY},
    "RTSP, after 401": {"protocol": "rtsp", "id": UUID, "user": "u", "password": KEY},
    "SRT, streamid publish:live/ada:u:KEY": {
        "protocol": "srt",
        "id": UUID,
        "user": "u",
        "password": KEY,
    },
    "WHIP, bearer": {"protocol": "webrtc", "id": UUID, "token": KEY},
    "WHIP, bearer that was split at its colon": {
        "protocol": "webrtc",
        "id": UUID,
        "user": "u",
        "password": KEY,
    },
    "WHIP, in the query, no name yet": {
        "protocol": "webrtc",
        "id": None,
        "query": f"token={KEY}",
    },
}


def question(**fields: object) -> bytes:
    defaults: dict[str, Any] = {
        "ip": "203.0.113.7",
        "user": "",
        "password": "",
        "token": "",
        "action": "publish",
        "path": "live/ada",
        "protocol": "rtmp",
        "id": UUID,
        "query": "",
        "userAgent": "",
    }
    return json.dumps(defaults | fields).encode()


@pytest.mark.parametrize("form", MEDIAMTX)
def test_mediamtx_sends_the_key_in_several_fields(form: str) -> None:
    fields = MEDIAMTX[form]
    request = callbacks.parse_mediamtx_auth(question(**fields))
    assert request == AccessRequest(
        action=Action.PUBLISH,
        slug="ada",
        protocol=str(fields["protocol"]),
        source_id=str(fields["id"] or ""),
        address="203.0.113.7",
        credential=Secret(KEY),
    )
    assert KEY not in repr(request)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b"null", b'{"action": "fly"}', b'{"action": 3}', b"[" * 10_000],
)
def test_an_invalid_request_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        callbacks.parse_mediamtx_auth(body)


@pytest.mark.parametrize("path", ["", "live", "live/", "live/a/b", "other/ada", "live/ad\n"])
def test_other_paths_belong_to_no_broadcaster(path: str) -> None:
    assert callbacks.parse_mediamtx_auth(question(path=path)).slug == ""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (
            f"path=live%2Fada&source_type=rtmpConn&source_id={UUID}".encode(),
            "application/x-www-form-urlencoded",
        ),
        (
            json.dumps(
                {"path": "live/ada", "source_type": "rtmpConn", "source_id": UUID}
            ).encode(),
            "application/json; charset=utf-8",
        ),
    ],
)
def test_hooks_are_parsed_as_form_and_json(body: bytes, kind: str) -> None:
    event = callbacks.parse_mediamtx_hook(body, kind)
    assert (event.path, event.slug, event.source_type, event.source_id) == (
        *("live/ada", "ada", "rtmpConn", UUID),
    )


#: As nginx-rtmp 1.2.2 sent it when FFmpeg published `ada?token=...`.
NGINX = (
    "app=live&flashver=FMLE/3.0%20(compatible%3B%20Lavf59.27.100)&swfurl=&tcurl=rtmp%3A//"
    "127.0.0.1%3A1935/live&pageurl=&addr=127.0.0.1&clientid=7&call=publish&name=ada&type=live"
)


def test_arguments_appended_by_the_client_are_ignored() -> None:
    """The server's own fields come first, so the first value counts."""
    forged = f"{NGINX}&token={KEY}&name=eve&clientid=99&addr=10.0.0.1&app=other&token=second"
    request = callbacks.parse_nginx_publish(forged.encode())
    assert (request.slug, request.source_id, request.address) == ("ada", "7", "127.0.0.1")
    assert request.credential == Secret(KEY)
    event = callbacks.parse_nginx_event(forged.encode())
    assert (event.path, event.source_id) == ("live/ada", "7")


@pytest.mark.parametrize("body", [b"", b"app=live&name=ada", b"clientid=-1", b"clientid=x"])
def test_a_form_without_its_client_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        callbacks.parse_nginx_publish(body)


def test_a_form_with_too_many_fields_is_refused() -> None:
    with pytest.raises(UnreadableError):
        callbacks.parse_nginx_publish(NGINX.encode() + b"&a=1" * 100)


@given(st.binary(max_size=300))
def test_any_body_is_parsed_or_refused(body: bytes) -> None:
    for read in (
        callbacks.parse_mediamtx_auth,
        callbacks.parse_nginx_publish,
        callbacks.parse_nginx_event,
        lambda it: callbacks.parse_mediamtx_hook(it, "application/json"),
        lambda it: callbacks.parse_mediamtx_hook(it, "text/plain"),
    ):
        with suppress(UnreadableError):
            read(body)


_TEXT = st.text(st.sampled_from("aé/: \n\x00\ud800\U0001f600"), max_size=20)
_ANYTHING = st.none() | st.booleans() | st.integers() | _TEXT
_FIELDS = ("ip", "user", "password", "token", "path", "protocol", "id", "query")


@given(
    st.fixed_dictionaries(
        {"action": st.sampled_from(list(Action))}, optional=dict.fromkeys(_FIELDS, _ANYTHING)
    )
)
def test_parsed_fields_fit_into_a_row(fields: dict[str, Any]) -> None:
    request = callbacks.parse_mediamtx_auth(json.dumps(fields).encode())
    for text in (request.slug, request.source_id, request.address, request.protocol):
        assert len(text) <= 64
        assert "\x00" not in text
        assert text.encode().decode() == text


# ---- decisions -------------------------------------------------------------------------------
REQUEST = callbacks.parse_mediamtx_auth(question(token=KEY))
FREE = KeyFacts("ada", enabled=True)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


HELD = replace(FREE, source_id="other", source_address="203.0.113.7", lease_seen_at=ago(14))
ONCE = replace(FREE, single_use=True, last_used_at=ago(59), last_address="203.0.113.7")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (FREE, ""),
        (None, "unknown key"),
        (replace(FREE, slug="eve"), "another's path"),
        (replace(FREE, enabled=False), "broadcaster disabled"),
        (replace(FREE, revoked=True), "revoked"),
        (replace(FREE, other_in_use=True), "the broadcaster is live with another key"),
        (replace(HELD, other_in_use=True), "in use"),
        (replace(FREE, expires_at=NOW), "expired"),
        (replace(FREE, expires_at=NOW + timedelta(seconds=1)), ""),
        (HELD, "in use"),
        (replace(HELD, lease_seen_at=ago(15)), ""),
        (replace(HELD, source_id=UUID), ""),
        (replace(HELD, source_id=""), ""),
        (replace(HELD, source_id="", source_address="198.51.100.1"), "in use"),
        (replace(FREE, single_use=True), ""),
        (ONCE, ""),
        (replace(ONCE, last_used_at=ago(60)), "used up"),
        (replace(ONCE, last_address="198.51.100.1"), "used up"),
    ],
)
def test_publishing_needs_a_valid_key(key: KeyFacts | None, reason: str) -> None:
    decision = callbacks.may_publish(REQUEST, key, NOW, lease=LEASE, grace=GRACE)
    assert decision.reason == reason
    assert decision.verdict is (Verdict.REFUSE if reason else Verdict.ACCEPT)


def test_a_request_without_credentials_is_challenged() -> None:
    request = callbacks.parse_mediamtx_auth(question(user="u"))
    decision = callbacks.may_publish(request, None, NOW, lease=LEASE, grace=GRACE)
    assert decision.verdict is Verdict.CHALLENGE


@given(
    st.builds(
        KeyFacts,
        slug=st.sampled_from(["ada", "eve"]),
        enabled=st.booleans(),
        revoked=st.booleans(),
        expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
        single_use=st.booleans(),
        last_used_at=st.none() | st.sampled_from([ago(1), ago(100)]),
        last_address=st.sampled_from(["203.0.113.7", "198.51.100.1"]),
        source_id=st.sampled_from(["", UUID, "other"]),
        source_address=st.sampled_from(["203.0.113.7", "198.51.100.1"]),
        lease_seen_at=st.none() | st.sampled_from([ago(1), ago(16)]),
    )
)
def test_a_withdrawn_key_is_refused(key: KeyFacts) -> None:
    decision = callbacks.may_publish(REQUEST, key, NOW, lease=LEASE, grace=GRACE)
    withdrawn = key.revoked or not key.enabled or key.slug != "ada"
    withdrawn |= key.expires_at is not None and key.expires_at <= NOW
    if withdrawn:
        assert decision.verdict is Verdict.REFUSE
    assert decision.verdict is not Verdict.CHALLENGE


READ = "read-token-of-sixteen"


@pytest.mark.parametrize(
    ("address", "given_", "token", "verdict"),
    [
        ("127.0.0.1", "", "", Verdict.ACCEPT),
        ("::1", "", "", Verdict.ACCEPT),
        ("::ffff:127.0.0.1", "", "", Verdict.ACCEPT),
        ("203.0.113.7", "", READ, Verdict.CHALLENGE),
        ("203.0.113.7", READ, READ, Verdict.ACCEPT),
        ("203.0.113.7", "another", READ, Verdict.REFUSE),
        ("203.0.113.7", KEY, "", Verdict.REFUSE),
        ("", READ, "", Verdict.REFUSE),
    ],
)
def test_watching_needs_the_read_token(
    address: str, given_: str, token: str, verdict: Verdict
) -> None:
    request = callbacks.parse_mediamtx_auth(question(action="read", ip=address, token=given_))
    assert callbacks.may_read(request, Secret(token)).verdict is verdict
