"""Registry of the engines that can keep a channel on the air."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from streams.playout.channel.adoption import open_channel
from streams.playout.contract.engine import OpenEngine
from streams.playout.contract.plan import EngineKind

ENGINES: Final[Mapping[EngineKind, OpenEngine]] = MappingProxyType(
    {EngineKind.FFMPEG: open_channel}
)
