"""Servers are verified before they receive a key or a signed address. Real TLS."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from django.utils import timezone

from media_library.ffmpeg import runner as library
from media_library.ffmpeg.probe import NotReadableError, probe
from media_library.house_format import HouseFormat
from media_library.location import SignedUrl
from streams.control import actions
from streams.models import Incident, LogLine
from streams.playout.contract.live_feed import LiveFeed
from streams.playout.contract.plan import OutputPlan
from streams.playout.contract.states import OutputAir
from streams.playout.contract.turn import Turn
from streams.playout.ffmpeg import commands, diagnosis
from streams.playout.ffmpeg.process import hand_over
from streams.programme.item import Item, Mode
from streams.tests.admin.test_output_secrets import publish
from streams.tests.bench.clips import Clip
from streams.tests.bench.node import Bench
from streams.tests.bench.rtmp import RtmpServer
from streams.tests.bench.tls import HERE, Authority, front, https
from streams.tests.bench.waiting import until
from streamsite.security import tls
from streamsite.security.secret import Secret

KEY = "tls-key-7c1f0a"


@dataclass
class Both:
    trusted: Authority
    foreign: Authority


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    """One authority that this machine trusts, and one that it does not."""
    made = Both(Authority(tmp_path, "trusted"), Authority(tmp_path, "foreign"))
    monkeypatch.setenv("SSL_CERT_FILE", str(made.trusted.file))
    return made


def test_the_trusted_certificates_are_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert Path(tls.certificates()).read_text().count("BEGIN CERTIFICATE") > 50
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/own's.pem")
    assert tls.verified() == ("-tls_verify", "1", "-ca_file", "/etc/own's.pem")
    assert r"option ca_file '/etc/own'\''s.pem'" in tls.directives()


def cause(sent: subprocess.CompletedProcess[bytes]) -> str:
    return diagnosis.pusher(sent.returncode, sent.stderr.decode().splitlines())


@pytest.mark.slow
def test_the_right_server_gets_the_stream(both: Both, server: RtmpServer) -> None:
    with front(both.trusted.certificate(*HERE), server.port) as tls_front:
        for host in HERE:
            plan = OutputPlan(1, "Main", f"rtmps://{host}:{tls_front.port}/live", Secret(KEY))
            assert publish(plan).returncode == 0
        until(lambda: server.sessions(KEY) == len(HERE), 30, "both sessions arrive")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["foreign", "other name", "expired"])
def test_an_impostor_gets_nothing(both: Both, kind: str) -> None:
    context = {
        "foreign": lambda: both.foreign.certificate(*HERE),
        "other name": lambda: both.trusted.certificate("other.example"),
        "expired": lambda: both.trusted.certificate(*HERE, days=-1),
    }[kind]()
    query = Secret("token=tok-51ce2b7d90aa")
    with front(context) as impostor:
        address = f"rtmps://localhost:{impostor.port}/live"
        sent = publish(OutputPlan(1, "Main", address, Secret(KEY), query=query))
        assert sent.returncode != 0
        assert impostor.tried == 1
        assert impostor.received == b""
        incident_cause = cause(sent)
        assert incident_cause.startswith(
            f"The certificate of localhost:{impostor.port} can't be verified"
        )
        assert ("another name" in incident_cause) is (kind == "other name")


@pytest.mark.slow
def test_an_output_may_skip_verification(both: Both, server: RtmpServer) -> None:
    """The operator's own server with a self-signed certificate."""
    with front(both.foreign.certificate("nobody.example"), server.port) as tls_front:
        address = f"rtmps://localhost:{tls_front.port}/live"
        assert (
            publish(OutputPlan(1, "Main", address, Secret(KEY), verify=False)).returncode == 0
        )
        until(lambda: server.sessions(KEY) == 1, 30, "the session arrives")


@pytest.mark.slow
def test_only_the_right_server_receives_a_signed_address(
    both: Both, shelf: dict[int, Clip]
) -> None:
    """All users of a storage: playing, probing and preparing."""
    clip = shelf[1].path
    turn = Turn(Item("A", clip.name, Mode.PREPARED, frames=30))

    def played(url: SignedUrl) -> subprocess.CompletedProcess[bytes]:
        line = commands.player("ffmpeg", 9, turn, url, HouseFormat(), Fraction(0))
        with hand_over(line) as (argv, pipes):
            return subprocess.run(
                argv, capture_output=True, pass_fds=pipes, timeout=60, env={}, check=False
            )

    with https(clip.parent, both.trusted.certificate(*HERE)) as (address, requests):
        url = SignedUrl(Secret(f"{address}/{clip.name}?sig=SIGNED"))
        whole = played(url)
        assert len(whole.stdout) > 10_000
        # FFmpeg accepted each option of the list.
        assert b"nused option" not in whole.stderr
        assert probe(url).width
        with library.opened(url) as source:
            argv = ("ffmpeg", "-v", "error", *source.args, "-c", "copy", "-f", "null", "-")
            bounds = library.Bounds(seconds=60)
            library.run(argv, bounds=bounds, descriptors=source.descriptors)
        assert requests
    with https(clip.parent, both.foreign.certificate(*HERE)) as (address, requests):
        url = SignedUrl(Secret(f"{address}/{clip.name}?sig=SIGNED"))
        lines = played(url).stderr.decode().splitlines()
        place = address.removeprefix("https://")
        assert diagnosis.player("A", 1, lines, begun=False).startswith(
            f"A was skipped: the certificate of {place} can't be verified"
        )
        with pytest.raises(NotReadableError, match="certificate of the storage"):
            probe(url)
        with library.opened(url) as source:
            argv = ("ffmpeg", "-v", "error", *source.args, "-c", "copy", "-f", "null", "-")
            with pytest.raises(library.ToolFailedError, match="certificate"):
                library.run(argv, bounds=bounds, descriptors=source.descriptors)
        assert requests == []


@pytest.mark.slow
def test_only_the_right_server_receives_a_feeds_token(both: Both) -> None:
    with front(both.foreign.certificate(*HERE)) as impostor:
        url = Secret(f"rtmps://localhost:{impostor.port}/live/ada?token=SECRET")
        feed = LiveFeed(1, 2, "Ada", url, requested_at=0)
        with hand_over(commands.conformer("ffmpeg", 9, feed, HouseFormat())) as (argv, pipes):
            read = subprocess.run(
                argv, capture_output=True, pass_fds=pipes, timeout=60, env={}, check=False
            )
        assert read.returncode != 0
        assert impostor.tried == 1
        assert impostor.received == b""


@pytest.mark.slow
def test_the_incident_reports_the_refused_certificate(
    both: Both, bench: Bench, server: RtmpServer, shelf: dict[int, Clip]
) -> None:
    """On air by the right server, while an impostor waits for the other output's key."""
    bench.start()
    channel = bench.channel(bench.item(shelf[1]), bench.item(shelf[2]))
    right, wrong = both.trusted.certificate(*HERE), both.foreign.certificate(*HERE)
    with front(right, server.port) as tls_front, front(wrong) as impostor:
        good = bench.output(channel, f"rtmps://localhost:{tls_front.port}/live", KEY)
        bad = bench.output(
            channel, f"rtmps://localhost:{impostor.port}/live", "other-key-55", name="Fake"
        )
        actions.start(channel, by="test", now=timezone.now())
        bench.until_output(good, OutputAir.ON_AIR, 60)
        bench.until_output(bad, OutputAir.FAILING, 60)
        until(lambda: Incident.objects.filter(output=bad).exists(), 60, "an incident begins")
        incident_cause = Incident.objects.filter(output=bad).latest("pk").cause
        assert f"certificate of localhost:{impostor.port} can't be verified" in incident_cause
        assert impostor.tried > 1
        assert impostor.received == b""
        assert server.sessions(KEY) == 1
        logged = "\n".join(LogLine.objects.values_list("text", flat=True))
        assert "other-key-55" not in logged
