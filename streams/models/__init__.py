from streams.models.channel import Channel, Output
from streams.models.history import AsRun, Incident, LogLine, Run, Sample
from streams.models.state import ChannelState, Node, OutputState

__all__ = [
    "AsRun",
    "Channel",
    "ChannelState",
    "Incident",
    "LogLine",
    "Node",
    "Output",
    "OutputState",
    "Run",
    "Sample",
]
