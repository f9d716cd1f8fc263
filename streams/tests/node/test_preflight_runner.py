"""The node's preflight: checks that prevent a start, and checks that only report."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from media_library.conform import slate
from media_library.models import MediaItem
from streams.control import actions
from streams.models import Channel, ChannelState, Output, Run
from streams.monitoring import reachability
from streams.monitoring.preflight import Check
from streams.monitoring.report import PREFLIGHT_RETRY, report
from streams.node import preflight_runner
from streams.node.ledger import NodeLedger
from streams.node.preflight_runner import Preflights, in_the_world, on_this_machine
from streams.node.slate_maker import BEING_MADE
from streams.tests import rows
from streams.tests.bench.rtmp import free_port
from streams.tests.bench.waiting import until

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the slate, which takes seconds to make."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def folders(settings: Settings, tmp_path: Path, data: Path, ffmpeg: str) -> None:
    settings.DATA_DIR = data
    for name in ("RUN_DIR", "MEDIA_ROOT"):
        folder = tmp_path / name.lower()
        folder.mkdir()
        setattr(settings, name, folder)
    settings.STORAGES = dict(settings.STORAGES)


@pytest.fixture
def channel(settings: Settings) -> Channel:
    made = rows.channel(width=160, height=90, video_bitrate=200_000)
    for item in MediaItem.objects.all():
        path = Path(settings.MEDIA_ROOT) / item.key
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"a film")
    slate.slate(made.house_format.bare)
    return made


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a server that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def faults(channel: Channel) -> dict[str, str]:
    checks = [*on_this_machine(channel), *in_the_world(channel, timezone.now())]
    return {check.check: check.sentence for check in checks if not check.ok}


def stops(channel: Channel) -> list[str]:
    return [c.check for c in on_this_machine(channel) if c.stops and not c.ok]


def server(channel: Channel, port: int, **fields: str) -> Output:
    given = {"name": "Main", "url": f"rtmp://127.0.0.1:{port}/live", "platform": "rtmp"}
    return rows.output(channel, **(given | fields))


def test_every_check_has_a_sentence_when_it_passes(channel: Channel, listener: int) -> None:
    output = server(channel, listener)
    checks = [*on_this_machine(channel), *in_the_world(channel, timezone.now())]
    assert [check.check for check in checks if not check.ok] == []
    assert [check.check for check in checks] == [
        "programme",
        "outputs",
        "certificates",
        "ffmpeg",
        "folders",
        "slate",
        "storage",
        "items",
        f"output-{output.pk}",
    ]
    sentences = {check.check: check.sentence for check in checks}
    assert sentences["items"] == "The next 2 items are there."
    assert sentences[f"output-{output.pk}"].endswith("/live is reachable.")
    assert rows.KEY not in str(checks)


def test_unreachable_services_are_reported_and_stop_nothing(
    channel: Channel, settings: Settings
) -> None:
    output = server(channel, free_port())
    shutil.rmtree(settings.MEDIA_ROOT)
    sentences = faults(channel)
    assert set(sentences) == {"storage", "items", f"output-{output.pk}"}
    assert "does not accept connections" in sentences[f"output-{output.pk}"]
    assert "the storage does not answer" in sentences["items"]
    assert stops(channel) == []


def test_a_missing_item_is_named(channel: Channel, settings: Settings) -> None:
    (Path(settings.MEDIA_ROOT) / MediaItem.objects.get(title="Second").key).unlink()
    assert "Not in the storage: “Second”." in faults(channel)["items"]


def test_without_ffmpeg_nothing_starts(
    channel: Channel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slate, "_TESTED", set())
    settings.FFMPEG_PATH, settings.FFPROBE_PATH = "/nowhere/ffmpeg", "/nowhere/ffprobe"
    assert stops(channel) == ["ffmpeg"]
    assert faults(channel)["slate"].startswith("The slate can't be tested: /nowhere/ffprobe")


def test_a_missing_key_without_another_output_prevents_the_start(channel: Channel) -> None:
    rows.output(channel, "YouTube", key="")
    assert stops(channel) == ["outputs"]
    # The other outputs do not wait for the incomplete one.
    rows.output(channel, "Twitch")
    assert stops(channel) == []
    assert "no stream key" in faults(channel)["outputs"]
    Output.objects.all().delete()
    Channel.objects.update(preview=False)
    channel.refresh_from_db()
    assert stops(channel) == ["outputs"]


def test_with_filler_or_blocks_an_empty_playlist_stops_nothing(channel: Channel) -> None:
    MediaItem.objects.update(status="fault", fault="Cut short.")
    assert stops(channel) == ["programme"]
    other = rows.playlist("Third", name="Other")
    block = channel.blocks.create(name="B", playlist=other, starts="08:00", ends="09:00")
    assert stops(channel) == []
    assert "programme" in faults(channel)
    block.delete()
    assert stops(channel) == ["programme"]


def test_a_broken_slate_is_removed_and_stops_nothing(channel: Channel) -> None:
    """The ledger has it made again."""
    house_format = channel.house_format.bare
    path, _ = slate.slate(house_format)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert faults(channel)["slate"] == BEING_MADE
    assert stops(channel) == []
    assert not path.exists()
    slate.slate(house_format)
    assert path.stat().st_size == pytest.approx(len(whole), rel=0.1)
    assert "slate" not in faults(channel)


# ---- destinations ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("rtmp://no-such-host.invalid/live", "the name no-such-host.invalid does not exist"),
        ("srt://no-such-host.invalid:9000", "the name no-such-host.invalid does not exist"),
        ("https://no-such-host.invalid/up", "the name no-such-host.invalid does not exist"),
        ("rtmps://127.0.0.1:1/app", "127.0.0.1 does not accept connections at port 1"),
        # UDP: it is impossible to know whether a server listens.
        ("srt://127.0.0.1:1", ""),
    ],
)
def test_a_destination(address: str, expected: str) -> None:
    fault = reachability.fault("Main", address)
    assert expected in fault
    assert bool(expected) == bool(fault)


def test_a_destination_that_never_answers_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "CONNECT_TIMEOUT_S", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for connection in waiting:
            # Fills the server's backlog.
            connection.settimeout(0)
            connection.connect_ex(("127.0.0.1", port))
        began = time.monotonic()
        assert "it does not answer" in reachability.fault(
            "Main", f"rtmp://127.0.0.1:{port}/live"
        )
        assert time.monotonic() - began < reachability.CONNECT_TIMEOUT_S * 10
        for connection in waiting:
            connection.close()


# ---- on the node -----------------------------------------------------------------------------


class PreflightBench:
    """A node whose checks are made in the test's thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.knocks = 0
        self.flights = Preflights("a", self.knock)
        self.ledger = NodeLedger("a", preflights=self.flights)
        monkeypatch.setattr(preflight_runner, "connection", OpenConnection())
        monkeypatch.setattr(self.flights, "_world", self)
        monkeypatch.setattr(self.flights, "_begin", self.flights._check)
        self.now = timezone.now()

    def knock(self) -> None:
        self.knocks += 1

    def submit(self, act: Callable[..., None], *args: object) -> None:
        act(*args)

    def tick(self, seconds: float = 1) -> None:
        self.now += timedelta(seconds=seconds)
        self.flights.tick(self.now)

    def assigned(self) -> bool:
        return bool(self.ledger.exchange(time.time(), [], []))


class OpenConnection:
    """Keeps the test's connection open."""

    def close(self) -> None:
        return


@pytest.fixture
def pad(monkeypatch: pytest.MonkeyPatch) -> PreflightBench:
    return PreflightBench(monkeypatch)


def ordered(channel: Channel, owner: str = "a") -> Run:
    """A run that nobody has checked, of a channel that a node has claimed."""
    now = timezone.now()
    Channel.objects.filter(pk=channel.pk).update(desired_state="on", ordered_at=now)
    ChannelState.objects.update_or_create(channel=channel, defaults={"owner": owner})
    channel.runs.filter(ended_at=None).update(ended_at=now)
    channel.refresh_from_db()
    return Run.objects.create(channel=channel)


def results(run: Run) -> dict[str, bool]:
    run.refresh_from_db()
    return {check["check"]: check["ok"] for check in run.checks}


def test_a_fault_comes_and_goes(
    pad: PreflightBench,
    channel: Channel,
    listener: int,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    port = free_port()
    output = server(channel, port)
    run = ordered(channel)
    with django_capture_on_commit_callbacks(execute=True):
        assert not pad.assigned()
    assert pad.flights.requested.is_set()
    pad.tick()
    assert results(run)[f"output-{output.pk}"] is False
    # It is reported and keeps nothing off the air.
    assert pad.assigned()
    retry = PREFLIGHT_RETRY.total_seconds()
    with socket.create_server(("127.0.0.1", port)):
        pad.tick(retry - 1)
        assert results(run)[f"output-{output.pk}"] is False
        pad.tick(1)
    assert all(results(run).values())
    # All checks pass: they are not repeated in this run.
    checked = run.checked_at
    pad.tick(retry * 10)
    assert results(run)
    assert run.checked_at == checked
    again = ordered(channel)
    assert pad.flights.holds(again)
    pad.tick()
    assert results(again)


def test_a_start_by_a_person_is_checked_once(
    pad: PreflightBench, channel: Channel, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.NODE_NAME = "a"
    run = actions.start(channel, by="ada", now=timezone.now())
    monkeypatch.setattr(preflight_runner, "on_this_machine", None)
    # Nothing is left to wait for.
    assert pad.assigned()
    # The network is checked, although the channel plays by then.
    monkeypatch.setattr(preflight_runner, "runs_already", lambda _: True)
    pad.tick()
    assert results(run)["storage"] is True
    pad.tick(PREFLIGHT_RETRY.total_seconds())
    # Another node has another machine.
    assert Preflights("b", pad.knock).holds(run)


def test_a_failed_check_holds_the_start_until_it_passes(
    pad: PreflightBench, channel: Channel, settings: Settings
) -> None:
    run = ordered(channel)
    rows.node(name="a")
    well, settings.FFMPEG_PATH = settings.FFMPEG_PATH, "/nowhere/ffmpeg"
    pad.tick()
    assert not pad.assigned()
    assert not all(results(run).values())
    (shown,) = report(timezone.now()).channels
    assert shown.state == "starting"
    assert shown.cause.startswith("FFmpeg is missing")
    settings.FFMPEG_PATH = well
    pad.tick(PREFLIGHT_RETRY.total_seconds())
    assert pad.knocks == 2
    assert pad.assigned()


def test_a_held_run_is_left_to_another_node(
    pad: PreflightBench, channel: Channel, settings: Settings
) -> None:
    ordered(channel)
    assert not pad.assigned()
    settings.FFMPEG_PATH = "/nowhere/ffmpeg"
    pad.tick()
    lease = ChannelState.objects.get().lease_until
    assert not pad.assigned()
    assert ChannelState.objects.get().lease_until == lease


def test_a_playing_channel_is_adopted_regardless_of_its_preflight(
    pad: PreflightBench, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered(channel)
    assert not pad.assigned()
    monkeypatch.setattr("streams.node.ledger.runs_already", lambda _: True)
    assert pad.assigned()


def test_a_preflight_that_crashes_or_hangs_keeps_nothing_off_the_air(
    pad: PreflightBench, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ordered(channel)
    monkeypatch.setattr(preflight_runner, "LOCAL_TIMEOUT_S", 0.05)
    assert pad.flights.holds(run)
    until(lambda: not pad.flights.holds(run), 60, "nobody waits any longer")

    def fails(_: Channel) -> Iterator[Check]:
        yield Check("ffmpeg", ok=True, sentence="It is there.")
        raise OSError("The disk is gone.")

    monkeypatch.setattr(preflight_runner, "on_this_machine", fails)
    pad.tick()
    assert results(run)["preflight"] is False
    assert not pad.flights.holds(run)


def test_a_playing_channel_is_not_checked(
    pad: PreflightBench, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    server(channel, free_port())
    run = ordered(channel)
    pad.tick()
    assert not all(results(run).values())
    first = run.checked_at
    now = timezone.now()
    claim = {"on_air_since": now, "lease_until": now + timedelta(hours=1)}
    ChannelState.objects.update(state="degraded", **claim)
    monkeypatch.setattr(preflight_runner, "runs_already", lambda _: True)
    pad.tick(PREFLIGHT_RETRY.total_seconds())
    # The results stay, with their time.
    assert results(run)
    assert run.checked_at == first
    # After a reboot its row still claims that it plays, but nothing runs.
    monkeypatch.setattr(preflight_runner, "runs_already", lambda _: False)
    pad.tick()
    assert results(run)
    assert run.checked_at != first


def test_another_nodes_channel_is_not_checked(pad: PreflightBench, channel: Channel) -> None:
    run = ordered(channel, owner="b")
    pad.tick()
    assert not results(run)


@pytest.mark.django_db(transaction=True)
def test_the_network_checks_run_in_a_thread_of_their_own(channel: Channel) -> None:
    run = ordered(channel)
    flights = Preflights("a", lambda: None)
    flights.tick(timezone.now())
    until(lambda: results(run).get("ffmpeg"), 60, "this machine is checked")
    until(lambda: results(run).get("storage"), 60, "the storage is checked")
    flights.close()


@pytest.mark.django_db(transaction=True)
def test_a_channel_whose_check_hangs_holds_up_no_other(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, go_on = [ordered(rows.channel(f"hangs-{n}")) for n in range(3)], threading.Event()
    check = on_this_machine

    def slow(one: Channel) -> Iterator[Check]:
        if one.slug.startswith("hangs"):
            go_on.wait()
        yield from check(one)

    monkeypatch.setattr(preflight_runner, "on_this_machine", slow)
    run = ordered(channel)
    flights = Preflights("a", lambda: None)
    try:
        flights.tick(timezone.now())
        # The tick itself has not waited, and it starts no check twice.
        flights.tick(timezone.now())
        assert sum(one.name == "preflight" for one in threading.enumerate()) <= 4
        until(lambda: results(run), 60, "the channel is checked")
        assert not any(results(one) for one in hangs)
        assert all(flights.holds(one) for one in hangs)
    finally:
        go_on.set()
    until(lambda: all("slate" in results(one) for one in hangs), 60, "the others are, too")
    until(lambda: not flights._under_way, 60, "the threads are done")
    flights.close()
