"""Rows for tests, as people and workers would have created them."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from media_library.models import MediaItem, Playlist, PlaylistEntry
from streams.models import Block, Channel, ChannelState, Node, Output, OutputState, Run
from streamsite.security.secret import Secret

#: A key that must appear nowhere. Long enough to be found by search.
KEY = "live_secret-key-9f2c77"


def playlist(*titles: str, name: str = "Loop") -> Playlist:
    made = Playlist.objects.create(name=name)
    for position, title in enumerate(titles or ("First", "Second")):
        item = MediaItem.objects.create(
            key=f"{name}/{title}.mp4".lower(), title=title, status="ready", duration_seconds=60
        )
        PlaylistEntry.objects.create(playlist=made, item=item, position=position)
    return made


def channel(slug: str = "demo", **fields: Any) -> Channel:
    """A channel that could start: playlist and preview."""
    fields.setdefault("name", slug.capitalize())
    if "playlist" not in fields:
        fields["playlist"] = playlist(name=f"Loop of {slug}")
    return Channel.objects.create(slug=slug, **fields)


def block(of: Channel, name: str = "Evening", **fields: Any) -> Block:
    """A block from 20:00 to 22:00 every day by default."""
    if "playlist" not in fields:
        fields["playlist"] = playlist(f"{name} 1", f"{name} 2", name=name)
    times = {"starts": time(20), "ends": time(22)}
    return Block.objects.create(channel=of, name=name, **times | fields)


def channel_form(of: Channel) -> dict[str, object]:
    """The data of the channel's unchanged form, without outputs and hours."""
    names = ("name", "slug", "playlist_order", "time_zone", "on_return", "width", "height")
    live = ("live_debounce", "live_hold", "if_black", "if_still", "if_silent", "if_late")
    form: dict[str, object] = {
        name: getattr(of, name)
        for name in (*names, "fps", "video_bitrate", "audio_bitrate", *live)
    }
    for inline in ("outputs", "takeover_rights", "hours"):
        form |= {f"{inline}-TOTAL_FORMS": 0, f"{inline}-INITIAL_FORMS": 0}
    return form | {"playlist": of.playlist_id or "", "preview": "on"}


def output(of: Channel, name: str = "YouTube", **fields: Any) -> Output:
    fields.setdefault("key", Secret(KEY))
    # Its uptime counts from the first run on, as that of an output of an earlier version.
    fields.setdefault("added_at", None)
    return Output.objects.create(channel=of, name=name, **fields)


def node(seen_at: datetime | None = None, name: str = "here") -> Node:
    return Node.objects.create(name=name, seen_at=seen_at or timezone.now())


def on_air(
    of: Channel, *, at: datetime | None = None, state: str = "on_air", **row: Any
) -> Run:
    """Set the channel on air: ordered a minute before `at`, measured at `at`."""
    at = at or timezone.now()
    begun = at - timedelta(minutes=1)
    Channel.objects.filter(pk=of.pk).update(
        desired_state="on", ordered_at=begun, ordered_by="ada"
    )
    of.refresh_from_db()
    run = Run.objects.create(channel=of, started_at=begun, started_by="ada", on_air_at=begun)
    row = {"now_title": "First", "next_title": "Second", "bitrate": 3_000_000} | row
    ChannelState.objects.create(
        channel=of,
        owner="here",
        state=state,
        since=begun,
        run=run,
        on_air_since=begun,
        measured_at=at,
        **row,
    )
    for one in of.outputs.filter(enabled=True):
        OutputState.objects.create(
            output=one, state="on_air", since=begun, bitrate=2_900_000, measured_at=at
        )
    return run


def user(*permissions: str, name: str = "ada", staff: bool = True) -> User:
    made = User.objects.create_user(name, password="correct horse", is_staff=staff)
    for permission in permissions:
        app, _, codename = permission.partition(".")
        made.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return made


def operator(name: str = "ada") -> User:
    """A user who sees and operates channels, but sets up nothing."""
    return user("streams.view_channel", "streams.operate_channel", name=name)
