"""Which alert goes to whom and when; what it says; which address a service gets."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from apprise import Apprise

from streams.alerts import services, wording
from streams.alerts.rules import Quiet, Wishes
from streamsite.notifications.channels import apprise_address

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Quiet(time(22), time(7), BERLIN)
NOON = Quiet(time(12), time(13), BERLIN)
GROUP = timedelta(seconds=5)


def at(hour: int, minute: int = 0, day: int = 10) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=BERLIN)


@pytest.mark.parametrize(
    ("wishes", "stage", "severity", "expected"),
    [
        (Wishes(), "opened", "degraded", True),
        (Wishes(), "opened", "planned", False),
        (Wishes(lowest="lost"), "opened", "degraded", False),
        (Wishes(lowest="lost"), "closed", "lost", True),
        (Wishes(lowest="planned"), "opened", "planned", True),
        (Wishes(opened=False), "opened", "lost", False),
        (Wishes(opened=False), "closed", "lost", True),
        (Wishes(closed=False), "closed", "lost", False),
        (Wishes(), "lasting", "lost", False),
        (Wishes(repeat=timedelta(hours=1)), "lasting", "lost", True),
    ],
)
def test_stages_and_severities(
    wishes: Wishes, stage: str, severity: str, *, expected: bool
) -> None:
    assert wishes.wants(stage, severity) is expected


@pytest.mark.parametrize(
    ("quiet", "now", "ends"),
    [
        (NIGHT, at(21, 59), None),
        (NIGHT, at(22), at(7, day=11)),
        (NIGHT, at(6, 59), at(7)),
        (NIGHT, at(7), None),
        (NOON, at(12, 30), at(13)),
        (NOON, at(13), None),
        # In another zone than the clock's.
        (NOON, datetime(2026, 3, 10, 11, 30, tzinfo=UTC), at(13)),
        # The hour that is left out in spring: 07:00 is seven hours after midnight less one.
        (NIGHT, at(23, day=28), at(7, day=29)),
    ],
)
def test_quiet_hours(quiet: Quiet, now: datetime, ends: datetime | None) -> None:
    assert quiet.ends(now) == ends


@pytest.mark.parametrize(
    ("wishes", "severity", "now", "waiting", "due"),
    [
        (Wishes(), "lost", at(9), None, at(9)),
        (Wishes(group=GROUP), "lost", at(9), None, at(9) + GROUP),
        # It goes with the one that waits already, not after it.
        (Wishes(group=GROUP), "lost", at(9), at(9) + GROUP / 2, at(9) + GROUP / 2),
        (Wishes(group=GROUP), "lost", at(9), at(8), at(9) + GROUP),
        (Wishes(group=GROUP), "lost", at(9), at(9) + 9 * GROUP, at(9) + GROUP),
        (Wishes(quiet=NIGHT), "degraded", at(23), None, at(7, day=11)),
        (Wishes(quiet=NIGHT), None, at(23), None, at(7, day=11)),
        (Wishes(quiet=NIGHT), "lost", at(23), None, at(23)),
        (Wishes(quiet=NIGHT, urgent=False), "lost", at(23), None, at(7, day=11)),
        (Wishes(quiet=NIGHT, group=GROUP), "lost", at(23), at(7, day=11), at(23) + GROUP),
    ],
)
def test_when_it_is_sent(
    wishes: Wishes,
    severity: str | None,
    now: datetime,
    waiting: datetime | None,
    due: datetime,
) -> None:
    assert wishes.due(severity, now, waiting) == due


def test_an_incident_that_lasts_is_reported_again() -> None:
    hourly = Wishes(repeat=timedelta(hours=1))
    assert not hourly.again("lost", at(9), at(9, 59))
    assert hourly.again("lost", at(9), at(10))
    assert not hourly.again("planned", at(9), at(12))
    assert not Wishes().again("lost", at(9), at(12))


def report(stage: str = "opened", closed: datetime | None = None) -> wording.Report:
    cause = "YouTube: No server accepts connections."
    return wording.Report("Demo", "output-7", "lost", cause, stage, at(9), closed, "/i/1/")


def test_wording() -> None:
    assert wording.line(report(), at(9)) == (
        "Demo: Off air since 10 Mar 09:00:00 CET. YouTube: No server accepts connections. "
        "Look at the destination's own page, and check its stream key. /i/1/"
    )
    assert "Off air for 12 min 0 s, since" in wording.line(report("lasting"), at(9, 12))
    over = report("closed", at(9) + timedelta(seconds=42))
    assert wording.line(over, at(10)) == (
        "Demo: over after 42 s, since 10 Mar 09:00:00 CET. It was: YouTube: No server "
        "accepts connections. /i/1/"
    )
    assert wording.subject([report()], []) == "Demo: off air"
    assert wording.subject([over], []) == "Demo: over"
    assert wording.subject([report(), over], ["x"]) == "Demo: 1 open, 1 over"
    assert wording.subject([], ["Node a is lost"]) == "Node a is lost"
    assert wording.lasted(7800) == "2 h 10 min"


HOOK = "https://discord.com/api/webhooks/123456789012345678/abcDEF-ghi_jkl"
SLACK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
FLOW = "https://prod-1.westeurope.logic.azure.com:443/workflows/abcd/triggers/manual/paths/"


@pytest.mark.parametrize(
    ("kind", "values", "service"),
    [
        (
            "telegram",
            {"telegram_token": "123456789:abc_DEF-ghi", "telegram_chat": "-1001234"},
            "NotifyTelegram",
        ),
        ("discord", {"discord_url": HOOK}, "NotifyDiscord"),
        ("slack", {"slack_url": SLACK}, "NotifySlack"),
        ("ntfy", {"ntfy_topic": "my-topic"}, "NotifyNtfy"),
        (
            "ntfy",
            {"ntfy_topic": "t", "ntfy_server": "http://h:81", "ntfy_token": "tk_a"},
            "NotifyNtfy",
        ),
        (
            "matrix",
            {
                "matrix_server": "https://m.example",
                "matrix_token": "syt/a",
                "matrix_room": "#ops:m.example",
            },
            "NotifyMatrix",
        ),
        (
            "pushover",
            {"pushover_user": "u" * 30, "pushover_token": "a" * 30},
            "NotifyPushover",
        ),
        (
            "gotify",
            {"gotify_server": "https://g.example/sub", "gotify_token": "A.b"},
            "NotifyGotify",
        ),
        (
            "teams",
            {"teams_url": f"{FLOW}invoke?api-version=2016-06-01&sig=aBc"},
            "NotifyWorkflows",
        ),
        ("webhook", {"webhook_url": "https://h.example/in?k=v"}, "NotifyJSON"),
        ("apprise", {"apprise_url": "signal://h:8080/12345678901/12345678902"}, ""),
    ],
)
def test_a_service_gets_its_address(kind: str, values: dict[str, str], service: str) -> None:
    made = Apprise.instantiate(apprise_address(services.address(kind, values)))
    assert made is not None
    assert service in {"", type(made).__name__}


@pytest.mark.parametrize(
    ("kind", "values", "name", "sentence"),
    [
        ("telegram", {"telegram_token": "1:a"}, "telegram_chat", "Chat is missing."),
        ("discord", {"discord_url": "https://evil.example/x"}, "discord_url", "no address of"),
        ("slack", {"slack_url": "xoxb-token"}, "slack_url", "beginning with https://"),
        ("webhook", {"webhook_url": "h.example"}, "webhook_url", "beginning with https://"),
        ("apprise", {"apprise_url": "dbus://"}, "apprise_url", "own screen"),
        ("apprise", {"apprise_url": "nonsense"}, "apprise_url", "service://"),
        ("mail", {"mail_to": "a@b\nBcc: x@y"}, "mail_to", "control character"),
    ],
)
def test_a_field_that_can_not_be_used(
    kind: str, values: dict[str, str], name: str, sentence: str
) -> None:
    with pytest.raises(services.FieldError, match=sentence) as caught:
        services.address(kind, values)
    assert caught.value.name == name


def test_every_kind_has_fields_of_its_own() -> None:
    names = [field.name for fields in services.FIELDS.values() for field in fields]
    assert len(names) == len(set(names))
