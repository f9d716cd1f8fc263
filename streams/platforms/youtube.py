"""YouTube's APIs: one account's calls, each with a bound and its units."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, Final

from streams.platforms.answers import Broadcast, LiveStream, rows
from streams.platforms.quota import CHANGE_COST, LIST_COST
from streams.platforms.transport import Deadline, PlatformError, call
from streamsite.security.secret import Secret

_HOST: Final = "youtube.googleapis.com"
#: Rows of a page (liveBroadcasts.list and liveStreams.list), and pages that are read.
_PAGE: Final = 50
_MAX_PAGES: Final = 20
_PARTS: Final = "id,snippet,contentDetails,status,statistics"
_WRITTEN_PARTS: Final = "id,snippet,contentDetails,status"


class _Transport:
    """What google-api-python-client asks of httplib2.Http."""

    def __init__(self, token: Secret, deadline: Deadline) -> None:
        self._token = token
        self._deadline = deadline

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | None = None,
        headers: dict[str, str] | None = None,
        **_: object,
    ) -> tuple[Any, bytes]:
        from httplib2 import Response  # noqa: PLC0415 - see `YouTube.__init__`

        # It would be compressed, which nothing here unpacks.
        sent = {k: v for k, v in (headers or {}).items() if k.lower() != "accept-encoding"}
        sent["Authorization"] = f"Bearer {self._token.reveal()}"
        answer = call(method, uri, self._deadline, headers=sent, body=body)
        return Response({"status": "200"}), answer

    def close(self) -> None:
        """It keeps no connection."""


class YouTube:
    """`spend` takes the units of a call before it is made, or raises `PlatformError`."""

    def __init__(self, token: Secret, deadline: Deadline, spend: Callable[[int], None]) -> None:
        # 20 MB, for the jobs of installations that have an account.
        from googleapiclient.discovery import build  # noqa: PLC0415 - see above

        transport = _Transport(token, deadline)
        options: dict[str, Any] = {"static_discovery": True, "cache_discovery": False}
        self._data = build("youtube", "v3", http=transport, **options)
        self._analytics = build("youtubeAnalytics", "v2", http=transport, **options)
        self._spend = spend

    # ---- reading

    def streams(self) -> list[LiveStream]:
        """Return the streams of the account, of all pages."""
        listed = self._data.liveStreams()
        return rows(LiveStream, self._all(listed, part="id,cdn,status", mine=True), _HOST)

    def broadcasts(self, status: str) -> list[Broadcast]:
        """Return the broadcasts that are active or upcoming, of all pages."""
        listed = self._data.liveBroadcasts()
        items = self._all(listed, part=_PARTS, broadcastStatus=status, broadcastType="all")
        return rows(Broadcast, items, _HOST)

    def broadcasts_by_id(self, ids: Iterable[str]) -> list[Broadcast]:
        listed = self._data.liveBroadcasts()
        return rows(Broadcast, self._all(listed, part=_PARTS, id=",".join(ids)), _HOST)

    def own_channel(self) -> dict[str, Any]:
        """Return the channel's id, title and statistics."""
        self._spend(LIST_COST)
        request = self._data.channels().list(part="id,snippet,statistics", mine=True)
        items = self._done(request).get("items")
        if not isinstance(items, list) or not items or not isinstance(items[0], dict):
            raise PlatformError("This Google account has no YouTube channel.")
        return items[0]

    def watched(self, first: date, last: date) -> dict[date, float]:
        """Return the minutes watched by day. YouTube Analytics has units of its own."""
        request = self._analytics.reports().query(
            ids="channel==MINE",
            startDate=first.isoformat(),
            endDate=last.isoformat(),
            metrics="estimatedMinutesWatched",
            dimensions="day",
            sort="day",
        )
        days = self._done(request).get("rows") or []
        try:
            return {date.fromisoformat(day): float(minutes) for day, minutes in days}
        except (TypeError, ValueError):
            raise PlatformError(
                "youtubeanalytics.googleapis.com answered with rows of another form."
            ) from None

    # ---- changing

    def insert(self, body: dict[str, Any]) -> Broadcast:
        self._spend(CHANGE_COST)
        request = self._data.liveBroadcasts().insert(part=_WRITTEN_PARTS, body=body)
        return self._one(request)

    def bind(self, broadcast: str, stream: str) -> Broadcast:
        self._spend(CHANGE_COST)
        request = self._data.liveBroadcasts().bind(
            id=broadcast, streamId=stream, part=_WRITTEN_PARTS
        )
        return self._one(request)

    def go_live(self, broadcast: str) -> None:
        self._spend(CHANGE_COST)
        request = self._data.liveBroadcasts().transition(
            id=broadcast, broadcastStatus="live", part="id,status"
        )
        self._done(request)

    def update(self, part: str, body: dict[str, Any]) -> None:
        """Write one part of a broadcast; what the part leaves out is reset."""
        self._spend(CHANGE_COST)
        self._done(self._data.liveBroadcasts().update(part=part, body=body))

    # ---- the client

    def _all(self, listed: Any, **parameters: Any) -> list[Any]:
        """Return the items of all pages. `id` and `maxResults` exclude each other."""
        if "id" not in parameters:
            parameters["maxResults"] = _PAGE
        items: list[Any] = []
        request = listed.list(**parameters)
        for _ in range(_MAX_PAGES):
            self._spend(LIST_COST)
            answer = self._done(request)
            page = answer.get("items", [])
            if not isinstance(page, list):
                raise PlatformError(f"{_HOST} answered with rows of another form.")
            items += page
            request = listed.list_next(request, answer)
            if request is None:
                return items
        raise PlatformError(f"{_HOST} has more than {_MAX_PAGES * _PAGE} rows.")

    def _one(self, request: Any) -> Broadcast:
        return rows(Broadcast, [self._done(request)], _HOST)[0]

    @staticmethod
    def _done(request: Any) -> dict[str, Any]:
        try:
            answer = request.execute(num_retries=0)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise PlatformError(f"{_HOST} answered with something that is no JSON object.")
        return answer
