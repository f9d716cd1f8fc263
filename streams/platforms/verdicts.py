"""From what a platform answers to a verdict, and to whether it contradicts what is sent. Pure.

Unknown is never good or bad: a call that failed, a judgement that is old and a word that is not
documented make it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from streams.models import Incident, PlatformReport
from streams.platforms.answers import Broadcast, LiveStream, TwitchStream

Level = PlatformReport.Level

#: A health that was judged longer ago says nothing about now. YouTube documents no interval;
#: five checks of ours.
HEALTH_MAX_AGE: Final = timedelta(minutes=5)
#: How long a platform may take to show a new session. YouTube starts a bound broadcast within
#: a minute and its auto-stop counts about a minute: twice that. Twitch documents that Get
#: Streams is not immediate, and answers from a cache of some minutes.
DELAY: Final = {"youtube": timedelta(minutes=2), "twitch": timedelta(minutes=5)}
#: "Down" has to be said again by the next check, unless the broadcast is over.
CONFIRM: Final = timedelta(seconds=45)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`figures`: what led to it. `over`: the broadcast has ended. No secret is in any."""

    level: Level
    sentence: str
    advice: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    over: bool = False


def unknown(sentence: str) -> Verdict:
    return Verdict(Level.UNKNOWN, sentence)


# ---- YouTube ---------------------------------------------------------------------------------

_OVER: Final = {
    "complete": "The broadcast has ended: viewers see nothing, although we send.",
    "revoked": "YouTube has taken the broadcast down: viewers see nothing, although we send.",
}
_NOT_LIVE: Final = frozenset({"created", "ready", "testing", "testStarting"})
_NO_DATA: Final = frozenset({"created", "ready", "inactive"})


def youtube(stream: LiveStream | None, broadcast: Broadcast | None, now: datetime) -> Verdict:
    """Judge an output by its stream and by the broadcast that the stream is bound to."""
    if stream is None:
        return Verdict(
            Level.UNKNOWN,
            "No stream of this account has the output's key.",
            "Choose the account that the stream key is from, or type its present key.",
        )
    figures = _figures(stream, broadcast)
    life = (broadcast.life_cycle or "") if broadcast else ""
    if life in _OVER:
        advice = (
            "Create a broadcast with the same stream key, and go live."
            if life == "complete"
            else "Look into YouTube Studio for the reason. No new one is created by itself."
        )
        return Verdict(Level.DOWN, _OVER[life], advice, figures, over=True)
    if (silent := _not_received(stream, figures)) is not None:
        return silent
    if broadcast is None:
        return Verdict(
            Level.DOWN,
            "YouTube receives the stream, but no broadcast shows it.",
            "Create a broadcast with this stream key, and go live.",
            figures,
        )
    if life in _NOT_LIVE:
        return Verdict(
            Level.DOWN,
            "YouTube receives the stream, but the broadcast is not live yet.",
            "Press “Go live” in YouTube Studio.",
            figures,
        )
    if life != "live":
        state = "is about to go live" if life == "liveStarting" else f"is in state {life}"
        return Verdict(Level.UNKNOWN, f"The broadcast {state}.", "", figures)
    return _health(stream, figures, now)


def _not_received(stream: LiveStream, figures: dict[str, Any]) -> Verdict | None:
    """Judge a stream that is not active; None: YouTube receives it."""
    if stream.status in _NO_DATA or (stream.status == "active" and stream.health == "noData"):
        return Verdict(
            Level.DOWN,
            "YouTube receives no data, although we send.",
            "Check that the key and the address are of this stream, and restart the output.",
            figures,
        )
    if stream.status == "error":
        return Verdict(
            Level.DOWN,
            "YouTube reports an error of the stream.",
            "Look into YouTube Studio for the reason, and restart the output.",
            figures,
        )
    if stream.status != "active":
        return Verdict(
            Level.UNKNOWN, f"YouTube reports an unknown state: {stream.status}.", "", figures
        )
    return None


def _health(stream: LiveStream, figures: dict[str, Any], now: datetime) -> Verdict:
    """Judge a broadcast that is live."""
    judged = datetime.fromtimestamp(stream.health_at, UTC) if stream.health_at else None
    if judged is None or now - judged > HEALTH_MAX_AGE:
        when = f"since {judged:%H:%M} UTC" if judged else "yet"
        return Verdict(
            Level.UNKNOWN,
            f"The broadcast is live. YouTube has not judged the stream {when}.",
            "",
            figures,
        )
    worst = _worst(figures["issues"])
    if stream.health == "revoked":
        return Verdict(
            Level.DOWN,
            "YouTube has revoked the stream.",
            "Look into YouTube Studio for the reason.",
            figures,
        )
    if stream.health == "bad":
        why = f": {worst}" if worst else "."
        return Verdict(
            Level.DEGRADED,
            f"The broadcast is live, but YouTube calls the stream bad{why}",
            "Compare the house format with what YouTube asks for, and check the uplink.",
            figures,
        )
    if stream.health in {"good", "ok"}:
        note = f" YouTube's advice: {worst}" if worst and stream.health == "ok" else ""
        stop = (
            " Auto-stop is on: a gap of a minute ends the broadcast."
            if figures["auto_stop"]
            else ""
        )
        return Verdict(Level.HEALTHY, f"The broadcast is live.{note}{stop}", "", figures)
    return Verdict(
        Level.UNKNOWN, f"YouTube reports an unknown health: {stream.health}.", "", figures
    )


_SEVERITIES: Final = ("error", "warning", "info")


def _worst(issues: list[dict[str, str]]) -> str:
    """Return the platform's own text of the most severe issue."""
    ranked = sorted(
        (one for one in issues if one["severity"] in _SEVERITIES),
        key=lambda one: _SEVERITIES.index(one["severity"]),
    )
    return ranked[0]["text"] if ranked else ""


def _figures(stream: LiveStream, broadcast: Broadcast | None) -> dict[str, Any]:
    return {
        "stream_status": stream.status,
        "health": stream.health,
        "health_at": stream.health_at,
        "issues": [
            {
                "type": one.type,
                "severity": one.severity,
                "text": one.description or one.reason or one.type,
            }
            for one in stream.issues or ()
        ],
        "broadcast": broadcast.id if broadcast else "",
        "life_cycle": broadcast.life_cycle if broadcast else None,
        "privacy": broadcast.privacy if broadcast else None,
        "auto_stop": broadcast.auto_stop if broadcast else None,
        "title": broadcast.title if broadcast else None,
        "viewers": broadcast.viewers if broadcast else None,
    }


# ---- Twitch ----------------------------------------------------------------------------------


def twitch(stream: TwitchStream | None, nearest: str = "") -> Verdict:
    """Judge a Twitch channel by its row of Get Streams; None: it has none.

    `nearest`: the ingest server that Twitch lists first; may be empty.
    """
    if stream is None:
        other = f" Twitch's nearest server is {nearest}." if nearest else ""
        return Verdict(
            Level.DOWN,
            "Twitch shows the channel as offline, although we send.",
            f"Check that the key is of this account, and restart the output.{other}",
            {"live": False, "nearest_ingest": nearest},
        )
    figures = {
        "live": stream.type == "live",
        "title": stream.title,
        "category": stream.game_name,
        "viewers": stream.viewer_count,
        "started_at": stream.started_at.isoformat() if stream.started_at else None,
    }
    if stream.type != "live":
        return Verdict(Level.UNKNOWN, "Twitch reports an error of its own.", "", figures)
    viewers = "" if stream.viewer_count is None else f", {stream.viewer_count} watching"
    return Verdict(Level.HEALTHY, f"The channel is live{viewers}.", "", figures)


# ---- against what we send --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sending:
    """What our own node says. `on_air`: None: unknown, for no node has reported lately."""

    on_air: bool | None
    session_since: datetime | None


class Effect(StrEnum):
    """On the incident of an output: leave it as it is, have none, or one of a severity."""

    KEEP = "keep"
    CLEAR = "clear"
    DEGRADED = Incident.Severity.DEGRADED.value
    LOST = Incident.Severity.LOST.value


def contradiction(
    kind: str, verdict: Verdict, since: datetime | None, sending: Sending, now: datetime
) -> Effect:
    """Return what follows from the platform's verdict against what we send.

    `since`: the first check with this level.
    """
    if sending.on_air is False or verdict.level == Level.HEALTHY:
        return Effect.CLEAR
    if sending.on_air is None or verdict.level == Level.UNKNOWN:
        return Effect.KEEP
    began = sending.session_since
    if began is None or now - began < DELAY[kind]:
        # The platform may still show the session before.
        return Effect.KEEP
    if not verdict.over and (since is None or now - since < CONFIRM):
        return Effect.KEEP
    return Effect.DEGRADED if verdict.level == Level.DEGRADED else Effect.LOST
