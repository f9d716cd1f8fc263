"""The management commands: orders and their output."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone
from pytest_django import Settings

from streams.models import Channel, ChannelState, Run
from streams.tests import rows

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


def test_start_orders_the_channel_on() -> None:
    rows.channel()
    rows.node()
    assert run("start_channel") == "Demo is ordered on.\n"
    assert Channel.objects.get().desired_state == "on"
    assert Run.objects.get().started_by.endswith("(command)")


def test_start_warns_if_no_worker_runs() -> None:
    rows.channel()
    assert "no playout worker runs on this machine" in run("start_channel")


def test_a_second_start_reports_already_on_air() -> None:
    rows.channel()
    run("start_channel", "demo")
    with pytest.raises(CommandError, match="already on air"):
        run("start_channel", "demo")
    assert Run.objects.count() == 1


def test_a_start_with_faults_lists_them_and_writes_nothing() -> None:
    rows.channel(playlist=None)
    with pytest.raises(CommandError, match="has no playlist"):
        run("start_channel")
    assert not Run.objects.exists()


@pytest.mark.slow
def test_start_can_wait_until_it_is_on_air(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = rows.channel()
    rows.node()

    def worker(seconds: float) -> None:
        # Instead of the pause between two polls: the worker's next tick.
        ChannelState.objects.update_or_create(
            channel=channel,
            defaults={"owner": "here", "state": "on_air", "measured_at": timezone.now()},
        )

    monkeypatch.setattr("streams.management.commands.start_channel.time.sleep", worker)
    assert run("start_channel", "--wait", "5") == "Demo is on air.\n"


def test_start_fails_after_the_waiting_time() -> None:
    rows.channel()
    rows.node()
    with pytest.raises(CommandError, match=r"not on air after 0 s, but starting"):
        run("start_channel", "--wait", "0")


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_stop_and_restart_need_a_running_channel(verb: str) -> None:
    rows.channel()
    with pytest.raises(CommandError, match="is not running"):
        run(f"{verb}_channel")


def test_stop_and_restart_are_written_as_orders() -> None:
    channel = rows.channel()
    rows.on_air(channel)
    assert run("restart_channel", "demo") == "Demo is ordered to restart.\n"
    assert run("stop_channel", "demo") == "Demo is ordered off.\n"
    channel.refresh_from_db()
    assert (channel.desired_state, channel.restarts) == ("off", 1)


def test_with_several_channels_a_slug_is_required() -> None:
    rows.channel("one")
    rows.channel("two")
    with pytest.raises(CommandError, match=r"Which channel\? Channels: one, two\."):
        run("start_channel")
    with pytest.raises(CommandError, match=r"no channel 'three'. Channels: one, two\."):
        run("stop_channel", "three")


def test_without_any_channel() -> None:
    with pytest.raises(CommandError, match="There is no channel yet"):
        run("stop_channel")
    assert run("channel_status").startswith("There is no channel yet")


def test_status_as_json_has_the_objects_of_health_and_more() -> None:
    channel = rows.channel()
    rows.output(channel)
    rows.node()
    rows.on_air(channel)
    body = json.loads(run("channel_status", "--json"))
    assert body["status"] == "ok"
    (one,) = body["channels"]
    assert (one["slug"], one["desired_state"], one["state"]) == ("demo", "on", "on_air")
    assert one["outputs"][0]["bitrate"] == 2_900_000
    assert one["now"]["title"] == "First"
    assert one["run"]["started_by"] == "ada"
    assert rows.KEY not in json.dumps(body)


def test_status_is_a_table() -> None:
    channel = rows.channel()
    rows.output(channel)
    rows.node()
    rows.on_air(channel)
    lines = run("channel_status", "demo").splitlines()
    assert lines[0].split() == [
        "CHANNEL",
        "ORDER",
        "STATE",
        "ON",
        "AIR",
        "FOR",
        "BITRATE",
        "NOW",
        "NEXT",
    ]
    assert lines[1].split()[:4] == ["demo", "on", "On", "air"]
    assert lines[0].index("STATE") == lines[1].index("On air")
    assert any("YouTube" in line and "2.90 Mbit/s" in line for line in lines)


@pytest.mark.parametrize(
    ("state", "code", "line"),
    [
        ("on_air", 0, "ok: 1 of 1 channels on air, as ordered\n"),
        ("degraded", 1, "degraded: demo is degraded (Twitch is off the air)\n"),
        ("failing", 2, "down: demo is failing (Twitch is off the air)\n"),
    ],
)
def test_check_health_is_a_line_and_an_exit_code(
    state: str, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.node()
    rows.on_air(rows.channel(), state=state, cause="Twitch is off the air.")
    try:
        call_command("check_health")
        ended = 0
    except SystemExit as end:
        ended = int(end.code or 0)
    assert (ended, capsys.readouterr().out) == (code, line)


def test_check_health_of_one_channel_ignores_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows.node()
    rows.on_air(rows.channel("well"))
    rows.on_air(rows.channel("ill"), state="failing", cause="It has no source.")
    call_command("check_health", "well")
    assert capsys.readouterr().out == "ok: 1 of 1 channels on air, as ordered\n"
    # Neither "degraded" nor "down": a watchdog must not restart anything for a mistyped name.
    with pytest.raises(CommandError, match="There is no channel 'nobody'") as wrong:
        call_command("check_health", "nobody")
    assert wrong.value.returncode == 3


def test_check_health_without_a_database_is_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(now: object, slug: str | None = None) -> None:
        raise DatabaseError("disk I/O error")

    monkeypatch.setattr("streams.management.commands.check_health.report", broken)
    with pytest.raises(SystemExit) as end:
        call_command("check_health")
    assert end.value.code == 2
    assert capsys.readouterr().out == "down: the database can't be read (disk I/O error)\n"


def test_check_health_without_a_worker_is_down() -> None:
    long_ago = timezone.now() - timedelta(minutes=3)
    rows.node(long_ago)
    rows.on_air(rows.channel(), at=long_ago)
    with pytest.raises(SystemExit) as end:
        run("check_health")
    assert end.value.code == 2


def test_platforms_without_an_account_gives_advice() -> None:
    rows.output(rows.channel())
    assert "Choose one on an output's page" in run("platforms")
