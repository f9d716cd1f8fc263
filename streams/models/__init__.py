from streams.models.channel import Channel, Output
from streams.models.history import AsRun, Incident, LogLine, Run, Sample
from streams.models.programme import Block, Forewarning, OnAirHours
from streams.models.state import ChannelState, Node, OutputState

__all__ = [
    "AsRun",
    "Block",
    "Channel",
    "ChannelState",
    "Forewarning",
    "Incident",
    "LogLine",
    "Node",
    "OnAirHours",
    "Output",
    "OutputState",
    "Run",
    "Sample",
]
