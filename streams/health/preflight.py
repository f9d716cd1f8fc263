"""What a channel lacks before it can go on air, in sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.models import Channel


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's bad result. `sentence` says what is wrong and what to do."""

    check: str
    sentence: str
    stops_the_start: bool = True


def findings(channel: Channel) -> list[Finding]:
    return []
