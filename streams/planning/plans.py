"""Builds the engine's frozen plans from database rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import structlog
from django.conf import settings
from django.db.models import Case, F, Q, Value, When
from django.utils import timezone
from django.utils.crypto import salted_hmac

from media_library.conform import slate as slates
from media_library.conform.slate import Slate
from media_library.house_format import HouseFormat, lacks
from media_library.models import MediaItem, PlaylistEntry, PreparedCopy
from streams.models import Channel, ChannelState, Output
from streams.playout.contract.picture import SOUND, Flaw, Remedy
from streams.playout.contract.plan import OutputPlan, Policy, Tools
from streams.programme import cursor_codec
from streams.programme.item import Item, Kind, Mode
from streams.programme.model import (
    Cursor,
    Cursors,
    Entry,
    Order,
    Programme,
    Return,
    Rotation,
)
from streamsite.security.secret import Secret, Unreadable

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Assumed seconds of an item of unknown length.
UNKNOWN_LENGTH_S: Final = Fraction(60)
TITLES: Final = {
    Slate.PAUSE: "We'll be right back",
    Slate.SOON: "Going live soon",
    Slate.TROUBLE: "Technical difficulties",
}


def policy() -> Policy:
    return Policy(
        retry_cap=settings.WORKER_RETRY_DELAY,
        max_retries=settings.WORKER_MAX_RETRIES,
        give_up=settings.WORKER_GIVE_UP,
    )


def tools() -> Tools:
    return Tools(
        settings.FFMPEG_PATH,
        settings.RUN_DIR,
        hls_group=settings.HLS_GROUP,
        evidence_dir=evidence_folder(),
    )


def evidence_folder() -> Path:
    """Where a node keeps what was on air around incidents."""
    return Path(settings.DATA_DIR) / "evidence"


def programme(channel: Channel, since: datetime | None = None) -> Programme:
    """Return the channel's programme from `since` (default: now), as it can be played now.

    Uses prepared copies if they exist. One query per list, and one for its copies.
    """
    house_format = channel.house_format
    # Several blocks may play the same list.
    listed = cache(partial(_entries, house_format=house_format, kind=Kind.ITEM))
    base = Rotation(listed(channel.playlist_id), Order(channel.playlist_order), channel.pk)
    # A block that ended yesterday may be on until today; older ones would only slow down each
    # item.
    yesterday = timezone.localdate(since, channel.zone) - timedelta(days=1)
    blocks = channel.blocks.filter(enabled=True).exclude(last_day__lt=yesterday)
    return Programme(
        base=base,
        zone=channel.zone,
        blocks=tuple(
            block.timed(Rotation(listed(block.playlist_id), Order(block.order), block.pk))
            for block in blocks
        ),
        filler=Rotation(_fillers(channel)),
        max_rating=channel.max_rating,
        on_return=Return(channel.on_return),
        cut=house_format.seconds(house_format.grid),
        resume=Fraction(house_format.gop, house_format.fps),
        slate=house_format.seconds(house_format.frames_on_grid(slates.DURATION_S)),
    )


def _fillers(channel: Channel) -> tuple[Entry, ...]:
    """Return the filler entries: all prepared, because the fallback must not fail too."""
    listed = _entries(channel.filler_id, channel.house_format, Kind.FILLER)
    return tuple(entry for entry in listed if entry.item.mode is Mode.PREPARED)


def remedies(channel: Channel) -> dict[Flaw, Remedy]:
    """Return what is done about each flaw of picture and sound."""
    sound = dict.fromkeys(SOUND, Remedy(channel.if_silent))
    return {
        Flaw.BLACK: Remedy(channel.if_black),
        Flaw.FROZEN: Remedy(channel.if_still),
        **sound,
    }


def cursors(channel: Channel) -> dict[str, Cursor]:
    """Return the cursors as the worker wrote them last: after the item on air has played.

    If the channel is off: where it continues.
    """
    state: ChannelState | None = getattr(channel, "state", None)
    if state is None:
        return {}
    return next_cursors(state) if state.now_until is not None else seen_cursors(state)


def next_cursors(state: ChannelState) -> dict[str, Cursor]:
    """Return the cursors of the lists after the item on air has played."""
    return _decode_cursors(state, "next")


def seen_cursors(state: ChannelState) -> dict[str, Cursor]:
    """Return the cursors as far as viewers have seen the lists."""
    return _decode_cursors(state, "seen")


def encode_cursors(after: Cursors, seen: Cursors) -> dict[str, Any]:
    """Encode both cursors for `ChannelState.cursors`."""
    return {"next": cursor_codec.encode(after), "seen": cursor_codec.encode(seen)}


def _decode_cursors(state: ChannelState, name: str) -> dict[str, Cursor]:
    try:
        return cursor_codec.decode(state.cursors.get(name, {}))
    except (TypeError, ValueError, AttributeError, ZeroDivisionError):
        # Only the worker writes this field, but an invalid value must not end a programme.
        log.warning("cursors.unreadable", channel=state.pk)
        return {}


#: Status of copies that exist: a copy in progress replaces the old one when it is complete.
_PLAYABLE: Final = (
    PreparedCopy.Status.READY,
    PreparedCopy.Status.QUEUED,
    PreparedCopy.Status.RUNNING,
)


def _entries(playlist: int | None, house_format: HouseFormat, kind: Kind) -> tuple[Entry, ...]:
    if playlist is None:
        return ()
    # A faulty item is left out even if a copy of it still exists: the file may be missing
    # because the right to show it has ended.
    whole = PlaylistEntry.objects.filter(playlist=playlist).exclude(
        item__status=MediaItem.Status.FAULT
    )
    entries = list(whole.select_related("item"))
    copies_made = PreparedCopy.objects.filter(
        item__entries__playlist=playlist,
        # While a new logo is burnt in, copies with the old logo or none remain playable.
        house_format__startswith=house_format.bare.signature,
        # While the file's new content is prepared, the copy of the old content remains
        # playable.
        status__in=_PLAYABLE,
        frames__gt=0,
    ).exclude(key="")
    exact, current = Q(house_format=house_format.signature), Q(source_etag=F("item__etag"))
    best_last = copies_made.alias(
        is_exact=Case(When(exact, then=Value(1)), default=Value(0)),
        is_current=Case(When(current, then=Value(1)), default=Value(0)),
    ).order_by("is_current", "is_exact", "made_at", "pk")
    copies = {
        copy.item_id: copy
        for copy in best_last
        if HouseFormat.of(copy.house_format).bare == house_format.bare
    }
    return tuple(
        _entry(entry, copies.get(entry.item_id), kind, house_format) for entry in entries
    )


def _entry(
    entry: PlaylistEntry, copy: PreparedCopy | None, kind: Kind, house_format: HouseFormat
) -> Entry:
    item = _item(entry, copy, kind)
    length = item.length(house_format)
    if length is not None:
        return Entry(item, length, entry.item.age_rating)
    probed = entry.item.duration_seconds
    # An unknown length is assumed to be short: the programme is evaluated again afterwards.
    guess = Fraction(probed).limit_denominator(1000) if probed else UNKNOWN_LENGTH_S
    return Entry(item, guess, entry.item.age_rating, exact=False)


def _item(entry: PlaylistEntry, copy: PreparedCopy | None, kind: Kind) -> Item:
    media = entry.item
    if copy is not None:
        return Item(
            title=media.title,
            key=copy.key,
            mode=Mode.PREPARED,
            kind=kind,
            entry=entry.pk,
            media=media.pk,
            frames=copy.frames,
            # A copy that was made again has the same key with other bytes.
            edition="" if copy.made_at is None else copy.made_at.isoformat(),
        )
    copied = can_be_copied(media)
    return Item(
        title=media.title,
        key=media.key,
        mode=Mode.COPY if copied else Mode.TRANSCODE,
        kind=kind,
        entry=entry.pk,
        media=media.pk,
        # A file that was not inspected yet is assumed to have audio, as nearly all files do.
        has_audio=bool(media.audio_codec) or media.probed_at is None,
        reorder=media.reorder / Fraction(media.fps) if copied and media.fps else Fraction(0),
        edition=media.etag,
    )


def can_be_copied(media: MediaItem) -> bool:
    """Whether it can be sent without encoding. A file that was not inspected can't."""
    return media.probe is not None and not lacks(media.probe)


def slate(house_format: HouseFormat, which: Slate = Slate.PAUSE) -> Item:
    """Return a slate in the house format; make it if missing. Raises `PrepareError`."""
    return _slate(which, *slates.slate(house_format.bare, which))


def made_slate(house_format: HouseFormat, which: Slate = Slate.PAUSE) -> Item | None:
    """Return a slate in the house format, if it exists."""
    existing = slates.made(house_format.bare, which)
    return None if existing is None else _slate(which, *existing)


def _slate(which: Slate, path: Path, frames: int) -> Item:
    return Item(
        title=TITLES[which], key=str(path), mode=Mode.PREPARED, kind=Kind.SLATE, frames=frames
    )


def outputs(rows: Iterable[Output]) -> tuple[OutputPlan, ...]:
    return tuple(_output(row) for row in rows if row.enabled)


def _output(row: Output) -> OutputPlan:
    key, query = row.key or Secret(""), row.secret_query or Secret("")
    fault = next((sentence for _, sentence in row.faults if sentence), "")
    after, by = row.roll_over
    return OutputPlan(
        pk=row.pk,
        name=row.name,
        address=row.address,
        key=Secret("") if fault else key,
        query=Secret("") if fault else query,
        verify=row.verify_certificate,
        fault=fault,
        edition=_edition(row.address, key, query, verify=not row.unverified),
        roll_after=after.total_seconds(),
        roll_by=by.total_seconds(),
    )


def _edition(address: str, key: Secret, query: Secret, *, verify: bool) -> str:
    """Hash the whole address in the form it had before secrets had fields of their own.

    So a pusher of an earlier version keeps running when its secrets are moved out of the
    address.
    """
    key_text, query_text = (
        secret.stored if isinstance(secret, Unreadable) else secret.reveal()
        for secret in (key, query)
    )
    # Not urlsplit(), which refuses some addresses: unreadable ones need an edition too.
    base, mark, shown = address.partition("?")
    scheme, _, path = base.partition("://")
    if scheme.lower() != "srt" and key_text and "/" not in path.strip("/"):
        base, key_text = f"{base.rstrip('/')}/{key_text}", ""
    if query_text:
        mark, shown = "?", f"{shown}&{query_text}" if shown else query_text
    address = f"{base}{mark}{shown}"
    whole = f"{address}\n{key_text}" if verify else f"{address}\n{key_text}\nunverified"
    return salted_hmac("output", whole).hexdigest()
