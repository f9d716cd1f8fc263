"""The playout process: this node's supervisor, from its start to SIGTERM."""

from __future__ import annotations

import gc

from django.conf import settings

from streams.ingest.reconciler import reconciled
from streams.node.background import background_work
from streams.node.ledger import NodeLedger
from streams.node.sources import open_sources
from streams.planning import plans
from streams.playout.node.supervisor import supervise
from streams.wake import wake_supervisor


def supervise_node() -> None:
    """Supervise this node's channels until SIGTERM; they play on."""
    # What is loaded stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    sources = open_sources()
    with reconciled(), background_work() as preflights:
        book = NodeLedger(settings.NODE_NAME, sources, preflights, wake_supervisor)
        supervise(plans.tools(), plans.policy(), book, sources)
