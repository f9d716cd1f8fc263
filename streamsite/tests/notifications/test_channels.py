"""Alerts reach a real mail server and a real webhook, and show no secret on the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.utils.module_loading import import_string
from pytest_django import Settings

from streams.tasks import verify_ahead
from streamsite.management.commands.run_cluster import SCHEDULES
from streamsite.notifications import channels
from streamsite.security.secret import Secret
from streamsite.security.urls import is_address
from streamsite.tests.receiving import HUSH, Hook, Post

#: The server asks for a password in the clear, which it may on this machine.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

LINES = ("Demo, Sun 01 Mar 14:05 CET: “A” is not in the storage.", "Two.")


@pytest.fixture
def hook(settings: Settings) -> Iterator[Hook]:
    made = Hook(HUSH)
    settings.ALERT_WEBHOOK = Secret(made.address)
    yield made
    made.close()


@pytest.fixture
def post(settings: Settings) -> Iterator[Post]:
    made = Post()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_PORT = made.port
    settings.EMAIL_HOST_USER = "tv"
    settings.EMAIL_HOST_PASSWORD = Secret(HUSH)
    settings.ALERT_EMAIL = ["ada@example.org", "eve@example.org"]
    yield made
    made.controller.stop()


def test_nothing_set_is_nothing_sent() -> None:
    assert not channels.send("Two warnings", LINES)


def test_a_webhook_gets_one_message(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    assert channels.send("Two warnings", LINES)
    (body,) = hook.bodies
    assert body["text"] == "\n".join(["Two warnings", *(f"• {line}" for line in LINES)])
    assert HUSH not in caplog.text


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_refuses_was_not_reported(
    hook: Hook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    hook.status = status
    assert not channels.send("Two warnings", LINES)
    # A redirection is not followed: another host would learn of it.
    assert hook.paths == [f"/{HUSH}"]
    assert "alert.not_posted" in caplog.text
    assert str(status) in caplog.text
    assert HUSH not in caplog.text


def test_a_webhook_that_is_gone_was_not_reported(
    hook: Hook, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    settings.ALERT_WEBHOOK = Secret(f"http://127.0.0.1:1/{HUSH}")
    assert not channels.send("Two warnings", LINES)
    assert "alert.not_posted" in caplog.text
    assert HUSH not in caplog.text


def test_no_title_calls_anybody() -> None:
    reported = channels.text("x", ["<!channel> @everyone & <@U1>"])
    assert not [call for call in ("<!", "@everyone", "<@", "@U1") if call in reported]
    assert reported.replace("\u200b", "").endswith("<!channel> @everyone & <@U1>")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://a.example/x", "jsons://a.example/x?%3Amessage=text"),
        ("http://a.example:81/x?k=v%20", "json://a.example:81/x?-k=v+&%3Amessage=text"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", ""),
        ("ntfy://a.example/topic", ""),
    ],
)
def test_a_service_has_its_own_address_and_any_other_receiver_gets_json(
    given: str, used: str
) -> None:
    assert channels.apprise_address(given) == (used or given)


@pytest.mark.parametrize(("lines", "length"), [(3, 10_000), (500, 200), (2000, 1), (1, 1)])
def test_a_long_message_states_how_much_it_leaves_out(lines: int, length: int) -> None:
    reported = channels.text("x" * 3000, ["y" * length] * lines)
    assert len(reported) <= channels.MAX_CHARS
    shown = reported.count("\n• ")
    assert shown >= 1
    left = f"… and {lines - shown} more" if shown < lines else ""
    assert left in reported
    assert ("more: see" in reported) == bool(left)


def test_mail_goes_to_all_who_are_named(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    assert channels.send("Two\nwarnings", LINES)
    (mail,) = post.taken
    assert (mail["Subject"], mail["To"]) == (
        "Two warnings",
        "ada@example.org, eve@example.org",
    )
    assert mail["From"].startswith("streamsite@")
    assert [line for line in mail.get_content().splitlines() if line] == list(LINES)
    assert HUSH not in caplog.text


def test_a_mail_server_that_refuses_was_not_reported(
    post: Post, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    settings.EMAIL_HOST_PASSWORD = Secret(f"wrong-{HUSH}")
    assert not channels.send("Two warnings", LINES)
    assert post.taken == []
    assert "alert.not_mailed" in caplog.text
    assert HUSH not in caplog.text


def test_one_way_that_works_is_enough(post: Post, hook: Hook) -> None:
    hook.status = 500
    assert channels.send("Two warnings", LINES)
    assert (len(post.taken), len(hook.bodies)) == (1, 1)


@pytest.mark.parametrize(
    ("address", "fine"),
    [
        ("https://hooks.example.org/T/B/x", True),
        ("http://127.0.0.1:8080/", True),
        ("https:///nowhere", False),
        ("https://h:port/x", False),
        ("https://h/a b", False),
        ("https://h/\n", False),
    ],
)
def test_an_unreadable_address_is_reported_at_the_start(address: str, fine: bool) -> None:
    assert is_address(address) is fine


def test_what_is_ahead_is_checked_at_every_quarter_of_an_hour() -> None:
    (minutes,) = [
        minutes for _, task, minutes in SCHEDULES if import_string(task) is verify_ahead
    ]
    assert minutes == 15
