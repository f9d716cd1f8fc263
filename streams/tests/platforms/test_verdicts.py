"""Tables: recorded answers, and the verdict that follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streams.platforms import verdicts
from streams.platforms.answers import (
    Broadcast,
    LiveStream,
    TwitchStream,
    broadcast_of,
    rows,
    stream_of,
)
from streams.platforms.transport import PlatformError
from streams.platforms.verdicts import Effect, Sending, Verdict
from streams.tests.platforms.stand_in import broadcast, stream
from streamsite.security.secret import Secret

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
FRESH = int(NOW.timestamp()) - 20
KEY = "abcd-efgh-ijkl"


def judged(
    status: str = "active",
    health: str = "good",
    life: str | None = "live",
    at: int | None = FRESH,
    issues: list[dict[str, str]] | None = None,
    **content: Any,
) -> Verdict:
    raw = stream("s1", KEY, status, health, at)
    raw["status"]["healthStatus"]["configurationIssues"] = issues or []
    received = LiveStream.model_validate(raw)
    shown = None
    if life is not None:
        shown = Broadcast.model_validate(broadcast("v1", "s1", life, **content))
    return verdicts.youtube(received, shown, NOW)


LOW = {
    "type": "bitrateLow",
    "severity": "warning",
    "reason": "Low bitrate",
    "description": "The bitrate is below 4500 kbit/s.",
}
MUTE = {
    "type": "noAudioStream",
    "severity": "error",
    "reason": "No audio",
    "description": "The stream has no audio.",
}


@pytest.mark.parametrize(
    ("given", "level", "part"),
    [
        ({}, "healthy", "The broadcast is live."),
        ({"health": "ok", "issues": [LOW]}, "healthy", LOW["description"]),
        ({"health": "bad", "issues": [LOW, MUTE]}, "degraded", MUTE["description"]),
        ({"health": "noData"}, "down", "receives no data"),
        ({"health": "revoked"}, "down", "revoked the stream"),
        ({"status": "inactive", "at": None}, "down", "receives no data"),
        ({"status": "ready"}, "down", "receives no data"),
        ({"status": "error"}, "down", "error of the stream"),
        ({"status": "asleep"}, "unknown", "asleep"),
        ({"life": "complete"}, "down", "has ended"),
        ({"life": "complete", "at": 1}, "down", "has ended"),
        ({"life": "revoked"}, "down", "taken the broadcast down"),
        ({"life": "ready"}, "down", "not live yet"),
        ({"life": "testing"}, "down", "not live yet"),
        ({"life": "liveStarting"}, "unknown", "about to go live"),
        ({"life": "dreaming"}, "unknown", "dreaming"),
        ({"life": None}, "down", "no broadcast shows it"),
        ({"at": FRESH - 600}, "unknown", "has not judged the stream since 11:49 UTC"),
        ({"at": None}, "unknown", "has not judged the stream yet"),
        ({"health": "bad", "at": FRESH - 600}, "unknown", "not judged"),
        ({"health": "great"}, "unknown", "great"),
        ({"enableAutoStop": True}, "healthy", "Auto-stop is on"),
    ],
)
def test_verdict_of_youtube(given: dict[str, Any], level: str, part: str) -> None:
    verdict = judged(**given)
    assert (verdict.level, part in verdict.sentence) == (level, True), verdict
    assert KEY not in repr(verdict)


def test_a_down_verdict_has_advice() -> None:
    downs = [judged(life="complete"), judged(life=None), judged("inactive"), judged("error")]
    assert all(one.advice for one in downs)
    assert [one.over for one in downs] == [True, False, False, False]


def test_no_stream_with_the_key_is_unknown() -> None:
    verdict = verdicts.youtube(None, None, NOW)
    assert (verdict.level, bool(verdict.advice)) == ("unknown", True)


LIVE = {
    "id": "40952121085",
    "user_id": "141981764",
    "type": "live",
    "title": "Day and night",
    "game_id": "509670",
    "game_name": "Science & Technology",
    "viewer_count": 78,
    "started_at": "2026-12-01T00:59:30Z",
}


@pytest.mark.parametrize(
    ("row", "level", "part"),
    [
        (LIVE, "healthy", "78 watching"),
        (None, "down", "offline"),
        (LIVE | {"type": ""}, "unknown", "error of its own"),
    ],
)
def test_verdict_of_twitch(row: dict[str, Any] | None, level: str, part: str) -> None:
    verdict = verdicts.twitch(TwitchStream.model_validate(row) if row else None)
    assert (verdict.level, part in verdict.sentence) == (level, True)


def test_the_stream_by_its_key_and_the_broadcast_by_the_stream() -> None:
    streams = rows(
        LiveStream,
        [stream("other", "zzzz", "active", "good", 1), stream("s1", KEY, "active", "good", 1)],
        "host",
    )
    mine = stream_of(Secret(KEY), streams)
    assert mine is not None
    assert mine.id == "s1"
    assert stream_of(Secret(""), streams) is None
    assert KEY not in repr(streams)
    shown = [
        Broadcast.model_validate(broadcast(name, bound, life))
        for name, bound, life in [
            ("v0", "other", "live"),
            ("v1", "s1", "ready"),
            ("v2", "s1", "live"),
            ("v3", "s1", "complete"),
        ]
    ]
    one = broadcast_of("s1", shown)
    assert one is not None
    assert one.id == "v2"


@pytest.mark.parametrize(
    "items",
    [None, {}, "x", [1], [{"id": 7}], [{"id": "s", "status": "active"}, {}]],
)
def test_rows_of_another_form_are_refused_without_their_values(items: object) -> None:
    with pytest.raises(PlatformError, match=r"^host answered with rows of another form\.$"):
        rows(LiveStream, items, "host")


GOOD = Verdict(verdicts.Level.HEALTHY, "")
BAD = Verdict(verdicts.Level.DEGRADED, "")
DOWN = Verdict(verdicts.Level.DOWN, "")
OVER = Verdict(verdicts.Level.DOWN, "", over=True)
UNSURE = verdicts.unknown("")
LONG = timedelta(hours=1)


@pytest.mark.parametrize(
    ("kind", "verdict", "on_air", "session", "since", "effect"),
    [
        ("youtube", GOOD, True, LONG, LONG, Effect.CLEAR),
        ("youtube", DOWN, True, LONG, LONG, Effect.LOST),
        ("youtube", BAD, True, LONG, LONG, Effect.DEGRADED),
        # Unknown opens nothing and closes nothing, on either side.
        ("youtube", UNSURE, True, LONG, LONG, Effect.KEEP),
        ("youtube", DOWN, None, LONG, LONG, Effect.KEEP),
        # The output is off air: its own incident says so.
        ("youtube", DOWN, False, LONG, LONG, Effect.CLEAR),
        # The platform's delay after a new session, and a second check before it counts.
        ("youtube", OVER, True, timedelta(seconds=119), LONG, Effect.KEEP),
        ("youtube", OVER, True, timedelta(seconds=121), timedelta(0), Effect.LOST),
        ("youtube", DOWN, True, LONG, timedelta(seconds=44), Effect.KEEP),
        ("youtube", DOWN, True, LONG, timedelta(seconds=46), Effect.LOST),
        ("twitch", DOWN, True, timedelta(seconds=299), LONG, Effect.KEEP),
        ("twitch", DOWN, True, timedelta(seconds=301), LONG, Effect.LOST),
        ("youtube", DOWN, True, None, LONG, Effect.KEEP),
    ],
)
def test_contradiction(
    kind: str,
    verdict: Verdict,
    on_air: bool | None,
    session: timedelta | None,
    since: timedelta,
    effect: Effect,
) -> None:
    sending = Sending(on_air, NOW - session if session else None)
    assert verdicts.contradiction(kind, verdict, NOW - since, sending, NOW) is effect
