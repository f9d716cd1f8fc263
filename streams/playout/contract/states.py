"""States of a channel and of an output, as people see them."""

from __future__ import annotations

from enum import StrEnum


class _State(StrEnum):
    @property
    def label(self) -> str:
        return self.value.replace("_", " ").capitalize()


class AirState(_State):
    """State of a channel.

    off → starting → on_air ⇄ degraded ⇄ failing → stopping → off. Degraded: something is on
    air, but not everything as ordered. Failing: nothing reaches a viewer.
    """

    OFF = "off"
    STARTING = "starting"
    ON_AIR = "on_air"
    DEGRADED = "degraded"
    FAILING = "failing"
    STOPPING = "stopping"


class OutputAir(_State):
    """State of an output.

    off → connecting → on_air → retrying → on_air. After several consecutive failures: failing
    (still retried), or given_up if WORKER_GIVE_UP is set. Rolling: between two sessions, as
    planned.
    """

    OFF = "off"
    CONNECTING = "connecting"
    ON_AIR = "on_air"
    ROLLING = "rolling"
    RETRYING = "retrying"
    FAILING = "failing"
    GIVEN_UP = "given_up"
