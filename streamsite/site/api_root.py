"""The API's root: what is common to all of it, and which router stands where."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import structlog
from django.core.exceptions import NON_FIELD_ERRORS, RequestDataTooBig, ValidationError
from django.db import IntegrityError, InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import Swagger
from ninja.errors import AuthenticationError, HttpError
from ninja.errors import ValidationError as MalformedError
from ninja.openapi.docs import ABS_TPL_PATH
from ninja.parser import Parser

from media_library.actions import FaultyItemError
from media_library.api import (
    download_setup,
    downloads,
    exchange,
    media,
    playlists,
    syncs,
    tags,
    uploads,
)
from media_library.conform.logos import LogoError
from media_library.downloads.jobs import NotNowError, OrderError
from media_library.downloads.ytdlp_versions import UpdateError
from media_library.playlists.edit import ChangedMeanwhileError, PlaylistError
from media_library.playlists.m3u_csv import ExchangeError
from media_library.realtime import PROGRESS
from media_library.storage import StorageError
from media_library.sync.runner import SyncError
from media_library.uploads.service import UploadError
from streams.api import (
    ahead,
    air,
    alerts,
    channels,
    compatibility,
    drills,
    evidence,
    health,
    library,
    live,
    machines,
    outputs,
    pictures,
    platforms,
    programme,
    runs,
    takeover,
)
from streams.calendar.edit import BlockChangedError, BlockRefusedError
from streams.control.actions import (
    ActionRefusedError,
    AlreadyOnAirError,
    CantStartError,
    NobodyLiveError,
    NotRunningError,
)
from streams.realtime import CHANNELS
from streamsite.api import key_routes
from streamsite.api.auth import CLOSED
from streamsite.http import database_faults, problems
from streamsite.http.middleware import request_id
from streamsite.http.problems import KINDS, Kind, ProblemError
from streamsite.http.untrusted import json_of
from streamsite.site.openapi import Api, Json
from streamsite.webhooks import routes

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

DESCRIPTION: Final = """
All that the admin can do, for programs. Moments are ISO 8601 in UTC, bit rates in bit/s,
lengths in seconds. Lists come in pages: `next_cursor` of one answer is `cursor` of the next
question.

Send a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`. `x-permissions` of a route
says which key it takes, and `x-staff-permission` what a login of staff needs. Errors are RFC
9457 problems: `type` stays, `detail` is for people, and the log tells of the request under
`request_id`.

`GET .../events` is told as it changes, as server-sent events; `x-websockets` of this document
names the WebSockets that tell the same.
"""

#: The topics that are published by WebSocket and as server-sent events.
TOPICS: Final = (CHANNELS, PROGRESS)

#: The kind of problem for each error of the apps.
REFUSALS: Final[dict[type[Exception], Kind]] = {
    AlreadyOnAirError: Kind.ALREADY_ON_AIR,
    NotRunningError: Kind.NOT_RUNNING,
    NobodyLiveError: Kind.NOBODY_LIVE,
    CantStartError: Kind.CANT_START,
    ActionRefusedError: Kind.CONFLICT,
    ChangedMeanwhileError: Kind.CHANGED_MEANWHILE,
    PlaylistError: Kind.REFUSED,
    FaultyItemError: Kind.REFUSED,
    UploadError: Kind.REFUSED,
    StorageError: Kind.UNAVAILABLE,
    BlockRefusedError: Kind.REFUSED,
    BlockChangedError: Kind.CHANGED_MEANWHILE,
    ExchangeError: Kind.REFUSED,
    LogoError: Kind.REFUSED,
    SyncError: Kind.CONFLICT,
    OrderError: Kind.REFUSED,
    NotNowError: Kind.CONFLICT,
    UpdateError: Kind.CONFLICT,
}


def problem(request: HttpRequest, kind: Kind, detail: str, **more: Any) -> HttpResponse:
    return problems.answer(problems.document(kind, detail, request_id(request), **more))


def _refused(request: HttpRequest, refusal: Exception) -> HttpResponse:
    kind = next(REFUSALS[cls] for cls in type(refusal).__mro__ if cls in REFUSALS)
    if isinstance(refusal, CantStartError):
        findings = [
            {"check": fault.check, "detail": fault.sentence} for fault in refusal.faults
        ]
        return problem(request, kind, str(refusal), findings=findings)
    permanent = {"permanent": True} if getattr(refusal, "permanent", False) else {}
    return problem(request, kind, str(refusal), **permanent)


def problem_response(request: HttpRequest, error: ProblemError) -> HttpResponse:
    return problem(request, error.kind, str(error), **error.more)


def _unknown(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return problem(
        request, Kind.NO_KEY, "Send a key (Authorization: Bearer KEY), or log in first."
    )


def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem(request, Kind.NOT_FOUND, "There is nothing by that name.")


#: As Django writes a parameter of a route.
_PARAMETER: Final = re.compile(r"<(?:\w+:)?(\w+)>")


class StrictParser(Parser):
    """Says what is wrong with a body, and which parameter there is not.

    ninja takes a misspelt filter for none at all: the list would be of everything.
    """

    def parse_querydict(
        self, data: Any, list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        """Raises `ProblemError`."""
        route = (
            _PARAMETER.sub(r"{\1}", request.resolver_match.route)
            if request.resolver_match
            else ""
        )
        names = parameters().get(f"{request.method} /{route}")
        # A compatibility path is in no document.
        unknown = sorted(data.keys() - names) if names is not None else []
        if unknown:
            raise ProblemError(
                Kind.INVALID,
                f"There is no such parameter: {', '.join(unknown)[:200]}.",
                errors=[
                    {"loc": ["query", name[:200]], "msg": "There is no such parameter."}
                    for name in unknown[:20]
                ],
            )
        values: dict[str, Any] = super().parse_querydict(data, list_fields, request)
        return values

    def parse_body(self, request: HttpRequest) -> Any:
        """Raises `ProblemError`, which ninja wraps: see `_of_ninja`."""
        if request.content_type != "application/json":
            raise ProblemError(
                Kind.MEDIA_TYPE, "Send the body as JSON, with Content-Type: application/json."
            )
        try:
            return json_of(request.body)
        except ValueError as error:
            raise ProblemError(Kind.MALFORMED, f"The body is no JSON: {error}.") from None


@cache
def parameters() -> dict[str, set[str]]:
    """The parameters of each route's query, as the document lists them."""
    return {
        f"{method.upper()} {path}": {
            one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"
        }
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method, operation in methods.items()
    }


def _of_ninja(request: HttpRequest, error: HttpError) -> HttpResponse:
    if isinstance(error.__cause__, ProblemError):
        return problem_response(request, error.__cause__)
    detail = f"{str(error).rstrip('.')}."
    return problems.answer(problems.of_status(error.status_code, detail, request_id(request)))


def _malformed(request: HttpRequest, error: MalformedError) -> HttpResponse:
    # The place and the fault, not the value: it may be a secret in the wrong place.
    errors = [{"loc": _place(fault["loc"]), "msg": fault["msg"]} for fault in error.errors]
    detail = "The request is not of the form the documentation gives."
    return problem(request, Kind.INVALID, detail, errors=errors)


def _place(loc: Sequence[int | str]) -> list[int | str]:
    """As the caller knows it: ninja names our own parameter behind the body."""
    return [*loc[:1], *loc[2:]] if loc[0] == "body" else list(loc)


def _too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    return problem(request, Kind.TOO_LARGE, KINDS[Kind.TOO_LARGE][1])


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    whole = {NON_FIELD_ERRORS: error.messages}
    fields = error.message_dict if hasattr(error, "error_dict") else whole
    errors = [
        {"loc": ["body"] if name == NON_FIELD_ERRORS else ["body", name], "msg": sentence}
        for name, sentences in fields.items()
        for sentence in sentences
    ]
    detail = " ".join(error.messages)
    return problem(request, Kind.INVALID, detail, errors=errors)


def _clash(request: HttpRequest, error: IntegrityError) -> HttpResponse:
    # Looked at first, so only a race comes here: the database's own words hold values.
    log.info("api.clash", error=type(error).__name__)
    return problem(
        request, Kind.CONFLICT, "Somebody else made the like of it at this moment: look again."
    )


def _no_database(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("api.no_database", error=type(error).__name__)
    cause = database_faults.meaning(str(error))
    words = (
        f"The database can't be used now: {cause}." if cause else "The database can't be used."
    )
    return problem(request, Kind.UNAVAILABLE, words)


#: All that may be raised in a route is answered as a problem.
HANDLERS: Final[dict[type[Exception], Callable[..., HttpResponse]]] = {
    **dict.fromkeys(REFUSALS, _refused),
    ProblemError: problem_response,
    AuthenticationError: _unknown,
    Http404: _not_found,
    HttpError: _of_ninja,
    RequestDataTooBig: _too_large,
    MalformedError: _malformed,
    ValidationError: _invalid,
    IntegrityError: _clash,
    OperationalError: _no_database,
    InterfaceError: _no_database,
    # PostgreSQL's, where it is read-only.
    InternalError: _no_database,
}


class LocalSwagger(Swagger):
    """The page with scripts of our own site, though django-ninja is no installed app."""

    template_cdn = str(ABS_TPL_PATH / "swagger.html")


api = Api(
    title="streamsite",
    version="1",
    description=DESCRIPTION,
    auth=CLOSED,
    parser=StrictParser(),
    renderer=Json(),
    # They show the permissions of each route.
    docs=LocalSwagger(settings={"showExtensions": True}),
    urls_namespace="api-1",
)
api.topics = TOPICS
#: The compatibility paths, without /api/v1, over the same functions. They are in no document.
first = Api(
    auth=CLOSED,
    parser=StrictParser(),
    renderer=Json(),
    openapi_url=None,
    docs_url=None,
    urls_namespace="first",
)

_ROUTERS: Final = (
    ("/channels", channels.router),
    ("/channel-statuses", channels.statuses),
    ("/channels", air.router),
    ("/channels", programme.hours),
    ("/channels", takeover.router),
    ("/channels", drills.router),
    ("/channels", ahead.channel),
    ("/channels", pictures.router),
    ("/channels", pictures.air),
    ("/channels", evidence.router),
    ("/channels", machines.log),
    ("/upcoming-problems", ahead.upcoming_problems),
    ("/forewarnings", ahead.former_path),
    ("/nodes", machines.nodes),
    ("/outputs", outputs.router),
    ("/outputs", platforms.of_output),
    ("/platform-accounts", platforms.router),
    ("/blocks", programme.blocks),
    # Before the playlists, whose ids are no words.
    ("/playlists", exchange.router),
    ("/playlists", playlists.router),
    ("/tags", tags.router),
    ("/syncs", syncs.router),
    ("/storage", syncs.trial),
    # Before the items, whose ids are no words.
    ("/media/uploads", uploads.router),
    ("/media", media.router),
    ("/media", library.router),
    ("", downloads.router),
    ("", download_setup.rest),
    ("/download-schedules", download_setup.schedules),
    ("/site-cookies", download_setup.site_cookies),
    ("/runs", runs.router),
    ("/broadcasters", live.broadcasters),
    ("/stream-keys", live.stream_keys),
    ("/streams", live.streams),
    ("/alert-receivers", alerts.router),
    ("/webhooks", routes.endpoints),
    ("/deliveries", routes.deliveries),
    ("/api-keys", key_routes.router),
    ("/health", health.router),
)
_FIRST_ROUTERS: Final = (
    # Before the streams, whose ids are no words.
    ("/streams", compatibility.router),
    ("/broadcasters", live.broadcasters),
    ("/stream-keys", live.stream_keys),
    ("/health", health.router),
)

for _api, _routers in ((api, _ROUTERS), (first, _FIRST_ROUTERS)):
    for _path, _router in _routers:
        _api.add_router(_path, _router)
    for _error, _handler in HANDLERS.items():
        _api.exception_handler(_error)(_handler)
