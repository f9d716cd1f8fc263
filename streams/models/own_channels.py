"""The rows that a user or an API key may see: see `streamsite.accounts.limits`."""

from __future__ import annotations

from typing import Final, TypeVar

from django.db.models import Model, QuerySet

from streams.models.channel import Channel
from streams.models.drill import Drill
from streams.models.history import AsRun, Incident, LogLine, Run, Sample, ThinnedSample
from streams.models.ingest import Broadcaster, LiveStream, StreamKey
from streams.models.output import Output
from streams.models.platform import PlatformAccount, WatchDay
from streams.models.programme import Block, OnAirHours, UpcomingProblem
from streams.models.takeover import Takeover, TakeoverRight
from streamsite.accounts.limits import own_channels

Row = TypeVar("Row", bound=Model)

#: The way from a row to its channel. A broadcaster is of the channels that they may take over.
CHANNEL_OF: Final[dict[type[Model], str]] = {
    Channel: "pk",
    Output: "channel",
    Block: "channel",
    OnAirHours: "channel",
    UpcomingProblem: "channel",
    Run: "channel",
    AsRun: "run__channel",
    Incident: "channel",
    Sample: "channel",
    ThinnedSample: "channel",
    Drill: "channel",
    LogLine: "channel",
    Takeover: "channel",
    TakeoverRight: "channel",
    PlatformAccount: "channel",
    WatchDay: "account__channel",
    Broadcaster: "takeover_rights__channel",
    StreamKey: "broadcaster__takeover_rights__channel",
    LiveStream: "broadcaster__takeover_rights__channel",
}


def visible(rows: QuerySet[Row], who: object) -> QuerySet[Row]:
    """Those of the rows that they may see, which are all without a limit.

    `who`: as `own_channels` takes it.
    """
    own = own_channels(who)
    if own is None:
        return rows
    path = CHANNEL_OF[rows.model]
    if not path.endswith("takeover_rights__channel"):
        return rows.filter(**{f"{path}__in": own})
    # A row has several rights: a join would repeat it.
    rights = TakeoverRight.objects.filter(channel__in=own).values("broadcaster")
    field = "pk" if rows.model is Broadcaster else "broadcaster"
    return rows.filter(**{f"{field}__in": rights})
