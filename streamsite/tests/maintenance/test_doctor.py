"""The doctor's report says what is wrong, and shows no secret, whatever happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Final

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone
from django_q.models import Task
from pytest_django import Settings

from media_library.models import SiteCookies
from streams.models import Channel, Incident
from streams.tests import rows
from streamsite.maintenance import doctor, doctor_parts, redaction
from streamsite.maintenance.doctor import Line, Part, Verdict
from streamsite.maintenance.doctor_parts import PARTS, fault, ok, warning
from streamsite.security.secret import Secret
from streamsite.webhooks.models import Endpoint

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)


def part_of(*lines: Line, name: str = "part", of_rows: bool = True) -> Part:
    return Part(name, lambda _now: lines, of_rows)


@pytest.mark.slow
def test_a_report_holds_no_secret_of_database_settings_file_or_environment(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = {
        name: f"{name}-5ecret-7f3a"
        for name in (
            *("output", "query", "cookies", "hook", "path", "token", "storage", "access"),
            *("django", "file", "environment", "broker", "mail", "alert"),
        )
    }
    channel = rows.channel(desired_state="on", ordered_at=timezone.now())
    rows.output(
        channel, platform="rtmp", url="rtmp://127.0.0.1:9/live", key=Secret(secrets["output"]),
        secret_query=Secret(f"token={secrets['query']}"),
    )  # fmt: skip
    cookie = f".a.example\tTRUE\t/\tTRUE\t0\tSID\t{secrets['cookies']}"
    SiteCookies.objects.create(domain="a.example", text=Secret(cookie))
    Endpoint.objects.create(
        name="a", url=f"https://a.example/{secrets['path']}?t={secrets['token']}",
        secret=Secret(secrets["hook"]),
    )  # fmt: skip
    settings.STORAGE_SECRET_ACCESS_KEY = Secret(secrets["storage"])
    settings.STORAGE_ACCESS_KEY_ID = secrets["access"]
    settings.SECRET_KEY = secrets["django"]
    settings.FIELD_KEYS = [*settings.FIELD_KEYS, Fernet.generate_key().decode()]
    settings.EMAIL_HOST_PASSWORD = Secret(secrets["mail"])
    settings.ALERT_WEBHOOK = Secret(f"https://hooks.a.example/{secrets['alert']}")
    settings.SETTINGS_FILE = tmp_path / "env"
    settings.SETTINGS_FILE.write_text(
        f"INGEST_TOKEN={secrets['file']}\nQ_BROKER_URL=redis://:{secrets['broker']}@a:6379/0\n"
    )
    monkeypatch.setenv("METRICS_TOKEN", secrets["environment"])
    # Wherever a sentence could come from, the secrets are in it.
    everything = " ".join([*secrets.values(), *settings.FIELD_KEYS]) + (
        f" https://ada:{secrets['output']}@a.example/x?X-Signature=5ignature"
    )
    Channel.objects.filter(pk=channel.pk).update(name=everything[:80])
    rows.on_air(channel, cause=everything, state="degraded")
    Incident.objects.create(
        channel=channel, subject="a", severity="lost", cause=everything, opened_at=NOW
    )
    now = timezone.now()
    Task.objects.create(
        id="1", name="1", func="a.failing", started=now, stopped=now, success=False,
        result=f"Error: {everything}",
    )  # fmt: skip

    def fails(_now: datetime) -> Iterator[Line]:
        yield warning(everything)
        raise RuntimeError(everything)

    parts = [*PARTS, Part("failing", fails, of_rows=False)]
    report = doctor.report(parts, now)
    text = report.as_text() + json.dumps(report.as_data())
    assert "has failed once" in text, "the job's error is quoted"
    assert f"{channel.slug}: ordered on" in text
    # Nor the beginning of one that a sentence was cut off in.
    leaked = [name for name, value in secrets.items() if value[:8] in text]
    leaked += [key for key in settings.FIELD_KEYS if key[:8] in text]
    assert leaked == []
    assert "5ignature" not in text


def test_without_the_stored_secrets_no_row_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable() -> Iterator[Secret]:
        raise OperationalError("gone")
        yield Secret("")

    monkeypatch.setattr(redaction, "of_database", unreadable)
    parts = [part_of(warning("of a row")), part_of(ok("of the machine"), of_rows=False)]
    report = doctor.report(parts, NOW)
    assert [line.sentence for _, line in report.lines] == [doctor.UNSAFE, "of the machine"]
    assert report.verdict == Verdict.WARNING


def test_a_part_that_hangs_or_fails_is_a_line() -> None:
    never = threading.Event()

    def hangs(_now: datetime) -> Iterator[Line]:
        yield ok("begun")
        never.wait(60)

    def fails(_now: datetime) -> Iterator[Line]:
        yield ok("begun")
        raise ValueError("odd value")

    parts = [Part("hanging", hangs), Part("failing", fails), part_of(ok("fine"))]
    report = doctor.report(parts, NOW, timeout_s=1.0)
    never.set()
    assert [(name, line.verdict.name, line.sentence) for name, line in report.lines] == [
        ("hanging", "OK", "begun"),
        ("hanging", "FAULT", "Unknown: it did not end within 1 s."),
        ("failing", "OK", "begun"),
        ("failing", "FAULT", "Unknown: it failed (ValueError: odd value)."),
        ("part", "OK", "fine"),
    ]


@pytest.mark.parametrize(
    ("lines", "status"),
    [((ok("a"),), 0), ((ok("a"), warning("b")), 1), ((fault("c"), warning("b")), 2)],
)
def test_the_exit_status_is_that_of_the_worst_line(
    monkeypatch: pytest.MonkeyPatch, lines: tuple[Line, ...], status: int
) -> None:
    monkeypatch.setattr("streamsite.management.commands.doctor.PARTS", (part_of(*lines),))
    output, ended = StringIO(), 0
    try:
        call_command("doctor", json=True, stdout=output)
    except SystemExit as end:
        ended = int(end.code or 0)
    assert ended == status
    shown = json.loads(output.getvalue())
    assert shown["verdict"] == ("ok", "warning", "fault")[status]
    assert [line["sentence"] for line in shown["lines"]] == [line.sentence for line in lines]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://ada:pass@host:1/0 fails", "redis://********@host:1/0 fails"),
        ("https://a.example/x?sig=abc fails", "https://a.example/x?******** fails"),
        ("the key live_1234567 fails", "the key ******** fails"),
        ("/srv/streamsite/media and a.example", "/srv/streamsite/media and a.example"),
    ],
)
def test_what_is_masked(text: str, shown: str) -> None:
    assert redaction.redacted(text, [Secret("live_1234567")]) == shown


def test_a_silent_cluster_and_an_ordered_channel_that_can_t_start_are_faults(
    settings: Settings, tmp_path: Path
) -> None:
    settings.RUN_DIR = tmp_path
    (settings.RUN_DIR / "jobs.alive").touch()
    shown = {line.sentence.split()[2]: line.verdict for line in doctor_parts.clusters(NOW)}
    assert shown == {
        "playout": Verdict.FAULT, "jobs": Verdict.OK, "downloads": Verdict.WARNING,
    }  # fmt: skip
    off = rows.channel("off", playlist=None, filler=None)
    on = rows.channel("on", playlist=None, desired_state="on")
    worst = {
        channel.slug: max(
            line.verdict
            for line in doctor_parts.channels(timezone.now() + timedelta(0))
            if line.sentence.startswith(f"{channel.slug}: {channel.name} has no playlist")
        )
        for channel in (off, on)
    }
    assert worst == {"off": Verdict.WARNING, "on": Verdict.FAULT}


def test_a_decoder_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    assert list(doctor_parts.air(now)) == [
        ok("Picture and sound of channels can be looked at.")
    ]
    monkeypatch.setattr("sys.executable", "/bin/false")
    (line,) = doctor_parts.air(now)
    assert line.verdict is Verdict.WARNING
    assert line.sentence.startswith("The air can't be looked at: ")
