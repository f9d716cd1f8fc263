"""Rows for tests: a connected account, and an output of it that is on air."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from streams.models import AccountState, Output, OutputState, PlatformAccount, PlatformReport
from streams.platforms import connections, reports
from streams.tests import rows
from streams.tests.platforms.stand_in import REFRESH, TOKEN
from streamsite.security.secret import Secret


def account(kind: str = "youtube", **fields: Any) -> PlatformAccount:
    return PlatformAccount.objects.create(
        name=f"Ours at {kind}",
        kind=kind,
        client_id="client-1",
        client_secret=Secret("client-secret-8812"),
        **fields,
    )


def connected(kind: str = "youtube", **fields: Any) -> PlatformAccount:
    made = account(kind, **fields)
    connections.state_of(made)
    now = timezone.now()
    AccountState.objects.filter(pk=made.pk).update(
        refresh_token=Secret(REFRESH),
        access_token=Secret(TOKEN),
        access_until=now + timedelta(hours=1),
        connected_at=now,
        connected_by="ada",
        remote_id="141981764",
        remote_name="Our channel",
        watched_at=now,
    )
    return made


def on_air(of: PlatformAccount, *, slug: str = "demo", **fields: Any) -> Output:
    """An output that has been on air for an hour."""
    channel = rows.channel(slug)
    made = rows.output(channel, platform=of.kind, account=of, **fields)
    rows.on_air(channel)
    begun = timezone.now() - timedelta(hours=1)
    OutputState.objects.filter(output=made).update(session_since=begun, since=begun)
    return made


def check(of: PlatformAccount) -> str:
    """Check now: as if it were due, and the output were measured a moment ago."""
    AccountState.objects.filter(pk=of.pk).update(due_at=None)
    OutputState.objects.update(measured_at=timezone.now())
    return reports.check(of.pk)


def a_minute_passes(of: PlatformAccount) -> None:
    """As if the last check had been a minute ago."""
    for row in PlatformReport.objects.filter(output__account=of):
        if row.since:
            PlatformReport.objects.filter(pk=row.pk).update(
                since=row.since - timedelta(minutes=1)
            )


def report(of: Output) -> PlatformReport:
    return PlatformReport.objects.get(output=of)
