"""System checks of this machine, the middleware and the sidebar."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.checks import CheckMessage, run_checks
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from streamsite.http.middleware import CompressTextMiddleware, RealAddressMiddleware
from streamsite.security.urls import is_loopback, place, shown
from streamsite.site.sidebar import GROUPS, navigation

LONG = b"a picture of text " * 100


def check_ids(name: str, *, deploy: bool = False) -> list[CheckMessage]:
    return [m for m in run_checks(include_deployment_checks=deploy) if m.id == name]


def test_missing_ffmpeg_is_reported_with_the_command(settings: Settings) -> None:
    settings.FFMPEG_PATH = "/nowhere/ffmpeg"
    (message,) = check_ids("streamsite.W001")
    assert "/nowhere/ffmpeg" in message.msg
    assert message.hint == "Type, as root: apt-get install --yes ffmpeg"


@pytest.mark.parametrize(
    ("version", "warned"),
    [("4.4.2-0ubuntu1", True), ("5.1.9-0+deb12u1", False), ("n9.0", False), ("N-1-git", False)],
)
def test_old_ffmpeg_is_reported(
    version: str,
    warned: bool,
    tmp_path: Path,
    settings: Settings,
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho 'ffmpeg version {version} Copyright'\n")
    program.chmod(0o755)
    settings.FFMPEG_PATH, settings.FFPROBE_PATH = str(program), "true"
    assert bool(check_ids("streamsite.W003")) is warned


def test_missing_certificates_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not check_ids("streamsite.W010")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    (message,) = check_ids("streamsite.W010")
    assert "ca-certificates" in str(message.hint)


@pytest.mark.django_db
@pytest.mark.parametrize(("built", "warned"), [("openssl", True), ("gnutls", False)])
def test_an_ffmpeg_that_compares_no_names_is_reported(
    built: str,
    warned: bool,
    tmp_path: Path,
    settings: Settings,
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho '    --enable-{built}'\n")
    program.chmod(0o755)
    settings.FFMPEG_PATH, settings.FFPROBE_PATH = str(program), "true"
    assert bool(check_ids("streamsite.W009", deploy=True)) is warned


@pytest.mark.django_db
def test_deploy_check_requests_for_the_key_and_the_storage(
    settings: Settings, tmp_path: Path
) -> None:
    settings.FIELD_KEYS_GIVEN = False
    settings.MEDIA_ROOT = tmp_path / "file"
    settings.MEDIA_ROOT.touch()
    assert check_ids("streamsite.W004", deploy=True)
    assert check_ids("media_library.E001", deploy=True)
    settings.FIELD_KEYS_GIVEN = True
    assert not check_ids("streamsite.W004", deploy=True)


@pytest.mark.parametrize(("peer", "expected"), [("", "192.0.2.9"), ("127.0.0.1", "127.0.0.1")])
def test_nginx_is_believed_on_its_socket_alone(peer: str, expected: str) -> None:
    seen = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request.META["REMOTE_ADDR"])
        return HttpResponse()

    request = RequestFactory().get("/", headers={"x-real-ip": "192.0.2.9"}, REMOTE_ADDR=peer)
    RealAddressMiddleware(view)(request)
    assert seen == [expected]


@pytest.mark.parametrize(("kind", "packed"), [("text/html", True), ("video/mp2t", False)])
def test_text_is_compressed_and_video_is_not(kind: str, packed: bool) -> None:
    middleware = CompressTextMiddleware(lambda _: HttpResponse(LONG, content_type=kind))
    response = middleware(RequestFactory().get("/", headers={"accept-encoding": "gzip"}))
    assert isinstance(response, HttpResponse)
    assert ("Content-Encoding" in response) is packed


def test_every_line_of_the_sidebar_opens(admin_client: Client, admin_user: User) -> None:
    request = RequestFactory().get("/")
    request.user = admin_user
    lines = [line for group in navigation(request) for line in group["items"]]
    assert len(lines) == sum(len(group) for group in GROUPS.values())
    for line in lines:
        assert admin_client.get(line["link"]).status_code == 200, line["title"]


def test_sidebar_offers_only_what_one_may_see(db: None) -> None:
    request = RequestFactory().get("/")
    request.user = User.objects.create(username="guest", is_staff=True)
    lines = [line["title"] for group in navigation(request) for line in group["items"]]
    assert lines == ["Control room"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("[::1]", "[::1]:80")],
)
def test_address_is_written_as_browsers_read_it(host: str, expected: str) -> None:
    assert place(host, 80) == expected
    assert shown(host, 80) == f"http://{expected}/admin/"
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - an address to be refused
def test_address_served_everywhere_is_shown_by_name(host: str) -> None:
    assert host not in shown(host, 80).removeprefix("http://").split("/")[0]
    assert not is_loopback(host)
