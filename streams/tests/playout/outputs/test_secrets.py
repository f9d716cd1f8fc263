"""The secrets of an output appear nowhere while its channel runs."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.views.debug import ExceptionReporter

from streams.control import actions
from streams.models import Incident, LogLine, Output
from streams.planning import plans
from streams.playout.contract.plan import Policy, Tools
from streams.playout.contract.states import OutputAir
from streams.playout.ffmpeg import commands, process
from streams.tests.bench.clips import Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.refusing_rtmp import RefusingServer
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.waiting import until
from streamsite.api import keys as api_keys
from streamsite.api.permissions import KeyPermission
from streamsite.security.secret import MASK, Secret

pytestmark = pytest.mark.slow


@pytest.fixture
def key() -> str:
    """A key that no other test, log or page can contain by chance."""
    return f"sk-{secrets.token_hex(12)}"


@pytest.fixture
def running(
    node: Bench, server: RtmpServer, shelf: dict[int, Clip], key: str
) -> Iterator[Output]:
    """An output on air, and another one with the same key whose server is down."""
    channel = node.channel(node.item(shelf[1]), node.item(shelf[2]))
    output = node.output(channel, server.address, key)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"rtmp://127.0.0.1:{closed.getsockname()[1]}/live"
        dead = node.output(channel, nowhere, key, name="Away")
        # The parameters after the "?" of a server's address must not appear either.
        Output.objects.update(secret_query=Secret(f"token=q-{key}&user={key}"))
        node_start(node, output, dead)
        yield output


def node_start(node: Bench, good: Output, dead: Output) -> None:
    actions.start(good.channel, by="test", now=timezone.now())
    node.until_output(good, OutputAir.ON_AIR, 60)
    node.until_output(dead, OutputAir.FAILING, 60)


def processes() -> Iterator[tuple[str, bytes]]:
    """Command line and environment of every visible process."""
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield f"{folder}/{name}", (folder / name).read_bytes()
            except OSError:
                continue


def pages(output: Output) -> list[str]:
    """Every page and response about channels and outputs."""
    channel = output.channel
    own = ("streams_channel", "streams_output", "streams_incident", "streams_run")
    return [
        reverse("admin:index"),
        *(reverse(f"admin:{name}_changelist") for name in own if _registered(name)),
        *(
            reverse(f"admin:{name}_{page}", args=[row.pk])
            for name, row in (("streams_channel", channel), ("streams_output", output))
            for page in ("change", "history")
            if _registered(name)
        ),
        reverse("monitor", args=[channel.slug]),
        "/api/v1/channel-statuses",
        f"/api/v1/channels/{channel.slug}/log",
        reverse("channel-panels", args=[channel.slug]),
        reverse("health"),
        "/api/v1/openapi.json",
        "/api/v1/channels",
        f"/api/v1/channels/{channel.slug}",
        f"/api/v1/channels/{channel.slug}/status",
    ]


def _registered(name: str) -> bool:
    return any(
        f"{model._meta.app_label}_{model._meta.model_name}" == name
        for model in admin.site._registry
    )


def test_the_key_of_a_running_channel_appears_nowhere(
    running: Output,
    node: Bench,
    server: RtmpServer,
    key: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Searches processes, files, database, logs, pages, responses and dumps."""
    # The key really is in use, so there was something to hide.
    assert server.sessions(key) == 1
    assert f"args='token=q-{key}&user={key}'" in server.log()
    seen = dict(processes())
    pushers = [r for name, r in node.records(running.channel).items() if "pusher" in name]
    assert all(f"/proc/{record.pid}/cmdline" in seen for record in pushers)
    assert len(seen) > 10
    needle = key.encode()
    assert [name for name, text in seen.items() if needle in text] == []

    logged = "\n".join(LogLine.objects.values_list("text", flat=True))
    assert "[FFMPEG]" in logged
    assert key not in logged
    assert key not in node.logs()
    files = [path for path in node.run_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    assert [path for path in files if needle in path.read_bytes()] == []
    if connection.vendor == "sqlite":
        database = Path(connection.settings_dict["NAME"])
        for path in database.parent.glob(f"{database.name}*"):
            assert needle not in path.read_bytes(), path

    page = Client(raise_request_exception=False)
    page.force_login(get_user_model().objects.create_superuser("boss", password="x"))
    for address in pages(running):
        answer = page.get(address)
        assert answer.status_code == 200, (address, answer.status_code)
        assert needle not in answer.getvalue(), address
    assert needle not in page.get("/api/v1/channels/none").content

    call_command("dumpdata", "streams", stdout=(dump := (tmp_path / "dump").open("w")))
    dump.close()
    assert key not in (tmp_path / "dump").read_text()
    call_command("channel_status", "--json")
    captured = capfd.readouterr()
    assert key not in captured.out + captured.err


def test_a_refusal_that_quotes_the_key_does_not_reveal_it(
    node: Bench, shelf: dict[int, Clip], key: str, client: Client
) -> None:
    channel = node.channel(node.item(shelf[1]), node.item(shelf[2]))
    quotes = ("The key {key} is unknown.", "live/{key}?x=1 is in use", "no such stream '{key}'")
    with RefusingServer(*quotes) as refusing:
        output = node.output(channel, refusing.address, key)
        actions.start(channel, by="test", now=timezone.now())
        node.until_output(output, OutputAir.FAILING, 60)
        until(lambda: refusing.refused >= 2, 120, "it is tried again")
        until(lambda: shown_lines("Server error"), 60, "the refusal is in the log")
        _, reader = api_keys.mint("r", KeyPermission.READ_ONLY, by="ada", now=timezone.now())
        bearer = {"X-API-Key": reader.reveal()}
        answers = [
            client.get(f"/api/v1/{path}", headers=bearer)
            for path in (
                "channels/test/status",
                "channels/test/log",
                "channels/test",
                "outputs",
                "channels/test/incidents",
                "health/detailed",
            )
        ]
        node.halt(channel, 60)
    texts = [answer.content.decode() for answer in answers]
    # The masked text was there before.
    assert any(MASK in line for line in shown_lines("Server error"))
    assert any("Server error" in text for text in texts), [
        response.status_code for response in answers
    ]
    for text in (*texts, *LogLine.objects.values_list("text", flat=True), node.logs()):
        assert key not in text
    incidents = Incident.objects.values_list("cause", flat=True)
    assert key not in "\n".join(incidents)
    left = [path for path in node.run_dir.rglob("*") if path.is_file()]
    assert [path for path in left if key.encode() in path.read_bytes()] == []


def shown_lines(words: str) -> list[str]:
    return list(LogLine.objects.filter(text__contains=words).values_list("text", flat=True))


def test_the_key_appears_in_no_traceback(bench: Bench, key: str, tmp_path: Path) -> None:
    """Not even with all local variables of every frame, as on Django's error page."""
    channel = bench.channel()
    output = bench.output(channel, "rtmp://127.0.0.1/live", key)
    output.secret_query = Secret(f"token=q-{key}")
    (plan,) = plans.outputs([output])
    try:
        process.spawn(
            Tools("/nowhere/ffmpeg", tmp_path),
            tmp_path,
            "pusher-1",
            lambda port: commands.pusher("/nowhere/ffmpeg", port, tmp_path, plan, Policy()),
        )
    except process.SpawnError:
        report = ExceptionReporter(None, *sys.exc_info())
    else:
        pytest.fail("FFmpeg was found nowhere")
    html, text = report.get_traceback_html(), report.get_traceback_text()
    assert "rtmp://127.0.0.1/live" in html
    assert key not in html
    assert key not in text
