"""Error pages and reports that show no secret."""

from __future__ import annotations

import re
import sys
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.db import InterfaceError, InternalError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.datastructures import MultiValueDict
from django.views.debug import SafeExceptionReporterFilter
from django.views.defaults import server_error

from streamsite.http import database_faults
from streamsite.security.secret import MASK


class ShowNoValues(SafeExceptionReporterFilter):
    """Django's reports without what was typed in and without the values of local variables.

    Names can't tell which of them holds a key: `value`, `plain` and `args` have all done so.
    """

    cleansed_substitute = MASK
    # Django's own list, and addresses: those of databases and brokers hold passwords.
    hidden_settings = re.compile(
        "API|AUTH|TOKEN|KEY|SECRET|PASS|SIGNATURE|HTTP_COOKIE|_URL|Q_CLUSTER|QUERY_STRING",
        re.IGNORECASE,
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        if request is None:
            return {}
        return MultiValueDict({name: [MASK] for name in request.POST})

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        return {
            name: f"<{type(value).__name__}>" for name, value in tb_frame.f_locals.items()
        }.items()


def page_of_error(request: HttpRequest) -> HttpResponse:
    """The page for an exception that nobody has handled: 503 where the database refused.

    Django's handler of 500, which it calls while the exception is handled.
    """
    error = sys.exception()
    refused = isinstance(error, OperationalError | InterfaceError)
    # PostgreSQL's, where it is read-only, damaged or not migrated; else a mistake of ours.
    if not refused and not isinstance(error, InternalError | ProgrammingError):
        return server_error(request)
    cause = database_faults.meaning(str(error)) if refused or str(error) else None
    if cause is None and not refused:
        return server_error(request)
    cause = cause or "its error stands in the log"
    return render(request, "streamsite/no_database.html", {"cause": cause}, status=503)
