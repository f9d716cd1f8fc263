from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from streams.control import nodes
from streams.control.actions import ActionRefusedError
from streams.models import Node
from streams.monitoring.nodes import NodeReport, NodeState, reports
from streamsite.accounts.shell_user import shell_user
from streamsite.api import audit

#: Seconds between two polls of a node that drains.
POLL_INTERVAL_S: Final = 1.0


class Command(BaseCommand):
    help = (
        "List the nodes with what each carries; or drain one, end its drain, or remove one "
        "that is gone from the list."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("verb", nargs="?", choices=list(nodes.ORDERS))
        parser.add_argument("name", nargs="?", help="The node's name.")
        parser.add_argument(
            "--wait",
            type=float,
            metavar="SECONDS",
            help="With drain: wait until it carries no channel; exit code 1 if it still does.",
        )

    def handle(self, *, verb: str | None, name: str | None, **options: Any) -> None:
        if verb is None:
            for node in reports(timezone.now()):
                self.stdout.write(_line(node))
            return
        row = self._node(name)
        order = nodes.ORDERS[verb]
        try:
            done = nodes.give(
                verb,
                row,
                by=shell_user(),
                now=timezone.now(),
                note=lambda: audit.record(order.event, shell_user(), order.sentence, [row]),
            )
        except ActionRefusedError as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(done)
        if verb == "drain" and options["wait"] is not None:
            self._wait(row.name, options["wait"])

    def _node(self, name: str | None) -> Node:
        """Return the node. Raises `CommandError` with the names to choose from."""
        rows = {node.name: node for node in Node.objects.all()}
        if name is not None and name in rows:
            return rows[name]
        message = "Which node?" if name is None else f"There is no node {name!r}."
        raise CommandError(f"{message} Nodes: {', '.join(sorted(rows)) or 'none yet'}.")

    def _wait(self, name: str, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while True:
            node = next((node for node in reports(timezone.now()) if node.name == name), None)
            if node is None or node.state is NodeState.DRAINED:
                self.stdout.write(f"Node {name} carries no channel.")
                return
            if time.monotonic() >= ends:
                has = ", ".join(node.slugs) or "outputs as a second node"
                raise CommandError(f"Node {name} still has {has}. {node.sentence}")
            time.sleep(POLL_INTERVAL_S)


def _line(node: NodeReport) -> str:
    room = "" if node.room is None else f", room for {node.room} of {node.max_channels}"
    carries = ", ".join(node.slugs) or "no channel"
    return f"{node.name}: {node.label.lower()}{room}; {carries}. {node.sentence}".rstrip()
