"""Actions on many items at once. Each is a POST with a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.actions import delete_selected as delete_after_asking
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse

from media_library import actions, formatting
from media_library.house_format import HouseFormat
from media_library.models import MediaItem, Playlist, PlaylistEntry, PreparedCopy, Tag
from media_library.playlists.edit import PlaylistError, append
from media_library.search import listing

#: Maximum items of a request that needs only a few statements.
MAX_ITEMS: Final = listing.MAX_REACHABLE
#: Maximum items of a request with work for each: some milliseconds per item.
MAX_WORK_ITEMS: Final = 1000
_BATCH: Final = 2000

Items = QuerySet[MediaItem]
Action = Callable[[Any, HttpRequest, Items], HttpResponseBase | None]


def _chosen(request: HttpRequest, items: Items, max_items: int = MAX_ITEMS) -> list[int]:
    """Returns the ids in the list's order; none, and a message, if there are too many."""
    ids = list(items.values_list("pk", flat=True)[: max_items + 1])
    if len(ids) <= max_items:
        return ids
    messages.error(
        request,
        f"More than {max_items:,} items are selected, but the maximum is {max_items:,}: narrow "
        "the list down, for example by a folder.",
    )
    return []


def _batches(ids: Sequence[int], count: int = _BATCH) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), count):
        yield ids[start : start + count]


# ---- work for the jobs cluster ---------------------------------------------------------------


def _acts(description: str) -> Callable[[Callable[[list[int]], str]], Action]:
    """Makes an action of a function that works on the chosen ids and returns a message."""

    def decorate(work: Callable[[list[int]], str]) -> Action:
        @admin.action(description=description, permissions=["change"])
        @wraps(work)
        def action(page: Any, request: HttpRequest, items: Items) -> None:
            if ids := _chosen(request, items, MAX_WORK_ITEMS):
                messages.success(request, work(ids))

        return action

    return decorate


def house_formats(ids: Sequence[int]) -> dict[int, set[HouseFormat]]:
    """Returns the formats in which channels play each item; the default format if none does."""
    formats: dict[int, set[HouseFormat]] = {pk: set() for pk in ids}
    by_playlist: dict[int, set[HouseFormat]] = {}
    played = Playlist.objects.filter(channels__isnull=False).distinct()
    for playlist in played.prefetch_related("channels"):
        by_playlist[playlist.pk] = {channel.house_format for channel in playlist.channels.all()}
    for batch in _batches(ids):
        entries = PlaylistEntry.objects.filter(item__in=batch, playlist__in=list(by_playlist))
        for item, playlist_id in entries.values_list("item", "playlist").distinct():
            formats[item] |= by_playlist[playlist_id]
    return {pk: used or {HouseFormat()} for pk, used in formats.items()}


@_acts("Prepare for the channels that play it")
def prepare(ids: list[int]) -> str:
    formats = house_formats(ids)
    count = 0
    for item in MediaItem.objects.filter(pk__in=ids).exclude(status=MediaItem.Status.FAULT):
        for house_format in formats[item.pk]:
            actions.request_prepare(item, house_format, again=True)
        count += 1
    return f"{count:,} of {formatting.counted(len(ids), 'item')} will be prepared."


@_acts("Cancel preparing")
def cancel(ids: list[int]) -> str:
    waiting = PreparedCopy.objects.filter(
        item__in=ids, status__in=[PreparedCopy.Status.QUEUED, PreparedCopy.Status.RUNNING]
    )
    copies = [copy for copy in waiting if actions.cancel_prepare(copy)]
    if not copies:
        return "None of these was being prepared."
    return f"{formatting.counted(len(copies), 'copy', 'copies')} cancelled."


@_acts("Try again what failed")
def retry(ids: list[int]) -> str:
    for item in MediaItem.objects.filter(pk__in=ids):
        actions.retry(item)
    return f"{formatting.counted(len(ids), 'item')} will be tried again."


@_acts("Inspect the file again")
def inspect_again(ids: list[int]) -> str:
    actions.inspect_again(ids)
    return f"{formatting.counted(len(ids), 'file')} will be inspected."


# ---- actions with a form ---------------------------------------------------------------------


class PlaylistChoice(forms.Form):
    playlist = forms.ModelChoiceField(
        Playlist.objects.all(), required=False, empty_label="A new playlist"
    )
    name = forms.CharField(
        max_length=120, required=False, label="Name", help_text="Name of the new playlist."
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        name = str(data.get("name", "")).strip()
        if data.get("playlist") is None and not name:
            raise forms.ValidationError("Choose a playlist, or name the new one.")
        if data.get("playlist") is None and Playlist.objects.filter(name=name).exists():
            raise forms.ValidationError(f"There is already a playlist “{name}”: choose it.")
        return data | {"name": name}


class TagChoice(forms.Form):
    tag = forms.CharField(max_length=64)

    def clean_tag(self) -> str:
        return str(self.cleaned_data["tag"]).strip()


class RatingChoice(forms.Form):
    rating = forms.TypedChoiceField(
        choices=[("", "Unrated"), *MediaItem.Rating.choices],
        required=False,
        coerce=int,
        empty_value=None,
        label="Age rating",
    )


def _parameters_page(
    page: Any, request: HttpRequest, action: str, form: forms.Form, title: str, count: int
) -> HttpResponseBase:
    """Returns the page with an action's form, which submits the action again."""
    across = request.POST.get("select_across") == "1"
    context = {
        **page.admin_site.each_context(request),
        "title": title,
        "form": form,
        "action": action,
        "count": formatting.counted(count, "item"),
        "across": across,
        "selected": [] if across else request.POST.getlist(ACTION_CHECKBOX_NAME),
        "checkbox": ACTION_CHECKBOX_NAME,
        "tags": list(Tag.objects.values_list("name", flat=True)[:500]),
        "opts": page.model._meta,
        "back": request.get_full_path(),
    }
    return TemplateResponse(request, "media_library/action_form.html", context)


def _with_form(
    description: str, kind: type[forms.Form]
) -> Callable[[Callable[[list[int], dict[str, Any]], str]], Action]:
    """Makes an action that shows the form first; the function gets what was typed."""

    def decorate(work: Callable[[list[int], dict[str, Any]], str]) -> Action:
        @admin.action(description=f"{description} …", permissions=["change"])
        @wraps(work)
        def action(page: Any, request: HttpRequest, items: Items) -> HttpResponseBase | None:
            ids = _chosen(request, items)
            if not ids:
                return None
            form = kind(request.POST if "apply" in request.POST else None)
            if not form.is_valid():
                return _parameters_page(
                    page, request, work.__name__, form, description, len(ids)
                )
            try:
                messages.success(request, work(ids, form.cleaned_data))
            except PlaylistError as refusal:
                messages.error(request, str(refusal))
            return None

        return action

    return decorate


@_with_form("Add to a playlist", PlaylistChoice)
def to_playlist(ids: list[int], chosen: dict[str, Any]) -> str:
    with transaction.atomic():
        playlist = chosen["playlist"] or Playlist.objects.create(name=chosen["name"])
        append(playlist, ids)
    return f"{formatting.counted(len(ids), 'item')} added to “{playlist}”."


@_with_form("Add a tag", TagChoice)
def add_tag(ids: list[int], chosen: dict[str, Any]) -> str:
    tag, _ = Tag.objects.get_or_create(name=chosen["tag"])
    links = MediaItem.tags.through
    for batch in _batches(ids):
        links.objects.bulk_create(
            [links(mediaitem_id=pk, tag_id=tag.pk) for pk in batch], ignore_conflicts=True
        )
    return f"{formatting.counted(len(ids), 'item')} tagged “{tag}”."


@_with_form("Remove a tag", TagChoice)
def remove_tag(ids: list[int], chosen: dict[str, Any]) -> str:
    count = 0
    for batch in _batches(ids):
        links = MediaItem.tags.through.objects.filter(
            tag__name=chosen["tag"], mediaitem__in=batch
        )
        count += links.delete()[0]
    return f"“{chosen['tag']}” removed from {formatting.counted(count, 'item')}."


@_with_form("Set the age rating", RatingChoice)
def rate(ids: list[int], chosen: dict[str, Any]) -> str:
    for batch in _batches(ids):
        MediaItem.objects.filter(pk__in=batch).update(age_rating=chosen["rating"])
    return f"{formatting.counted(len(ids), 'item')} rated."


@admin.action(description="Delete from the library …", permissions=["delete"])
def delete_selected(page: Any, request: HttpRequest, items: Items) -> HttpResponseBase | None:
    """Django's own action, with a limit, and with a message about the file."""
    ids = _chosen(request, items, MAX_WORK_ITEMS)
    if not ids:
        return None
    if "post" not in request.POST:
        warn_of_deletion(request, ids)
    answer: HttpResponseBase | None = delete_after_asking(
        page, request, MediaItem.objects.filter(pk__in=ids)
    )
    return answer


def warn_of_deletion(request: HttpRequest, ids: Sequence[int]) -> None:
    """Shows the consequences of a deletion, above the page that confirms it."""
    messages.warning(
        request,
        "Only the library's entry is deleted. The file stays in the storage, and the next sync "
        "adds it again: to remove it completely, delete it there.",
    )
    on_air = Playlist.objects.filter(
        entries__item__in=ids, channels__desired_state="on"
    ).distinct()
    for playlist in on_air[:5]:
        messages.error(
            request,
            f"“{playlist}” is played by a channel that is on air: the channel continues "
            "without these entries.",
        )


ACTIONS: Final = (
    *(prepare, cancel, retry, inspect_again, to_playlist, add_tag, remove_tag, rate),
    delete_selected,
)
