"""A database that refuses: pages and API say what is known of it, and quote nothing."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.test import Client, RequestFactory

from streamsite.http.error_pages import page_of_error
from streamsite.site.api_root import HANDLERS

PASSWORD = "correct-horse-9"


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="SQLite can be told to refuse")
def test_a_login_that_cannot_be_stored_names_the_cause() -> None:
    User.objects.create_superuser("ada", password=PASSWORD)
    browser = Client(raise_request_exception=False)
    sent = {"username": "ada", "password": PASSWORD}
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = 1")
        page = browser.post("/admin/login/", sent)
        problem = browser.post("/admin/login/", sent, headers={"accept": "application/json"})
        cursor.execute("PRAGMA query_only = 0")
    assert page.status_code == problem.status_code == 503
    assert "The cause: the database is read-only." in page.content.decode()
    assert PASSWORD not in page.content.decode()
    assert problem.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("error", "status", "output"),
    [
        (OperationalError("database or disk is full"), 503, "disk is full: make room on it"),
        (OperationalError(""), 503, "the database does not answer"),
        (InterfaceError("cursor already closed"), 503, "its error stands in the log"),
        (OperationalError("no such table: auth_user"), 503, "run migrate"),
        (InternalError("cannot execute UPDATE in a read-only transaction"), 503, "read-only"),
        (ProgrammingError('relation "auth_user" does not exist'), 503, "run migrate"),
        (OperationalError('FATAL:  database "x" does not exist'), 503, "see DATABASE_URL"),
        (OperationalError("<b>\"'&"), 503, "its error stands in the log"),
        (ProgrammingError("syntax error"), 500, "Server Error (500)"),
        (InternalError(""), 500, "Server Error (500)"),
        (IntegrityError('value "disk is full" is there'), 500, "Server Error (500)"),
        (RuntimeError("disk is full"), 500, "Server Error (500)"),
    ],
)
def test_what_the_page_of_an_error_states(
    rf: RequestFactory, error: Exception, status: int, output: str
) -> None:
    try:
        raise error
    except type(error):
        answer = page_of_error(rf.get("/admin/"))
    assert answer.status_code == status
    assert output in answer.content.decode()
    assert "<b>" not in answer.content.decode()


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("attempt to write a readonly database"),
        InternalError("cannot execute INSERT in a read-only transaction"),
    ],
)
def test_the_api_names_the_cause(rf: RequestFactory, error: Exception) -> None:
    reported = HANDLERS[type(error)](rf.get("/api/v1/channels"), error)
    assert reported.status_code == 503
    assert "the database is read-only" in reported.content.decode()
