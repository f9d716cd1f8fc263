"""Actions on many items at once. Each is a POST with a limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@admin.action(description="Prepare for the channels that play it", permissions=["change"])
def prepare(page: Any, request: HttpRequest, items: Items) -> None:
    ids = _chosen(request, items, MAX_WORK_ITEMS)
    formats = house_formats(ids)
    count = 0
    for item in MediaItem.objects.filter(pk__in=ids).exclude(status=MediaItem.Status.FAULT):
        for house_format in formats[item.pk]:
            actions.request_prepare(item, house_format, again=True)
        count += 1
    if ids:
        messages.success(
            request, f"{count:,} of {formatting.counted(len(ids), 'item')} will be prepared."
        )


@admin.action(description="Cancel preparing", permissions=["change"])
def cancel(page: Any, request: HttpRequest, items: Items) -> None:
    ids = _chosen(request, items, MAX_WORK_ITEMS)
    waiting = PreparedCopy.objects.filter(
        item__in=ids, status__in=[PreparedCopy.Status.QUEUED, PreparedCopy.Status.RUNNING]
    )
    copies = [copy for copy in waiting if actions.cancel_prepare(copy)]
    if ids:
        messages.success(
            request,
            f"{formatting.counted(len(copies), 'copy', 'copies')} cancelled."
            if copies
            else "None of these was being prepared.",
        )


@admin.action(description="Try again what failed", permissions=["change"])
def retry(page: Any, request: HttpRequest, items: Items) -> None:
    ids = _chosen(request, items, MAX_WORK_ITEMS)
    for item in MediaItem.objects.filter(pk__in=ids):
        actions.retry(item)
    if ids:
        messages.success(
            request, f"{formatting.counted(len(ids), 'item')} will be tried again."
        )


@admin.action(description="Inspect the file again", permissions=["change"])
def inspect_again(page: Any, request: HttpRequest, items: Items) -> None:
    ids = _chosen(request, items, MAX_WORK_ITEMS)
    if ids:
        actions.inspect_again(ids)
        messages.success(request, f"{formatting.counted(len(ids), 'file')} will be inspected.")


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


def _form(kind: type[forms.Form], request: HttpRequest) -> forms.Form:
    return kind(request.POST if "apply" in request.POST else None)


@admin.action(description="Add to a playlist …", permissions=["change"])
def to_playlist(page: Any, request: HttpRequest, items: Items) -> HttpResponseBase | None:
    ids = _chosen(request, items)
    if not ids:
        return None
    form = _form(PlaylistChoice, request)
    if not form.is_valid():
        return _parameters_page(
            page, request, "to_playlist", form, "Add to a playlist", len(ids)
        )
    try:
        with transaction.atomic():
            playlist = form.cleaned_data["playlist"]
            if playlist is None:
                playlist = Playlist.objects.create(name=form.cleaned_data["name"])
            append(playlist, ids)
    except PlaylistError as refusal:
        messages.error(request, str(refusal))
        return None
    messages.success(request, f"{formatting.counted(len(ids), 'item')} added to “{playlist}”.")
    return None


@admin.action(description="Add a tag …", permissions=["change"])
def add_tag(page: Any, request: HttpRequest, items: Items) -> HttpResponseBase | None:
    ids = _chosen(request, items)
    if not ids:
        return None
    form = _form(TagChoice, request)
    if not form.is_valid():
        return _parameters_page(page, request, "add_tag", form, "Add a tag", len(ids))
    tag, _ = Tag.objects.get_or_create(name=form.cleaned_data["tag"])
    links = MediaItem.tags.through
    for batch in _batches(ids):
        links.objects.bulk_create(
            [links(mediaitem_id=pk, tag_id=tag.pk) for pk in batch], ignore_conflicts=True
        )
    messages.success(request, f"{formatting.counted(len(ids), 'item')} tagged “{tag}”.")
    return None


@admin.action(description="Remove a tag …", permissions=["change"])
def remove_tag(page: Any, request: HttpRequest, items: Items) -> HttpResponseBase | None:
    ids = _chosen(request, items)
    if not ids:
        return None
    form = _form(TagChoice, request)
    if not form.is_valid():
        return _parameters_page(page, request, "remove_tag", form, "Remove a tag", len(ids))
    name = form.cleaned_data["tag"]
    count = 0
    for batch in _batches(ids):
        links = MediaItem.tags.through.objects.filter(tag__name=name, mediaitem__in=batch)
        count += links.delete()[0]
    messages.success(request, f"“{name}” removed from {formatting.counted(count, 'item')}.")
    return None


@admin.action(description="Set the age rating …", permissions=["change"])
def rate(page: Any, request: HttpRequest, items: Items) -> HttpResponseBase | None:
    ids = _chosen(request, items)
    if not ids:
        return None
    form = _form(RatingChoice, request)
    if not form.is_valid():
        return _parameters_page(page, request, "rate", form, "Set the age rating", len(ids))
    for batch in _batches(ids):
        MediaItem.objects.filter(pk__in=batch).update(age_rating=form.cleaned_data["rating"])
    messages.success(request, f"{formatting.counted(len(ids), 'item')} rated.")
    return None


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
