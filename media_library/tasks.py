"""The library's jobs on django-q2. The truth is in the rows: a lost message costs a minute."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from media_library import actions, bell, places, preparing, probing, workplace
from media_library.models import MediaItem


def probe_item(item_id: int) -> str:
    """Look into a file of the library."""
    item = MediaItem.objects.filter(pk=item_id).first()
    if item is None:
        return "The item is gone."
    actions.look_into(item, now=timezone.now())
    return item.fault or "Probed."


def probe_new() -> str:
    """Look into new items, those of playlists first. Every minute, and when some have come."""
    with places.place("probe", settings.PROBE_JOBS) as free:
        if not free:
            return "Enough are at it."
        return f"{probing.work()} looked into."


def prepare_next() -> str:
    """Make the most urgent prepared copy, and ring for the next."""
    with places.place("prepare", settings.PREPARE_JOBS) as free:
        if not free:
            return "Enough are at it."
        copy = preparing.take_next()
        if copy is None:
            return "Nothing to do."
        if preparing.waiting().exists():
            # Help, as far as there are places.
            bell.prepare()
        said = f"{copy.item}: {preparing.make(copy)}"
    if preparing.waiting().exists():
        bell.prepare()
    return said


def prepare_item(copy_id: int) -> str:
    """Make that copy, unless another worker is at it."""
    copy = preparing.take(copy_id)
    if copy is None:
        return "Nothing to do: it is being made, is made, or is gone."
    return preparing.make(copy)


def sweep_library() -> str:
    """Queue again what dead workers left, and ring for what nobody makes. Every minute."""
    gone, left = preparing.recover()
    waits = preparing.waiting().count()
    for _ in range(min(waits, settings.PREPARE_JOBS)):
        bell.prepare()
    workplace.tidy()
    return f"{gone} given up, {left} left behind, {waits} waiting."
