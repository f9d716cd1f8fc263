"""The preflight, on-air hours and output sessions on the channel's page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from streams.models import Channel, ChannelState, OnAirHours, Output, OutputState, Run
from streams.monitoring.report import report
from streams.tests import rows

pytestmark = pytest.mark.django_db

PANELS = "/channels/demo/panels"


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


@pytest.fixture
def browser(client: Client) -> Client:
    client.force_login(rows.operator())
    return client


def page(browser: Client, path: str = PANELS) -> str:
    return " ".join(browser.get(path).content.decode().split())


def check(
    name: str, sentence: str, *, ok: bool = True, stops: bool = True
) -> dict[str, object]:
    return {"check": name, "ok": ok, "sentence": sentence, "stops": stops}


def checked(channel: Channel, *checks: dict[str, object], at: datetime | None = None) -> None:
    Channel.objects.filter(pk=channel.pk).update(desired_state="on", ordered_at=timezone.now())
    ChannelState.objects.update_or_create(channel=channel, defaults={"state": "starting"})
    Run.objects.update_or_create(
        channel=channel,
        ended_at=None,
        defaults={"checks": list(checks), "checked_at": at or timezone.now()},
    )


def test_checks_are_shown_with_their_results_faults_first(browser: Client) -> None:
    channel = rows.channel()
    well = check("ffmpeg", "FFmpeg is there.")
    away = check("storage", "The bucket does not answer.", ok=False, stops=False)
    full = check("folders", "The disk is nearly full.", ok=False)
    checked(channel, well, away, full, at=timezone.now())
    shown = page(browser)
    places = [shown.index(text) for text in ("nearly full", "does not answer", "is there.")]
    assert places == sorted(places)
    assert "✓" in shown
    assert "✗" in shown
    assert "Next check at" in shown
    checked(channel, well)
    shown = page(browser)
    assert "FFmpeg is there." in shown
    assert "Next check at" not in shown


def test_a_playing_channel_shows_no_next_check(browser: Client) -> None:
    channel = rows.channel()
    checked(channel, check("storage", "The bucket does not answer.", ok=False, stops=False))
    now = timezone.now()
    claim = {"on_air_since": now, "lease_until": now + timedelta(minutes=1)}
    ChannelState.objects.update(state="on_air", **claim)
    shown = page(browser)
    assert "The bucket does not answer." in shown
    assert "Next check at" not in shown


def test_a_channel_that_is_off_shows_no_old_preflight(browser: Client) -> None:
    channel = rows.channel()
    checked(channel, check("ffmpeg", "FFmpeg is there."))
    Channel.objects.update(desired_state="off")
    assert "Preflight" not in page(browser)
    assert "The on-air hours" not in page(browser, "/admin/monitor/demo/")


def test_the_outlook_of_the_hours_is_shown(browser: Client) -> None:
    channel = rows.channel()
    OnAirHours.objects.create(channel=channel, starts=time(8), ends=time(23))
    ChannelState.objects.create(channel=channel, hours_done=timezone.now())
    assert "The on-air hours st" in page(browser, "/admin/monitor/demo/")


def test_a_playing_channel_shows_the_checks_before_its_start(browser: Client) -> None:
    channel = rows.channel(time_zone="Europe/Berlin")
    begun = datetime(2026, 11, 21, 19, 34, tzinfo=UTC)
    storage = check("storage", "The storage is reachable.", stops=False)
    checked(channel, storage, at=begun - timedelta(minutes=1))
    assert "Checked <time" in page(browser)
    playing = {"state": "degraded", "on_air_since": begun}
    ChannelState.objects.update(**playing, lease_until=timezone.now() + timedelta(minutes=1))
    shown = page(browser)
    assert "Checked <time" not in shown
    assert re.search(
        r"Before the start, at <time[^>]*>21 Nov 20:33:00</time>\. Later events", shown
    )
    Run.objects.update(checked_at=begun + timedelta(minutes=1))
    assert "State at <time" in page(browser)


def test_a_tile_that_is_off_shows_the_next_scheduled_start(browser: Client) -> None:
    channel = rows.channel(time_zone="Europe/Berlin")
    ChannelState.objects.create(channel=channel, hours_done=timezone.now())
    hours = OnAirHours.objects.create(channel=channel, starts=time(8), ends=time(8, 1))
    tile = re.compile(r'data-f="outlook"(?P<hidden> hidden)?>(?P<text>[^<]*)<')
    match = tile.search(page(browser, "/admin/"))
    assert match is not None
    assert match["hidden"] is None
    assert match["text"].startswith("The on-air hours start the channel at ")
    (channel_report,) = browser.get("/api/v1/channel-statuses").json()["channels"]
    assert channel_report["outlook"] == match["text"]
    hours.delete()
    match = tile.search(page(browser, "/admin/"))
    assert match is not None
    assert match["hidden"]


def test_the_stop_dialog_names_the_next_scheduled_start(
    browser: Client,
) -> None:
    channel = rows.channel(time_zone="UTC")
    rows.node()
    rows.on_air(channel)
    assert "until somebody starts the channel again." in page(browser, "/admin/monitor/demo/")
    OnAirHours.objects.create(channel=channel, starts=time(8), ends=time(23))
    cost = "until somebody starts the channel again, or until its on-air hours start it at "
    for address in ("/admin/monitor/demo/", "/admin/"):
        assert cost in page(browser, address)
    dialog = browser.post("/channels/demo/stop/").content.decode()
    assert cost in " ".join(dialog.split())


def test_the_channels_page_uses_and_names_one_zone(browser: Client) -> None:
    channel = rows.channel(time_zone="Asia/Tokyo")
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    rows.node(noon)
    Channel.objects.update(desired_state="on", ordered_at=noon, ordered_by="ada")
    channel.incidents.create(
        subject="x", severity="lost", cause="Away.", opened_at=noon, closed_at=noon
    )
    shown = page(browser, "/admin/monitor/demo/")
    assert "All times on this page are in Asia/Tokyo." in shown
    assert 'data-zone="Asia/Tokyo"' in shown
    assert "no playout worker has reported since 2026-11-21 21:00:00 JST" in shown
    assert "21 Nov 21:00:00" in page(browser)
    assert "12:00:00<" not in shown
    # JSON stays in UTC; the control room uses and names the site's zone.
    (channel_report,) = browser.get("/api/v1/channel-statuses").json()["channels"]
    assert channel_report["last_incident"]["opened_at"] == "2026-11-21T12:00:00Z"
    room = page(browser, "/admin/")
    assert 'data-zone="UTC"' in room
    assert "Times without a zone are in UTC." in room


def test_a_failed_preflight_is_the_channels_cause() -> None:
    """Also after a reboot, with an open run measured long ago."""
    channel = rows.channel()
    rows.node()
    long_ago = timezone.now() - timedelta(hours=3)
    Run.objects.create(channel=channel, started_at=long_ago)
    checked(channel, check("folders", "The disk is nearly full.", ok=False))
    ChannelState.objects.update(measured_at=long_ago)
    (channel_report,) = report(timezone.now()).channels
    assert (channel_report.state, channel_report.cause) == (
        "starting",
        "The disk is nearly full.",
    )
    # It is no longer retried.
    Run.objects.update(checked_at=long_ago)
    (channel_report,) = report(timezone.now()).channels
    assert channel_report.state == "unknown"


# ---- sessions --------------------------------------------------------------------------------


def test_an_outputs_session_is_shown_with_its_end(browser: Client) -> None:
    channel = rows.channel()
    youtube = rows.output(channel)
    receiver = rows.output(channel, "SRT", platform="srt", url="srt://127.0.0.1:9000", key="")
    rows.node()
    rows.on_air(channel)
    since = timezone.now() - timedelta(hours=2)
    OutputState.objects.update(session_since=since)
    outputs = {one.id: one for one in report(timezone.now()).channels[0].outputs}
    assert outputs[youtube.pk].session_due == since + timedelta(hours=11)
    assert outputs[receiver.pk].session_since == since
    # MPEG-TS has no such limit.
    assert outputs[receiver.pk].session_due is None
    shown = page(browser, "/admin/monitor/demo/")
    assert shown.count("Session since") == 2
    assert shown.count("next after") == 1


@pytest.mark.parametrize(
    ("platform", "hours", "fault"),
    [
        ("youtube", 11, ""),
        ("youtube", 12, "YouTube takes no session of 12 hours: have a new one every 11"),
        ("youtube_backup", 24, "every 11 hours or more often"),
        ("twitch", 47, ""),
        ("twitch", 48, "Twitch takes no session of 48 hours: have a new one every 47"),
        ("rtmp", 576, ""),
        ("srt", 576, ""),
        ("youtube", None, ""),
    ],
)
def test_hours_beyond_the_platforms_limit_are_refused(
    platform: str, hours: int | None, fault: str
) -> None:
    output = Output(platform=platform, url="rtmp://127.0.0.1/live", roll_over_hours=hours)
    if not fault:
        output.clean()
        return
    with pytest.raises(ValidationError, match=fault):
        output.clean()


def test_the_session_length_of_an_output() -> None:
    def lasts(platform: str, hours: int | None = None) -> tuple[float, float]:
        after, by = Output(platform=platform, roll_over_hours=hours).roll_over
        return after / timedelta(hours=1), by / timedelta(hours=1)

    assert lasts("youtube") == (11, 11.75)
    assert lasts("youtube", 6) == (6, 11.75)
    assert lasts("twitch") == (46, 47.5)
    # FLV's timestamps overflow after 2^31 ms: 596.5 h.
    assert lasts("rtmp") == (576, 588)
    assert lasts("srt") == (0, 0)
    assert lasts("srt", 24) == (24, 0)


@pytest.mark.parametrize("page", ["output", "channel"])
def test_the_forms_refuse_invalid_hours_with_a_reason(client: Client, page: str) -> None:
    client.force_login(User.objects.create_superuser("boss", password="x"))
    channel = rows.channel()
    output = rows.output(channel, platform="rtmp", url="rtmp://127.0.0.1/live")
    Output.objects.update(roll_over_hours=24)
    if page == "output":
        path = f"/admin/streams/output/{output.pk}/change/"
        data = {"channel": channel.pk, "name": "YouTube", "roll_over_hours": 24}
        data |= {"platform": "youtube", "enabled": "on"}
    else:
        path = f"/admin/streams/channel/{channel.pk}/change/"
        shown = client.get(path).context
        data = {
            field.html_name: field.value() or ""
            for form in [shown["adminform"].form, *shown["inline_admin_formsets"][0].formset]
            for field in form
        }
        for formset in shown["inline_admin_formsets"]:
            for field in formset.formset.management_form:
                data[field.html_name] = field.value()
        data["outputs-0-platform"] = "youtube"
    answer = client.post(path, data)
    assert answer.status_code == 200
    assert "YouTube takes no session of 24 hours" in answer.content.decode()
    assert Output.objects.get().platform == "rtmp"
