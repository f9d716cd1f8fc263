"""Rows become plans: what the engine plays is frozen here."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from django.conf import settings
from django.db.models import F
from django.utils.crypto import salted_hmac

from media_library import slate as slates
from media_library.house import House, lacks
from media_library.models import MediaItem, PlaylistEntry, PreparedCopy
from streams.models import Channel, Output
from streams.playout.plan import Item, Kind, Mode, OutputPlan, Policy, Tools
from streamsite.secret import Secret

SLATE_TITLE = "We'll be right back"


def policy() -> Policy:
    return Policy(
        retry_cap=settings.WORKER_RETRY_DELAY,
        max_retries=settings.WORKER_MAX_RETRIES,
        give_up=settings.WORKER_GIVE_UP,
    )


def tools() -> Tools:
    return Tools(settings.FFMPEG_PATH, settings.RUN_DIR)


def items(channel: Channel) -> tuple[Item, ...]:
    """The channel's playlist as it can be played now: prepared copies where there are some."""
    return _listed(channel.playlist_id, channel.house, Kind.ITEM)


def fillers(channel: Channel) -> tuple[Item, ...]:
    """What stands in for the programme: all of it prepared, for it must not fail as well."""
    listed = _listed(channel.filler_id, channel.house, Kind.FILLER)
    return tuple(item for item in listed if item.mode is Mode.PREPARED)


def _listed(playlist: int | None, house: House, kind: Kind) -> tuple[Item, ...]:
    if playlist is None:
        return ()
    # A faulty item is left out, also where a copy of it is there still: it may be missing
    # because nobody has the right to show it any more.
    whole = PlaylistEntry.objects.filter(playlist=playlist).exclude(
        item__status=MediaItem.Status.FAULT
    )
    entries = list(whole.select_related("item"))
    ready = PreparedCopy.objects.filter(
        item__entries__playlist=playlist,
        item__etag=F("source_etag"),
        # While a new logo is burnt in, copies with the old one or none play on.
        house__startswith=house.bare.signature,
        status=PreparedCopy.Status.READY,
    ).order_by("made_at", "pk")
    copies: dict[int, PreparedCopy] = {}
    for copy in ready:
        best = copies.get(copy.item_id)
        fits = House.of(copy.house).bare == house.bare
        if fits and (best is None or best.house != house.signature):
            copies[copy.item_id] = copy
    return tuple(_item(entry, copies.get(entry.item_id), kind) for entry in entries)


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
            # Made again, it lies under the same key with other bytes.
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
        # What was not looked into yet is taken to have sound, as nearly everything has.
        has_audio=bool(media.audio_codec) or media.probed_at is None,
        reorder=media.reorder / Fraction(media.fps) if copied and media.fps else Fraction(0),
        edition=media.etag,
    )


def can_be_copied(media: MediaItem) -> bool:
    """Whether it can be sent as it is. What was not looked into can't."""
    return media.probe is not None and not lacks(media.probe)


def slate(house: House) -> Item:
    """The house's slate, made now if this is the first time. Raises `PrepareError`."""
    path, frames = slates.slate(house.bare)
    return Item(
        title=SLATE_TITLE, key=str(path), mode=Mode.PREPARED, kind=Kind.SLATE, frames=frames
    )


def outputs(rows: Iterable[Output]) -> tuple[OutputPlan, ...]:
    return tuple(_output(row) for row in rows if row.enabled)


def _output(row: Output) -> OutputPlan:
    key = row.key or Secret("")
    return OutputPlan(
        pk=row.pk,
        name=row.name,
        address=row.address,
        key=key,
        edition=salted_hmac("output", f"{row.address}\n{key.reveal()}").hexdigest(),
    )
