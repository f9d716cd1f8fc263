"""Security headers of each kind of response, and bodies that are too large."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from selenium.webdriver import Chrome

from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.security import headers
from streamsite.tests.browsing import browser, complaints, shows_text, site

__all__ = ["browser", "site"]

pytestmark = pytest.mark.django_db
JSON = "application/json"


def directives(policy: str) -> dict[str, list[str]]:
    parts = (part.split() for part in policy.split(";"))
    return {words[0]: words[1:] for words in parts}


@pytest.mark.parametrize("path", ["/health", "/api/v1/docs", "/api/v1/channels"])
def test_what_is_not_the_themes_may_do_nothing_unsafe(admin_client: Client, path: str) -> None:
    policy = admin_client.get(path, headers={"accept": JSON})["Content-Security-Policy"]
    assert "unsafe" not in policy


def test_the_themes_pages_set_styles_but_run_no_inline_script(admin_client: Client) -> None:
    for path in ("/admin/", "/admin/login/"):
        reported = directives(admin_client.get(path)["Content-Security-Policy"])
        assert reported["script-src"] == ["'self'", "'unsafe-eval'"]
        assert reported["style-src"] == ["'self'", "'unsafe-inline'"]
        assert reported["frame-ancestors"] == ["'none'"]
        assert reported["object-src"] == ["'none'"]


@pytest.mark.parametrize("path", ["/admin/login/", "/api/v1/channels", "/health", "/nowhere"])
def test_every_answer_has_its_headers(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "camera=()" in answer["Permissions-Policy"]
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


def test_https_only_where_there_is_https(client: Client, settings: Settings) -> None:
    assert "Strict-Transport-Security" not in client.get("/health")
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 30 * 24 * 3600
    # Django reads it when it starts.
    other = Client(headers={"x-forwarded-proto": "https"})
    assert other.get("/health")["Strict-Transport-Security"] == "max-age=2592000"


# ---- other sites -----------------------------------------------------------------------------
OTHER = "https://tv.example.org"


def test_pages_of_other_sites_get_nothing(client: Client) -> None:
    requests = client.get("/api/v1/health", headers={"origin": OTHER})
    assert "Access-Control-Allow-Origin" not in requests
    before = {"origin": OTHER, "access-control-request-method": "GET"}
    assert "Access-Control-Allow-Origin" not in client.options("/api/v1/health", headers=before)


def test_pages_of_sites_that_are_named_use_keys_but_no_cookies(
    client: Client, settings: Settings
) -> None:
    settings.CORS_ALLOWED_ORIGINS = [OTHER]
    _, key = keys.mint("site", KeyPermission.READ_ONLY, by="ada", now=timezone.now())
    sent = {"origin": OTHER, "authorization": f"Bearer {key.reveal()}"}
    answer = client.get("/api/v1/channels", headers=sent)
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == OTHER
    assert "Access-Control-Allow-Credentials" not in answer
    assert "Retry-After" in answer["Access-Control-Expose-Headers"]
    before = client.options(
        "/api/v1/channels",
        headers={
            "origin": OTHER,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
        },
    )
    assert before.status_code == 200
    assert "authorization" in before["Access-Control-Allow-Headers"]
    # The admin is nobody else's.
    page = client.get("/admin/login/", headers={"origin": OTHER})
    assert "Access-Control-Allow-Origin" not in page


# ---- size ------------------------------------------------------------------------------------


PART = "/api/v1/media/uploads/parts/1"


@pytest.mark.parametrize(
    ("path", "kind", "length", "status"),
    [
        ("/api/v1/channels", JSON, 10_485_761, 413),
        (PART, "application/octet-stream", headers.LARGEST + 1, 413),
        ("/auth", JSON, 10_485_761, 413),
        ("/api/v1/channels", JSON, 10, 401),
        (PART, "application/octet-stream", 50_000_000, 405),
        ("/api/v1/channels", JSON, "-5", 400),
        ("/api/v1/channels", JSON, "many", 400),
    ],
)
def test_what_is_too_large_is_not_read(
    client: Client, path: str, kind: str, length: int | str, status: int
) -> None:
    answer = client.generic("POST", path, b"{}", kind, CONTENT_LENGTH=str(length))
    assert answer.status_code == status
    if path.startswith("/api/"):
        assert answer["Content-Type"] == "application/problem+json"


# ---- in a browser ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_documentation_shows_under_the_strict_policy(browser: Chrome, site: str) -> None:
    browser.get(f"{site}/api/v1/docs")
    shows_text(browser, "#swagger-ui", "/api/v1/channels")
    assert complaints(browser) == []
