"""What an M3U or a CSV changes in the library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from media_library import bell, playlists, storage
from media_library.catalogue import is_media, title_of
from media_library.exchange import Contents, Line, Problem, Row, split_tags
from media_library.models import MediaItem, Playlist, Tag
from media_library.storage import StorageError

#: Names that are looked for in the storage itself: each is a request to the bucket.
MOST_ASKED: Final = 100
_BATCH: Final = 500
#: Characters that a column takes; a note may be of any length.
_LONGEST: Final = {"title": 255, "source": 500}


@dataclass
class Outcome:
    """What an import did, or would do."""

    found: int = 0
    updated: int = 0
    created: int = 0
    #: Entries of the playlist that was made or changed; None: there is none.
    entries: int | None = None
    playlist: Playlist | None = None
    problems: list[Problem] = field(default_factory=list)


def run(
    contents: Contents,
    *,
    playlist: str = "",
    into: Playlist | None = None,
    append: bool = False,
    dry: bool = False,
) -> Outcome:
    """Write what the file says of items, and make its order a playlist's.

    The playlist is `into`, or the one named `playlist`, or as an M3U names itself; its entries
    are replaced, or followed where `append`. Of a line that is not found nothing is written,
    all others are. Raises `PlaylistError`; then nothing is written.
    """
    outcome = Outcome(problems=list(contents.problems))
    with transaction.atomic():
        items = _items(contents.lines, outcome, dry=dry)
        tags = _tags(contents.lines, dry=dry)
        for line in contents.lines:
            item = items.get(line.number)
            if item is not None:
                outcome.found += 1
                outcome.updated += _update(item, line, tags, outcome, dry=dry)
        name = playlist.strip() or (contents.name if contents.is_playlist else "")
        if into is not None or name:
            order = [items[line.number].pk for line in contents.lines if line.number in items]
            outcome.entries = len(order)
            if not dry:
                outcome.playlist = _listed(into, name[:120], order, append=append)
    outcome.problems.sort(key=lambda problem: problem.number)
    return outcome


def _listed(
    into: Playlist | None, name: str, order: Sequence[int], *, append: bool
) -> Playlist:
    target = into or Playlist.objects.get_or_create(name=name)[0]
    if append:
        playlists.append(target, order)
    else:
        playlists.replace(target, order)
    return target


# ---- which items are meant -------------------------------------------------------------------


def _items(lines: Sequence[Line], outcome: Outcome, *, dry: bool) -> dict[int, MediaItem]:
    """The item of each line, by the line's number; what is not found is a problem."""
    names = {name for line in lines for name in line.names}
    known = _by_key(names)
    found: dict[int, MediaItem] = {}
    for line in lines:
        meant = next((known[name] for name in line.names if name in known), None)
        if meant is not None:
            found[line.number] = meant
    left = [line for line in lines if line.number not in found]
    found |= _by_last_name(left, outcome)
    told = {problem.number for problem in outcome.problems}
    left = [line for line in left if line.number not in found and line.number not in told]
    return found | _from_storage(left, outcome, dry=dry)


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _by_key(names: set[str]) -> dict[str, MediaItem]:
    known: dict[str, MediaItem] = {}
    for batch in _batches(sorted(names)):
        for item in MediaItem.objects.filter(key__in=batch).prefetch_related("tags"):
            known[item.key] = item
    return known


def _by_last_name(lines: Sequence[Line], outcome: Outcome) -> dict[int, MediaItem]:
    """The only item whose file has the same name, in whatever folder."""
    matches: dict[str, list[str]] = {_last(line): [] for line in lines}
    if matches:
        # One walk through the keys (two seconds for a million), however many are sought.
        for key in MediaItem.objects.order_by("key").values_list("key", flat=True).iterator():
            name = key.rpartition("/")[2]
            if name in matches and len(matches[name]) < 2:  # noqa: PLR2004 - two: not the only
                matches[name].append(key)
    known = _by_key({keys[0] for keys in matches.values() if len(keys) == 1})
    found = {}
    for line in lines:
        keys = matches[_last(line)]
        if len(keys) == 1:
            found[line.number] = known[keys[0]]
        elif keys:
            outcome.problems.append(
                Problem(
                    line.number,
                    f"{line.text}: several files have this name, such as {keys[0]} and "
                    f"{keys[1]}. Write the folder too.",
                )
            )
    return found


def _last(line: Line) -> str:
    return min((name.rpartition("/")[2] for name in line.names), key=len, default="")


def _from_storage(
    lines: Sequence[Line], outcome: Outcome, *, dry: bool
) -> dict[int, MediaItem]:
    """Items made of objects that no sync has seen yet."""
    found: dict[int, MediaItem] = {}
    made: dict[str, MediaItem] = {}
    asked, extensions = 0, frozenset(settings.MEDIA_EXTENSIONS)
    for line in lines:
        key = line.names[0] if line.names else ""
        if key not in made and asked < MOST_ASKED and is_media(key, extensions):
            asked += 1
            try:
                facts = storage.facts(key)
            except StorageError:
                # It is not there, or can't be asked for: told below as not found.
                made.pop(key, None)
            else:
                made[key] = MediaItem(
                    key=key,
                    title=title_of(key),
                    size_bytes=facts.size_bytes,
                    etag=facts.etag,
                )
                if not dry:
                    made[key].save()
        if key in made:
            found[line.number] = made[key]
        else:
            outcome.problems.append(
                Problem(
                    line.number, f"{line.text} is not in the library: sync, then try again."
                )
            )
    outcome.created = len(made)
    if made and not dry:
        transaction.on_commit(bell.probe)
    return found


# ---- what is said of them --------------------------------------------------------------------


def _tags(lines: Sequence[Line], *, dry: bool) -> dict[str, Tag]:
    names = {name[:64] for line in lines for name in split_tags(line.said.get("tags", ""))}
    if not dry:
        Tag.objects.bulk_create(
            [Tag(name=name) for name in sorted(names)], ignore_conflicts=True
        )
    known: dict[str, Tag] = {}
    for batch in _batches(sorted(names)):
        known |= {tag.name: tag for tag in Tag.objects.filter(name__in=batch)}
    return known


def _update(
    item: MediaItem, line: Line, tags: dict[str, Tag], outcome: Outcome, *, dry: bool
) -> bool:
    """Whether the line said anything new of the item."""
    changes: dict[str, Any] = {}
    for name in ("title", "source", "rights"):
        value = line.said.get(name)
        if value is None or (name == "title" and not value.strip()):
            continue
        value = value.strip() if name == "title" else value
        value = value[: _LONGEST.get(name)]
        if value != getattr(item, name):
            changes[name] = value
    if "age_rating" in line.said:
        try:
            rating = _rating(line.said["age_rating"])
        except ValueError:
            outcome.problems.append(
                Problem(
                    line.number,
                    f"{line.said['age_rating']} is no age rating: write one of "
                    f"{', '.join(map(str, MediaItem.Rating.values))}, or nothing. The rest of "
                    "the line is read.",
                )
            )
        else:
            if rating != item.age_rating:
                changes["age_rating"] = rating
    for name, value in changes.items():
        # The same item may stand in the file twice.
        setattr(item, name, value)
    if changes and not dry:
        MediaItem.objects.filter(pk=item.pk).update(**changes)
    return _retag(item, line, tags, dry=dry) or bool(changes)


def _retag(item: MediaItem, line: Line, tags: dict[str, Tag], *, dry: bool) -> bool:
    if "tags" not in line.said:
        return False
    wanted = {name[:64] for name in split_tags(line.said["tags"])}
    if item._state.adding:  # noqa: SLF001 - documented: a dry run makes no row
        return bool(wanted)
    if wanted == {tag.name for tag in item.tags.all()}:
        return False
    if not dry:
        item.tags.set([tags[name] for name in wanted])
    return True


def _rating(text: str) -> int | None:
    plain = text.strip().rstrip("+")
    return MediaItem.Rating(int(plain)).value if plain else None


# ---- the way out -----------------------------------------------------------------------------


def rows(playlist: Playlist) -> Iterator[Row]:
    """The playlist's items in its order."""
    entries = playlist.entries.select_related("item").prefetch_related("item__tags")
    for entry in entries:
        item = entry.item
        yield Row(
            key=item.key,
            title=item.title,
            tags=[tag.name for tag in item.tags.all()],
            age_rating=item.age_rating,
            source=item.source,
            rights=item.rights,
            seconds=item.duration_seconds,
        )
