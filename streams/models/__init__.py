from streams.models.alerts import AlertMessage, AlertReceiver
from streams.models.channel import Channel
from streams.models.drill import Drill
from streams.models.history import (
    AsRun,
    Evidence,
    Incident,
    LogLine,
    Run,
    Sample,
    ThinnedSample,
)
from streams.models.ingest import Broadcaster, IngestServer, LiveStream, StreamKey
from streams.models.output import Output
from streams.models.own_channels import visible
from streams.models.platform import (
    AccountState,
    BroadcastRenewal,
    PlatformAccount,
    PlatformReport,
    WatchDay,
)
from streams.models.programme import Block, OnAirHours, UpcomingProblem
from streams.models.state import ChannelState, Node, OutputState
from streams.models.takeover import Takeover, TakeoverRight

__all__ = [
    "AccountState",
    "AlertMessage",
    "AlertReceiver",
    "AsRun",
    "Block",
    "BroadcastRenewal",
    "Broadcaster",
    "Channel",
    "ChannelState",
    "Drill",
    "Evidence",
    "Incident",
    "IngestServer",
    "LiveStream",
    "LogLine",
    "Node",
    "OnAirHours",
    "Output",
    "OutputState",
    "PlatformAccount",
    "PlatformReport",
    "Run",
    "Sample",
    "StreamKey",
    "Takeover",
    "TakeoverRight",
    "ThinnedSample",
    "UpcomingProblem",
    "WatchDay",
    "visible",
]
