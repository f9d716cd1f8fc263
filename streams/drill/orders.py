"""Drills that people order: by the page, or by the API."""

from __future__ import annotations

from collections.abc import Sequence

from streams.drill import runner
from streams.drill.promises import Fault
from streams.models import Channel, Drill
from streamsite.api import audit
from streamsite.api.auth import Caller
from streamsite.processes.task_queue import UNREACHABLE, enqueue


def place(channel: Channel, chosen: Sequence[Fault], who: Caller, *, confirmed: bool) -> Drill:
    """Order a drill, for a jobs worker of the channel's node. Raises `DrillRefusedError`."""
    sentence = f"Drill ({', '.join(chosen)}) ordered."
    row = runner.order(
        channel,
        chosen,
        by=who.name,
        note=lambda: audit.write(who, channel, sentence, event=audit.Event.ORDER),
        confirmed=confirmed,
    )
    if not enqueue("streams.tasks.run_drills", runner.HAND_ONS):
        runner.withdraw(row, UNREACHABLE)
        raise runner.DrillRefusedError(UNREACHABLE)
    return row
