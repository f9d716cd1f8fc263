"""Logs: one line an event, JSON on stdout, or readable lines on a terminal.

Django, django-q2, gunicorn and structlog's own loggers all pass one formatter. Tracebacks are
written without the values of variables, and a `Secret` prints as its mask.
"""

from __future__ import annotations

import logging.config
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

from streamsite.security.urls import ELLIPSIS


def _without_query(_: object, __: str, event: EventDict) -> EventDict:
    """A request's line without its parameters: the address of a download may hold a token."""
    if "request" in event:
        path, query, _rest = str(event["request"]).partition("?")
        event["request"] = f"{path}?{ELLIPSIS}" if query else path
    return event


#: Processors of every line, of our own code and of libraries.
_SHARED: Final[list[Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    _without_query,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
#: Loggers that come with handlers or levels of their own, which would write a line twice.
_TAMED: Final = (
    "django", "django-q", "django.server", "gunicorn.access", "gunicorn.error",
)  # fmt: skip


def logging_config(level: str, form: str) -> dict[str, Any]:
    """Python's logging configuration; `form` is json, console, or auto: as the output is."""
    plain = form == "console" or (form == "auto" and sys.stdout.isatty())
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *(_console() if plain else _json()),
                ],
            }
        },
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "line",
            }
        },
        "root": {"handlers": ["stdout"], "level": level},
        "loggers": {
            **{name: {"handlers": [], "propagate": True} for name in _TAMED},
            # django-q2 gives its logger a handler of its own unless it finds one, and at INFO
            # writes four lines a job; what a job did is in its row.
            "django-q": {
                "handlers": ["stdout"],
                "propagate": False,
                "level": "DEBUG" if level == "DEBUG" else "WARNING",
            },
            # django-structlog tells of every request, with its id.
            "gunicorn.access": {"level": "CRITICAL"},
            "django.request": {"level": "CRITICAL"},
            # Scanners ask by any name, all day; the answer is in the request's own line.
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            # It greets at every start of every command.
            "axes.apps": {"level": "WARNING"},
            # At DEBUG these write every query and every byte they send.
            "django.db.backends": {"level": "INFO"},
            "apprise": {"level": "INFO"},
            "boto3": {"level": "INFO"},
            "botocore": {"level": "INFO"},
            "urllib3": {"level": "INFO"},
        },
    }


def _console() -> list[Processor]:
    # Plain tracebacks: the pretty ones show the values of variables.
    return [
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def configure(config: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG: sets up both logging and structlog."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
