"""What the platforms answer, as values. Pure: unknown fields are ignored, wrong ones refused.

Sources: the discovery document of YouTube Data API v3 (revision 20261104) and Twitch's API
reference (Get Streams).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from streams.platforms.transport import PlatformError
from streamsite.security.secret import Secret

#: Characters of a platform's text that are kept.
MAX_TEXT: Final = 300

Text = Annotated[str, BeforeValidator(lambda value: str(value or "")[:MAX_TEXT])]
#: A value that must not be printed.
Hidden = Annotated[Secret, BeforeValidator(lambda value: Secret(str(value)))]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, populate_by_name=True)


def _path(*names: str) -> Any:
    return Field(default=None, validation_alias=AliasPath(*names))


class Issue(_Answer):
    """A fault that YouTube sees in the stream. `severity`: info, warning or error."""

    type: Text = ""
    severity: Text = ""
    reason: Text = ""
    description: Text = ""


class LiveStream(_Answer):
    """What YouTube receives with one stream key."""

    id: str = Field(min_length=1, max_length=128)
    name: Hidden | None = _path("cdn", "ingestionInfo", "streamName")
    status: Text | None = _path("status", "streamStatus")
    health: Text | None = _path("status", "healthStatus", "status")
    #: Seconds since the epoch at which the health was judged.
    health_at: int | None = _path("status", "healthStatus", "lastUpdateTimeSeconds")
    issues: tuple[Issue, ...] | None = _path("status", "healthStatus", "configurationIssues")


class Broadcast(_Answer):
    """What viewers see."""

    id: str = Field(min_length=1, max_length=128)
    stream_id: Text | None = _path("contentDetails", "boundStreamId")
    life_cycle: Text | None = _path("status", "lifeCycleStatus")
    privacy: Text | None = _path("status", "privacyStatus")
    for_kids: bool | None = _path("status", "selfDeclaredMadeForKids")
    auto_stop: bool | None = _path("contentDetails", "enableAutoStop")
    title: Text | None = _path("snippet", "title")
    description: str | None = _path("snippet", "description")
    scheduled_at: datetime | None = _path("snippet", "scheduledStartTime")
    viewers: int | None = _path("statistics", "concurrentViewers")
    content: dict[str, Any] | None = _path("contentDetails")


class TwitchStream(_Answer):
    """A row of Get Streams: a channel that is live."""

    type: Text = ""
    title: Text = ""
    game_id: Text = ""
    game_name: Text = ""
    viewer_count: int | None = None
    started_at: datetime | None = None


class Ingest(_Answer):
    """A row of Twitch's list of ingest servers. The lowest `priority` is the nearest."""

    name: Text = ""
    availability: float = 0
    priority: int = 1000


Row = TypeVar("Row", bound=_Answer)


def rows(kind: type[Row], items: object, host: str) -> list[Row]:
    """Return the items of an answer. Raises `PlatformError` if they are not as documented."""
    try:
        return TypeAdapter(list[kind]).validate_python(items)  # type: ignore[valid-type]  # a class as a value
    except ValidationError:
        # Its words hold the values.
        raise PlatformError(f"{host} answered with rows of another form.") from None


def stream_of(key: Secret, streams: Iterable[LiveStream]) -> LiveStream | None:
    """Return the stream that has this key."""
    return next((stream for stream in streams if key and stream.name == key), None)


#: Life cycles, the one that viewers see first: a stream may be bound to several broadcasts.
_ORDER: Final = (
    *("live", "liveStarting", "testing", "testStarting", "ready", "created"),
    *("complete", "revoked"),
)


def broadcast_of(stream_id: str, broadcasts: Iterable[Broadcast]) -> Broadcast | None:
    """Return the broadcast that the stream is bound to; of several, the one nearest to live."""
    bound = [one for one in broadcasts if one.stream_id == stream_id]
    return min(bound, key=_rank, default=None)


def _rank(broadcast: Broadcast) -> int:
    life = broadcast.life_cycle or ""
    return _ORDER.index(life) if life in _ORDER else len(_ORDER)
