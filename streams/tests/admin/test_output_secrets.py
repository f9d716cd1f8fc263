"""Secrets of an output have fields of their own; its address holds none."""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils.crypto import salted_hmac
from pytest_django import Settings

from streams.models import Output
from streams.monitoring.preflight import Finding, findings
from streams.outputs.platforms import (
    PLATFORMS,
    UPLOADS,
    Platform,
    address_fault,
    query_fault,
    secret_fault,
    typed_address_fault,
    typed_query_fault,
)
from streams.planning import plans
from streams.playout.contract.plan import OutputPlan
from streams.playout.ffmpeg.commands import Hidden, destination
from streams.playout.ffmpeg.process import hand_over
from streams.tests import rows
from streams.tests.bench.rtmp import RtmpServer, free_port
from streams.tests.bench.waiting import until
from streamsite.api.models import KeyChange
from streamsite.config.env import new_field_key
from streamsite.security.fields import unreadable_rows
from streamsite.security.secret import MASK, Secret, Unreadable, masked
from streamsite.tests.api_calls import api_caller

#: Secret parameters that must not appear anywhere.
TOKEN = "tok-51ce2b7d90aa"
QUERY = f"token={TOKEN}&expires=1790000000"

parted: Callable[..., tuple[str, str, str]] = importlib.import_module(
    "streams.migrations.0012_output_secrets"
).parted


# ---- secrets in the address ------------------------------------------------------------------
@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("srt://h:9000?passphrase=long-enough", "secret parameters"),
        ("srt://h:9000?latency=200&passphrase=long-enough", "secret parameters"),
        ("srt://h:9000?streamid=publish:x", "stream key"),
        ("srt://h:9000?latency=S3CRET", "secret parameters"),
        ("rtmp://h/app?token=abc", "secret parameters"),
        ("rtmps://h/app?backup=1&sig=abc", "secret parameters"),
        ("rtmp://h/app?abc", "secret parameters"),
        ("rtmp://user:pass@h/app", "name or password"),
        ("srt://user@h:9000", "name or password"),
        ("rtmp://h/app/KEY", "stream key"),
        ("rtmp://h/app#abc", "must end before the #"),
        ("rtmp://h/app pubUser=x", "space"),
    ],
)
def test_an_address_with_a_secret_is_refused(address: str, sentence: str) -> None:
    assert sentence in address_fault(address)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("https://a.example/http_upload_hls?cid=abcd-KEY&copy=0&file=", "is the stream key"),
        ("https://a.example/up?copy=2", "ends with ?copy=0"),
        ("https://user:pass@a.example/up?copy=0", "name or password"),
        ("http://a.example/up?copy=0", "must begin with https://."),
        ("rtmp://a.example/app", "must begin with https://."),
    ],
)
def test_an_address_that_is_no_upload_is_refused(address: str, sentence: str) -> None:
    assert sentence in address_fault(address, uploads=True)
    for platform in UPLOADS:
        assert address_fault(PLATFORMS[platform].url, uploads=True) == ""
    assert "takes no secret parameters" in query_fault(
        PLATFORMS[Platform.YOUTUBE_HLS].url, Secret("token=T")
    )
    assert "must begin with rtmp://" in address_fault("https://a.example/up")


def test_without_a_key_the_path_is_taken_as_the_key() -> None:
    assert "put it into the stream key" in address_fault("rtmp://h/ab12-KEY", keyed=False)
    assert address_fault("rtmp://h/ab12-KEY") == ""
    # A common application name.
    assert address_fault("rtmp://h/live2", keyed=False) == ""
    assert address_fault("rtmp://h") == ""
    assert address_fault("rtmp://h", keyed=False) != ""


@pytest.mark.parametrize(
    "address",
    [
        "rtmps://b.rtmps.youtube.com:443/live2?backup=1",
        "srt://h:9000?mode=caller&latency=200000&pkt_size=1316&pbkeylen=32&maxbw=-1",
        "srt://[2001:db8::1]:9000",
    ],
)
def test_public_parameters_are_accepted(address: str) -> None:
    assert address_fault(address) == ""


@pytest.mark.parametrize(
    ("address", "query", "sentence"),
    [
        ("rtmp://h/app", "token=a\nrtmp_conn=x", "line break"),
        ("rtmp://h/app", "token=a b", "space"),
        ("rtmp://h/app", "token=" + "a" * 900, "longer than 900"),
        ("srt://h:9000", "passphrase=short", "10 to 79"),
        ("rtmp://h/app", "token=" + "ü" * 450, "longer than 900"),
        ("rtmp://h", "token=" + "a" * 500, "longer than 900"),
        ("srt://h:9000", "long-enough-but-nameless", "passphrase=…"),
        ("srt://h:9000", "nameless==", "only parameters such as"),
        ("srt://h:9000", "token=abc", "no parameter token"),
        ("srt://h:9000", "streamid=a&latency=200ms", "latency must be"),
        ("SRT://h:9000", "streamid=a&conntimeo=3000", "no parameter conntimeo"),
        ("srt://h:9000", "passphrase=long-enough&pbkeylen=32", ""),
        ("srt://h:9000", "passphrase=long enough&streamid=#!::r=a,m=publish&", ""),
        ("rtmp://h/app", QUERY, ""),
    ],
)
def test_secret_parameters_are_validated(address: str, query: str, sentence: str) -> None:
    given = Secret(query)
    fault = query_fault(address, given, Secret("k" * 500)) or typed_query_fault(address, given)
    assert sentence in fault if sentence else not fault
    assert "nameless" not in fault


def test_a_key_is_limited_to_ffmpegs_line_length() -> None:
    """The limit is in bytes: the rest would be read as a separate line."""
    assert secret_fault(Secret("ü" * 450)) == ""
    assert "longer" in secret_fault(Secret("ü" * 451))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("rtmp://h\\app\\KEY", "not allowed in a host name"),
        ("rtmp://h,KEY", "not allowed in a host name"),
        ("rtmp://h/app\\KEY", "must not hold secrets"),
        ("rtmp://h/app&sig=abc", "must not hold secrets"),
        ("srt://h:9000/KEY", "srt://host:port"),
        ("rtmps://[2001:db8::1]:443/live-api_s/", ""),
        ("rtmp://bücher.example:1935/app", ""),
    ],
)
def test_mistyped_secrets_in_the_address_are_refused(url: str, sentence: str) -> None:
    fault = typed_address_fault(url)
    assert sentence in fault if sentence else not fault


@pytest.mark.parametrize(
    ("address", "key", "query", "sent"),
    [
        # As FFmpeg parses it after the "?": the first value counts, unknown names are ignored.
        ("srt://h:9", "", "streamid=a&streamid=b", "streamid=a\n"),
        ("srt://h:9", "", "conntimeo=3&latency=200ms&passphrase=0123 56789+", None),
        ("srt://h:9", "k", "streamid=&", "streamid=k\n"),
        ("srt://h:9", "k", "streamid=#!::r=a,m=publish", "streamid=#!::r=a,m=publish\n"),
        ("SRT://h:9", "=k#\\ '", "", "streamid==k#\\ '\n"),
        ("rtmp://h?backup=1", "#k", "", "rtmp_app=#k?backup=1\n"),
    ],
)
def test_the_sent_address_contains_the_secret(
    address: str, key: str, query: str, sent: str | None
) -> None:
    command = destination(OutputPlan(1, "Main", address, Secret(key), query=Secret(query)))
    (hidden,) = [option for option in command if isinstance(option, Hidden)]
    assert hidden.text.reveal() == (sent or "passphrase=0123 56789 \n")
    # FFmpeg does not accept protocols in capital letters.
    assert str(command[-1]).startswith(("srt:", "rtmp:"))


def test_decoded_secrets_are_masked() -> None:
    """A server may quote a parameter in decoded form."""
    quoted = "denied: sig is Ab+/9z==, of user ada lovelace"
    text = masked(quoted, [Secret("sig=Ab%2B%2F9z%3D%3D&user=ada+lovelace")])
    assert text == f"denied: sig is {MASK}, of user {MASK}"


# ---- migration of existing rows --------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "has_key", "expected"),
    [
        ("srt://h:9?passphrase=0123456789", True, ("srt://h:9", "", "passphrase=0123456789")),
        # Complete and in order, as it may be signed.
        ("rtmp://h/app?b=2&token=T", True, ("rtmp://h/app", "", "b=2&token=T")),
        ("srt://h:9?mode=caller&latency=9", True, ("srt://h:9?mode=caller&latency=9", "", "")),
        ("srt://h:9?streamid=publish:x", False, ("srt://h:9", "", "streamid=publish:x")),
        ("rtmp://h/ab12-KEY", False, ("rtmp://h", "ab12-KEY", "")),
        ("rtmp://h/ab12-KEY", True, ("rtmp://h/ab12-KEY", "", "")),
        ("rtmp://h/app/KEY", False, ("rtmp://h/app", "KEY", "")),
        ("rtmp://h/app/KEY?token=T", False, ("rtmp://h/app", "KEY", "token=T")),
        ("rtmp://h/live", False, ("rtmp://h/live", "", "")),
        ("rtmp://u:p@h/app", True, ("rtmp://h/app", "", "user=u&password=p")),
        # The form of SRT stream ids in SRS and others; a # does not start a fragment.
        (
            "srt://h:9?streamid=#!::r=a,m=publish",
            False,
            ("srt://h:9", "", "streamid=#!::r=a,m=publish"),
        ),
        (
            "srt://h:9?passphrase=with a space",
            True,
            ("srt://h:9", "", "passphrase=with a space"),
        ),
        ("rtmp://h/app?token=T#x", True, ("rtmp://h/app", "", "token=T#x")),
        # FFmpeg did not send the part after a space.
        ("rtmp://h/app?token=T live=1", True, ("rtmp://h/app", "", "token=T")),
        ("rtmp://h/app ", True, ("rtmp://h/app", "", "")),
        ("rtmp://h/ab12-KEY?backup=1", False, ("rtmp://h?backup=1", "ab12-KEY", "")),
        ("rtmp://h/passphrase=x", True, ("", "", "rtmp://h/passphrase=x")),
        ("rtmp://[h/x@y", True, ("", "", "rtmp://[h/x@y")),
    ],
)
def test_an_address_is_split_into_address_and_secrets(
    url: str, has_key: bool, expected: tuple[str, str, str]
) -> None:
    parts = parted(url, has_key=has_key, wants_key=False)
    assert parts == expected


def test_a_platforms_application_name_is_not_a_key() -> None:
    url = "rtmp://a.rtmp.youtube.com/LIVE-2x"
    assert parted(url, has_key=False, wants_key=True) == (url, "", "")


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_the_migration_moves_secrets_and_channels_stay_on_air() -> None:
    """Runs the migration on the test database; running pushers are not restarted."""
    executor = MigrationExecutor(connection)
    executor.migrate([("streams", "0011_goes_over_after")])
    try:
        old = executor.loader.project_state([("streams", "0011_goes_over_after")]).apps
        channel = old.get_model("streams", "Channel").objects.create(name="A", slug="a")
        outputs = old.get_model("streams", "Output").objects
        made = {
            outputs.create(
                channel=channel,
                name=url or "Usual",
                platform=platform,
                url=url,
                key=Secret(key),
            ).pk: (url, key)
            for platform, url, key in (
                ("srt", "srt://h:9000?passphrase=0123456789", "publish:x"),
                ("rtmp", f"rtmp://h/app?{QUERY}", ""),
                ("rtmp", "rtmp://h/ab12-KEY", ""),
                ("srt", "srt://h:9?streamid=#!::r=a,m=publish&latency=9", ""),
                ("rtmp", "rtmp://h/ab12-KEY?backup=1", ""),
                ("twitch", "rtmp://live.twitch.tv/app?bandwidthtest=true", "live_1"),
                ("youtube", "", "yt-key"),
                ("youtube", "rtmps://b.example/live2?backup=1", "yt-key"),
            )
        }
        # Its address is empty now, and the platform's default is another server.
        odd = outputs.create(
            channel=channel, name="Odd", platform="youtube", url="rtmp://h/a@b", key=Secret("k")
        )
        executor.loader.build_graph()
        # All of them: the model below has the newest columns.
        executor.migrate(executor.loader.graph.leaf_nodes("streams"))
        moved = {row.pk: row for row in Output.objects.all()}
        assert not moved.pop(odd.pk).enabled
        assert moved.keys() == made.keys()
        for pk, (url, key) in made.items():
            row = moved[pk]
            row.full_clean(exclude=["channel"])
            assert row.verify_certificate
            (plan,) = plans.outputs([row])
            assert plan.fault == ""
            # As created by the previous version.
            usual = "rtmps://a.rtmps.youtube.com:443/live2"
            before = salted_hmac("output", f"{url or usual}\n{key}").hexdigest()
            assert plan.edition == before, url
            assert TOKEN not in row.address
        srt, rtmp, keyless, *_ = moved.values()
        assert srt.secret_query == Secret("passphrase=0123456789")
        assert rtmp.secret_query == Secret(QUERY)
        assert (keyless.url, keyless.key) == ("rtmp://h", Secret("ab12-KEY"))
    finally:
        latest = MigrationExecutor(connection)
        latest.migrate(latest.loader.graph.leaf_nodes())


@pytest.mark.parametrize("url", ["rtmp://[h/x", "srt://[h?passphrase=0123456789"])
def test_an_unparsable_address_does_not_affect_other_outputs(url: str) -> None:
    """A node reads all outputs at once: an exception would affect every channel."""
    row = Output(
        name="A", platform="rtmp", url=url, key=Secret("k"), secret_query=Secret("a=1")
    )
    (plan,) = plans.outputs([row])
    assert "can't be read" in plan.fault
    assert not plan.key
    assert [name for name, fault in row.faults if fault] == ["url"]


# ---- rows, pages and answers -----------------------------------------------------------------
@pytest.fixture
def output(db: None) -> Output:
    return rows.output(
        rows.channel(),
        "Main",
        platform="rtmp",
        url="rtmps://live.example.org/app",
        secret_query=Secret(QUERY),
    )


def test_changed_settings_start_a_new_session(output: Output) -> None:
    def edition() -> str:
        (plan,) = plans.outputs([output])
        assert plan.query == output.secret_query
        return plan.edition

    seen = {edition()}
    output.verify_certificate = False
    seen.add(edition())
    output.secret_query = Secret("token=other")
    seen.add(edition())
    output.url = "rtmp://live.example.org/app"
    seen.add(edition())
    # It has no effect here, so the session continues.
    output.verify_certificate = True
    seen.add(edition())
    assert len(seen) == 4


@pytest.mark.parametrize(
    "url", ["rtmp://u@h/app", "srt://h?Passphrase=x", "rtmp://h/a?TOKEN=x"]
)
def test_the_database_refuses_an_address_with_a_secret(output: Output, url: str) -> None:
    with pytest.raises(IntegrityError, match="output_address_holds_no_secret"):  # noqa: SIM117 - the inner block is what fails
        with transaction.atomic():
            Output.objects.filter(pk=output.pk).update(url=url)


def test_the_api_accepts_secrets_and_never_returns_them(client: Client, output: Output) -> None:
    call = api_caller(client)
    where = f"outputs/{output.pk}"
    status, body = call("PATCH", where, {"secret_query": "?token=another-one"})
    assert (status, body["has_secret_query"]) == (200, True)
    assert Output.objects.get().secret_query == Secret("token=another-one")
    assert "another-one" not in str([body, call("GET", where), call("GET", "channels/demo")])
    assert "another-one" not in str(list(KeyChange.objects.values_list("sentence", flat=True)))
    status, body = call("PATCH", where, {"verify_certificate": False})
    assert body["verify_certificate"] is False
    assert "does not verify the server's certificate" in body["warning"]
    status, body = call("PATCH", where, {"secret_query": "", "verify_certificate": True})
    assert (body["has_secret_query"], body["warning"]) == (False, "")


@pytest.mark.parametrize(
    "url",
    [
        "rtmp://h/app?token=s3cret-t0ken",
        "srt://h:9000?passphrase=s3cret-t0ken",
        "rtmp://s3cret-t0ken@h/a",
    ],
)
def test_the_api_refuses_secrets_in_the_address(
    client: Client, output: Output, url: str
) -> None:
    status, body = api_caller(client)("PATCH", f"outputs/{output.pk}", {"url": url})
    assert status == 422
    assert "must not hold" in str(body)
    assert "s3cret" not in str(body)
    assert Output.objects.get().url == output.url


def _form(output: Output, **fields: object) -> dict[str, object]:
    names = ("name", "platform", "url")
    form: dict[str, object] = {name: getattr(output, name) for name in names}
    return form | {"channel": output.channel_id, "enabled": "on", **fields}


def test_the_page_accepts_secrets_and_never_shows_them(client: Client, output: Output) -> None:
    client.force_login(rows.user("streams.view_output", "streams.change_output"))
    page = f"/admin/streams/output/{output.pk}/change/"
    assert TOKEN not in client.get(page).content.decode()
    # An empty field keeps the value; an entered value stays in a form that is shown again.
    assert client.post(page, _form(output, verify_certificate="on")).status_code == 302
    assert Output.objects.get().secret_query == Secret(QUERY)
    again = client.post(page, _form(output, name="", secret_query="token=typed-now"))
    assert "token=typed-now" in again.content.decode()
    assert TOKEN not in again.content.decode()
    refused = client.post(page, _form(output, url="rtmp://h/app?token=x"))
    assert "into the secret parameters" in refused.content.decode()
    client.post(page, _form(output, secret_query="?token=typed-now"))
    row = Output.objects.get()
    assert (row.secret_query, row.verify_certificate) == (Secret("token=typed-now"), False)
    assert "does not verify the server" in client.get(page).content.decode()
    client.post(page, _form(output, forget_secret_query="on"))
    assert not Output.objects.get().secret_query
    assert "typed-now" not in str(list(LogEntry.objects.values_list("change_message")))


def test_the_channels_page_and_the_preflight_warn(client: Client, output: Output) -> None:
    def sentences() -> list[str]:
        results = [one for one in findings(output.channel) if one.check == "certificates"]
        assert not any(one.stops_the_start for one in results)
        return [one.sentence for one in results]

    assert sentences() == []
    Output.objects.update(verify_certificate=False)
    (sentence,) = sentences()
    rows.node()
    rows.on_air(output.channel)
    client.force_login(rows.operator())
    assert "does not verify the server" in sentence
    assert "does not verify the server" in client.get("/admin/monitor/demo/").content.decode()


def test_without_ca_certificates_the_preflight_names_the_package(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    def warnings() -> list[Finding]:
        return [one for one in findings(output.channel) if one.check == "certificates"]

    (warning,) = warnings()
    assert warning.stops_the_start
    assert "apt install ca-certificates" in warning.sentence
    Output.objects.update(url="rtmp://live.example.org/app")
    assert warnings() == []


def test_without_its_field_key_one_output_fails(
    client: Client, settings: Settings, output: Output
) -> None:
    old = settings.FIELD_KEYS
    settings.FIELD_KEYS = [new_field_key(), *old]
    call_command("rotate_keys")
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    assert Output.objects.get().secret_query == Secret(QUERY)
    settings.FIELD_KEYS = old
    row = Output.objects.get()
    assert isinstance(row.secret_query, Unreadable)
    assert f"output {row.pk}, secret parameters" in list(unreadable_rows())
    row.key = Secret(rows.KEY)
    (plan,) = plans.outputs([row])
    assert "secret parameters can't be decrypted" in plan.fault
    assert not plan.query
    client.force_login(rows.user("streams.view_output", "streams.change_output"))
    page = client.get(f"/admin/streams/output/{row.pk}/change/").content.decode()
    assert "Enter it again" in page
    # The other fields can be changed without it.
    row.full_clean()


# ---- real servers ----------------------------------------------------------------------------
def publish(output: OutputPlan, within: float = 60) -> subprocess.CompletedProcess[bytes]:
    """Sends one second of video in the way of a pusher."""
    source = ("-f", "lavfi", "-i", "testsrc2=s=96x64:r=10:d=1", "-f", "lavfi", "-i", "sine=d=1")
    command = (
        *("ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "level+warning", *source),
        *("-t", "1", "-c:v", "libx264", "-c:a", "aac", *destination(output)),
    )
    with hand_over(command) as (argv, pipes):
        assert TOKEN not in " ".join(argv)
        return subprocess.run(
            argv, capture_output=True, timeout=within, pass_fds=pipes, env={}, check=False
        )


@pytest.mark.slow
@pytest.mark.parametrize("key", ["", "a-key"])
def test_an_rtmp_server_gets_the_secrets_moved_from_the_address(
    server: RtmpServer, key: str
) -> None:
    """nginx-rtmp logs the application's arguments, the same as with the whole address."""
    sent = publish(OutputPlan(1, "Main", server.address, Secret(key), query=Secret(QUERY)))
    assert TOKEN not in sent.stderr.decode()
    until(lambda: f"args='{QUERY}'" in server.log(), 30, "the arguments arrive")
    assert "connect: app='live'" in server.log()
    assert server.sessions(key) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "arrives"), [(TOKEN, True), ("another-one", False)])
def test_an_srt_receiver_accepts_only_the_right_passphrase(
    ffmpeg: str,
    typed: str,
    arrives: bool,
) -> None:
    port = free_port()
    receiver = subprocess.Popen(
        [
            *(ffmpeg, "-hide_banner", "-nostdin", "-loglevel", "error", "-i"),
            f"srt://127.0.0.1:{port}?mode=listener&passphrase={TOKEN}&listen_timeout=60000000",
            *("-c", "copy", "-f", "null", "-"),
        ],
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        until(lambda: _bound(port), 30, "the receiver listens")
        plan = OutputPlan(
            1, "Main", f"srt://127.0.0.1:{port}", query=Secret(f"passphrase={typed}")
        )
        sent = publish(plan)
        assert (sent.returncode == 0) is arrives
        assert typed not in sent.stderr.decode()
    finally:
        receiver.kill()
        receiver.wait()


def _bound(port: int) -> bool:
    """Returns whether a UDP socket is bound to the port."""
    marker = f":{port:04X} "
    with Path("/proc/net/udp").open() as table:
        return any(marker in line.split()[1] + " " for line in table)
