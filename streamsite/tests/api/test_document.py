"""The API does what its OpenAPI document says, whatever it is asked: tried by schemathesis."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from ninja.openapi.schema import OpenAPISchema
from pytest_django import Settings
from schemathesis.checks import CheckFunction
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from media_library.models import (
    DownloadJob,
    DownloadSchedule,
    MediaItem,
    SiteCookies,
    SyncRun,
    Tag,
)
from streams.ingest import keys as stream_keys
from streams.models import AsRun, Broadcaster, Drill, Evidence, Incident, LiveStream, Run
from streams.tests import rows
from streamsite.api import keys
from streamsite.api.permissions import KeyPermission
from streamsite.security.secret import Secret
from streamsite.site.api_root import TOPICS, api
from streamsite.webhooks.models import Delivery, Endpoint
from streamsite.webhooks.sender import new_secret

#: Requests to each route.
EXAMPLES = 15
#: Parts of the document that are tried side by side, each with a database of its own.
SHARDS = 6


def nothing_broke(ctx: Any, response: Any, case: Any) -> None:
    """503 is an answer, as of health; 500 is none."""
    if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        raise AssertionError(f"{case.as_curl_command()} broke it.")


CHECKS: list[CheckFunction] = [
    nothing_broke,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
def document(django_db_reset_sequences: None, settings: Settings, tmp_path: Path) -> Any:
    """The document, and a site with one row of each kind, and some more, behind it."""
    settings.MEDIA_ROOT = settings.RUN_DIR = settings.DATA_DIR = tmp_path
    settings.STORAGES = dict(settings.STORAGES)
    settings.API_REQUESTS_PER_MINUTE = 1_000_000
    now = timezone.now()
    channel = rows.channel()
    rows.block(channel)
    rows.output(channel)
    rows.node()
    run = rows.on_air(channel)
    for number in range(3):
        at = now + timedelta(seconds=number)
        AsRun.objects.create(run=run, title=f"{number}", started_at=at, ended_at=at)
        incident = Incident.objects.create(
            channel=channel, subject=f"{number}", severity="lost", cause="x", opened_at=at
        )
        Drill.objects.create(channel=channel, node="here", status="done", created_at=at)
        Evidence.objects.create(incident=incident, still=b"JPEG", clip="clip.ts")
        Run.objects.create(channel=channel, started_at=at, ended_at=at)
        MediaItem.objects.create(key=f"{number}.mp4", title=f"{number}", etag="e")
        ada = Broadcaster.objects.create(name=f"Ada {number}", slug=f"ada{number}")
        row, _ = stream_keys.mint(ada, by="ada", now=now)
        LiveStream.objects.create(
            broadcaster=ada, key=row, server="mediamtx", path=ada.path, source_id=f"{number}"
        )
        keys.mint(f"Spare {number}", KeyPermission.READ_ONLY, by="ada", now=now)
        more_rows(number)
    result = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())
    # Keys made up would be refused, and soon no other be looked at: see throttling.
    result.config.generation.update(with_security_parameters=False)
    return result


def more_rows(number: int) -> None:
    url = f"https://example.org/{number}"
    Tag.objects.create(name=f"Tag {number}")
    SyncRun.objects.create(status="done")
    DownloadSchedule.objects.create(name=f"{number}", url=url)
    DownloadJob.objects.create(url=url, site="example.org", status="cancelled")
    SiteCookies.objects.create(domain=f"{number}.example.org", text=Secret("x"))
    hook = Endpoint.objects.create(name=f"{number}", url=url, secret=new_secret())
    Delivery.objects.create(endpoint=hook, event="ping", message_id=uuid4(), state="failed")


@pytest.fixture
def headers(document: Any) -> dict[str, str]:
    """The key may do everything, and is none of the first three, which may be revoked."""
    _, key = keys.mint(
        "Schemathesis",
        KeyPermission.FULL_ACCESS,
        by="ada",
        now=timezone.now(),
        requests_per_minute=1_000_000,
    )
    # Its way to the site does not unpack answers.
    return {"X-API-Key": key.reveal(), "Accept-Encoding": "identity"}


def call(operation: Any, headers: dict[str, str]) -> tuple[set[int], str]:
    """The statuses of its answers, and what was wrong with them, if anything."""
    statuses: set[int] = set()

    @given(case=operation.as_strategy())
    @effort(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def tried(case: Any) -> None:
        # Most questions are about what is there.
        of = case.path_parameters or {}
        if isinstance(of.get("id"), int) and of["id"] % 4:
            of["id"] = of["id"] % 3 + 1
        if len(str(of.get("slug", ""))) % 4:
            of["slug"] = "demo"
        statuses.add(case.call_and_validate(headers=headers, checks=CHECKS).status_code)

    try:
        tried()
    except FailureGroup as wrong:
        return statuses, "\n".join(str(item) for item in wrong.exceptions)
    return statuses, ""


# Streams have no end, and gunicorn serves them: see test_live and test_live_access.
STREAMS = {f"GET {topic.events}" for topic in TOPICS}


def labels() -> list[str]:
    """The routes that are tried, as the document names them."""
    paths = api.get_openapi_schema()["paths"].items()
    every = {f"{method.upper()} {path}" for path, methods in paths for method in methods}
    return sorted(every - STREAMS)


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_every_answer_is_as_the_document_states(
    document: Any, headers: dict[str, str], shard: int
) -> None:
    mine = set(labels()[shard::SHARDS])
    result = [item.ok() for item in document.get_all_operations()]
    operations = [item for item in result if item.label in mine]
    assert {item.label for item in operations} == mine
    # Deleted objects and disabled ones can't be requested any more.
    operations.sort(key=lambda item: item.label.startswith("DELETE") or "stop" in item.label)
    wrong: dict[str, str] = {}
    answered: dict[str, set[int]] = {}
    for operation in operations:
        answered[operation.label], fault = call(operation, headers)
        if fault:
            wrong[operation.label] = fault
    assert not wrong, "\n\n".join(f"{label}\n{fault}" for label, fault in wrong.items())
    # All were let in, and most were asked something that they could do.
    assert not {401, 403, 429}.intersection(chain.from_iterable(answered.values()))
    done = {label for label, statuses in answered.items() if min(statuses) < 400}
    assert len(done) > len(answered) // 2, sorted(answered.keys() - done)


def test_no_two_schemas_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """If two have, ninja lets the later one stand for both."""
    reported: dict[str, Any] = {}
    twice: set[str] = set()

    def add(_: OpenAPISchema, definitions: dict[str, Any]) -> None:
        twice.update(
            name
            for name in definitions
            if reported.get(name, definitions[name]) != definitions[name]
        )
        reported.update(definitions)

    monkeypatch.setattr(OpenAPISchema, "add_schema_definitions", add)
    api.get_openapi_schema()
    assert reported
    assert not twice


def test_the_document_is_openapi_31_and_names_are_unique() -> None:
    reported = api.get_openapi_schema()
    assert reported["openapi"] == "3.1.0"
    operations = [one for methods in reported["paths"].values() for one in methods.values()]
    ids = [one["operationId"] for one in operations]
    assert len(ids) == len(set(ids))
    for one in operations:
        assert one["summary"]
        assert "default" in one["responses"]
        assert one.get("x-permissions") in {None, *(level.value for level in KeyPermission)}
