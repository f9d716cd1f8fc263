"""Wakes the supervisor, so that it carries out new orders at once."""

from __future__ import annotations

from django.conf import settings

from streams.playout.node.wake import notify


def wake_supervisor() -> None:
    """Wake this node's supervisor. Without this it would notice orders within a tick."""
    notify(settings.RUN_DIR)
