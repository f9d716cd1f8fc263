"""A secret shows nowhere: not in print, JSON, the database, an export, a log or an error."""

from __future__ import annotations

import io
import json
import logging
import pickle
import sys
from collections.abc import Iterator

import pytest
import structlog
from cryptography.fernet import Fernet
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import RequestFactory
from django.views.debug import ExceptionReporter, get_default_exception_reporter_filter
from pytest_django import Settings

from streams.models import Channel, Output
from streams.planning import plans
from streams.playout.contract.plan import OutputPlan
from streams.playout.ffmpeg.commands import destination
from streamsite.config.checks import secrets_readable
from streamsite.config.logging import logging_config
from streamsite.security.secret import MASK, Secret, Unreadable, masked

HUSH = "hush-hush-1234"


@pytest.fixture
def output(db: None) -> Output:
    channel = Channel.objects.create(name="One", slug="one")
    return Output.objects.create(channel=channel, name="YouTube", key=Secret(HUSH))


def stored(output: Output) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT key FROM streams_output WHERE id = %s", [output.pk])
        (value,) = cursor.fetchone()
    return str(value)


@pytest.mark.parametrize("shown", [str, repr, "{}".format, "{:>20}".format, "%s".__mod__])
def test_secret_prints_as_its_mask(shown: type[str]) -> None:
    assert shown(Secret(HUSH)).strip() == MASK


def test_secret_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(HUSH))


def test_key_is_encrypted_in_its_row_and_comes_back(output: Output) -> None:
    assert stored(output).startswith("f1:")
    assert HUSH not in stored(output)
    assert Output.objects.get(pk=output.pk).key == Secret(HUSH)


def test_new_key_goes_before_the_old_one(output: Output, settings: Settings) -> None:
    settings.FIELD_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_KEYS]
    assert Output.objects.get(pk=output.pk).key == Secret(HUSH)


def test_a_key_that_cannot_be_decrypted_ends_nothing_else(
    output: Output, settings: Settings
) -> None:
    before, old = stored(output), settings.FIELD_KEYS
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    row = Output.objects.get(pk=output.pk)
    assert isinstance(row.key, Unreadable)
    assert str(row.key) == MASK
    # Saved for another reason, it stays as it is stored.
    row.name = "Other"
    row.full_clean()
    row.save()
    assert stored(output) == before
    (plan,) = plans.outputs([row])
    assert "type it again" in plan.fault
    with pytest.raises(CommandError, match=f"1 are not: output {output.pk}"):
        call_command("rotate_keys", drop_old=True)
    (result,) = secrets_readable(None)
    assert result.id == "streamsite.W007"
    settings.FIELD_KEYS = [*settings.FIELD_KEYS, *old]
    call_command("rotate_keys")
    assert secrets_readable(None) == []
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    assert Output.objects.get(pk=output.pk).key == Secret(HUSH)


@pytest.mark.parametrize("typed", ["K\nrtmp_app=x", "K\r", "K\x00", "K\u2028x", "\x1b[2J"])
def test_a_key_with_control_characters_is_refused(output: Output, typed: str) -> None:
    output.key = Secret(typed)
    with pytest.raises(ValidationError, match="control character"):
        output.full_clean()
    (plan,) = plans.outputs([output])
    assert plan.fault
    with pytest.raises(ValueError, match="control characters"):
        destination(OutputPlan(1, "Main", "rtmp://h/app", Secret(typed)))


def test_an_address_with_a_line_break_is_refused(output: Output) -> None:
    output.platform, output.url = "rtmp", "rtmp://host/a\npp"
    with pytest.raises(ValidationError, match="line break"):
        output.full_clean()


@pytest.mark.parametrize(
    "quoted",
    [
        "Server error: bad key abcd-efgh-1234/5?t=to%ken99",
        "no such stream 'abcd-efgh-1234%2F5%3Ft%3Dto%25ken99'",
        "denied: YWJjZC1lZmdoLTEyMzQvNT90PXRvJWtlbjk5",
        "app live/to%ken99 is unknown",
        "abcd-efgh-1234 is in use",
    ],
)
def test_what_a_server_quotes_is_masked(quoted: str) -> None:
    shown = masked(quoted, [Secret("abcd-efgh-1234/5?t=to%ken99"), Secret("")])
    assert MASK in shown
    for part in ("abcd-efgh", "ken99", "YWJj"):
        assert part not in shown


@pytest.mark.parametrize(
    ("secret", "line", "shown"),
    [
        (
            "on",
            "connection of on refused: app=on_1",
            f"connection of {MASK} refused: app={MASK}_1",
        ),
        ("a", "a bad key: live?a", f"{MASK} bad key: live?{MASK}"),
        ("?k", "live?k asks", f"live{MASK} asks"),
        (
            "passphrase=abcd-efgh-1&latency=2000000",
            "passphrase abcd-efgh-1 of 2000000 ms latency",
            f"passphrase {MASK} of {MASK} ms latency",
        ),
        ("SECRETxx==", "no SECRETxx", f"no {MASK}"),
        ("secretword=", "no secretword", f"no {MASK}"),
        ("%", "100%", f"100{MASK}"),
    ],
)
def test_a_short_secret_or_a_name_leaves_the_line_readable(
    secret: str, line: str, shown: str
) -> None:
    assert masked(line, [Secret(secret)]) == shown


def test_key_can_not_be_searched_for(output: Output) -> None:
    with pytest.raises(FieldError, match="isnull only"):
        Output.objects.filter(key=Secret(HUSH))
    assert Output.objects.filter(key__isnull=False).exists()


def test_export_holds_ciphertext_that_can_be_imported(output: Output) -> None:
    exported = serializers.serialize("json", [output])
    assert HUSH not in exported
    for entry in serializers.deserialize("json", exported):
        entry.save()
    assert Output.objects.get(pk=output.pk).key == Secret(HUSH)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The service's log as JSON."""
    line = dict(logging_config("INFO", "json")["formatters"]["line"])
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(line.pop("()")(**line))
    logging.getLogger().addHandler(handler)
    yield text
    logging.getLogger().removeHandler(handler)
    structlog.contextvars.clear_contextvars()


def test_both_kinds_of_loggers_write_json_and_mask_secrets(log: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")
    logging.getLogger("plain").warning("key %s", Secret(HUSH), extra={"key": Secret(HUSH)})
    structlog.get_logger("own").warning("key", key=Secret(HUSH), keys=[Secret(HUSH)])
    plain, own = (json.loads(line) for line in log.getvalue().splitlines())
    assert plain["event"] == f"key {MASK}"
    assert (plain["logger"], own["logger"]) == ("plain", "own")
    for line in (plain, own):
        assert line["request_id"] == "r-1"
        assert line["level"] == "warning"
        assert line["key"] == MASK
    assert own["keys"] == [MASK]


def test_a_requests_line_is_without_its_parameters(log: io.StringIO) -> None:
    """As /info has the address of a download."""
    requests = RequestFactory().get("/api/v1/info", {"url": f"https://h/a?token={HUSH}"})
    line = f"GET {requests.get_full_path()}"
    logging.getLogger("plain").warning("refused", extra={"request": requests})
    structlog.get_logger("own").warning("request_finished", request=line)
    reported = [json.loads(one)["request"] for one in log.getvalue().splitlines()]
    assert all("/api/v1/info?…" in one for one in reported)
    assert HUSH not in log.getvalue()


def fail() -> None:
    key = Secret(HUSH).reveal()
    raise ValueError(len(key))


@pytest.mark.parametrize("form", ["json", "console"])
def test_logged_traceback_shows_no_variables(form: str) -> None:
    line = dict(logging_config("INFO", form)["formatters"]["line"])
    formatter = line.pop("()")(**line)
    try:
        fail()
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "broke", None, sys.exc_info())
    reported = formatter.format(record)
    assert "in fail" in reported
    assert HUSH not in reported


def test_error_page_shows_no_variables_forms_or_settings(settings: Settings) -> None:
    settings.DEBUG = True
    settings.Q_BROKER_URL = f"redis://:{HUSH}@localhost"
    settings.DATABASE_URL = f"postgres://u:{HUSH}@localhost/db"
    request = RequestFactory().post("/", {"url": "rtmp://host", "key": HUSH})
    request.META["YOUTUBE_STREAM_KEY"] = request.META["Q_BROKER_URL"] = HUSH
    try:
        fail()
    except ValueError:
        reporter = ExceptionReporter(request, *sys.exc_info())
    for page in (reporter.get_traceback_html(), reporter.get_traceback_text()):
        assert "ValueError" in page
        assert HUSH not in page
    assert type(get_default_exception_reporter_filter()).__name__ == "ShowNoValues"
