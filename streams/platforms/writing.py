"""Changes at the platforms, where the account allows them: broadcasts, auto-stop, titles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from streams.models import Output, PlatformReport
from streams.platforms import connections, quota, renewal
from streams.platforms.answers import Broadcast, LiveStream, TwitchStream
from streams.platforms.connections import Pass
from streams.platforms.titles import MAX_DESCRIPTION, MAX_TITLE, render
from streams.platforms.transport import PlatformError
from streams.platforms.twitch import Twitch
from streams.platforms.youtube import YouTube

#: A title is written at most this often, however short the items are.
TITLE_INTERVAL: Final = timedelta(minutes=5)
#: What YouTube sets itself (contentDetails).
_READ_ONLY: Final = ("boundStreamId", "boundStreamLastUpdateTimeMs")


def youtube(
    youtube: YouTube, job: Pass, output: Output, stream: LiveStream, broadcast: Broadcast
) -> str:
    """Make the changes that are due. Return what people should know. Raises `PlatformError`."""
    account = job.account
    if account.may_manage_broadcasts:
        note = ""
        if broadcast.life_cycle == "complete" and stream.status == "active":
            note = renewal.begin(
                account,
                output,
                broadcast.model_copy(update={"stream_id": stream.id}),
                _title(output, "youtube"),
                _description(output),
            )
        if (row := renewal.open_of(account, stream.id)) is not None:
            return renewal.advance(row, youtube, stream)
        if note:
            return note
        if broadcast.life_cycle == "live" and broadcast.auto_stop:
            return _stop_auto_stop(youtube, output, broadcast)
    if account.may_write_titles and broadcast.life_cycle == "live":
        _youtube_title(youtube, job, output, broadcast)
    return ""


def _stop_auto_stop(youtube: YouTube, output: Output, broadcast: Broadcast) -> str:
    """Turn auto-stop off; once for each broadcast, for YouTube refuses it of some."""
    reports = PlatformReport.objects.filter(pk=output.pk).exclude(auto_stop_tried=broadcast.id)
    if not reports.update(auto_stop_tried=broadcast.id):
        return ""
    content = {
        name: value
        for name, value in (broadcast.content or {}).items()
        if name not in _READ_ONLY
    }
    body = {"id": broadcast.id, "contentDetails": content | {"enableAutoStop": False}}
    youtube.update("id,contentDetails", body)
    return "Auto-stop was turned off."


# ---- titles ----------------------------------------------------------------------------------


def _filled(output: Output, template: str, limit: int) -> str:
    state = getattr(output.channel, "state", None)
    now, following = (state.now_title, state.next_title) if state else ("", "")
    if not template or ("{now}" in template and not now):
        return ""
    name = output.channel.name
    return render(template, channel=name, now=now, following=following, limit=limit)


def _title(output: Output, kind: str) -> str:
    return _filled(output, output.title_template, MAX_TITLE[kind])


def _description(output: Output) -> str:
    return _filled(output, output.description_template, MAX_DESCRIPTION)


def _may_title(output: Output) -> bool:
    """Take the right to write the title now: at most once in the interval."""
    now = timezone.now()
    free = Q(titled_at=None) | Q(titled_at__lt=now - TITLE_INTERVAL)
    reports = PlatformReport.objects.filter(free, pk=output.pk)
    return bool(reports.update(titled_at=now))


def _youtube_title(youtube: YouTube, job: Pass, output: Output, broadcast: Broadcast) -> None:
    title = _title(output, "youtube") or broadcast.title or ""
    description = _description(output) or broadcast.description or ""
    if (title, description) == (broadcast.title, broadcast.description or ""):
        return
    units = connections.spent(job)
    if not quota.affords_title(timezone.now(), units, job.account.daily_units):
        return
    if not title or broadcast.scheduled_at is None or not _may_title(output):
        return
    snippet = {
        "title": title,
        "description": description,
        "scheduledStartTime": broadcast.scheduled_at.isoformat(),
    }
    youtube.update("id,snippet", {"id": broadcast.id, "snippet": snippet})


def twitch_title(
    twitch: Twitch, job: Pass, outputs: Sequence[Output], stream: TwitchStream
) -> str:
    """Write title and category by the first output that has a template.

    Return what people should know, as a sentence; empty: nothing.
    """
    output = next((one for one in outputs if one.title_template or one.category), None)
    if output is None or not job.account.may_write_titles:
        return ""
    title, category = _title(output, "twitch"), output.category
    same = title in {"", stream.title} and category in {"", stream.game_id}
    if not same and _may_title(output):
        try:
            twitch.write(job.row.remote_id, title, category)
        except PlatformError as error:
            return f"The title was not written: {error}"
    return ""
