"""Applies an M3U or a CSV to the library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import transaction

from media_library import storage
from media_library.jobs import enqueue
from media_library.models import MediaItem, Playlist, Tag
from media_library.models.titles import title_of
from media_library.playlists import edit
from media_library.playlists.m3u_csv import Contents, Line, Problem, Row, split_tags
from media_library.storage import Facts, StorageError
from media_library.storage.keys import is_media

#: Names that are looked up in the storage itself: each is a request to the bucket.
MAX_STORAGE_LOOKUPS: Final = 100
#: Seconds after which no further name is looked up in the storage: a person waits.
STORAGE_LOOKUP_TIMEOUT_S: Final = 20.0
_BATCH: Final = 500
#: Rows per statement.
_ROWS: Final = 100
T = TypeVar("T")
#: Maximum characters per column; a note may have any length.
_MAX_CHARS: Final = {"title": 255, "source": 500}


@dataclass
class Outcome:
    """The result of an import, or of a dry run."""

    matched: int = 0
    updated: int = 0
    created: int = 0
    #: Entries of the created or changed playlist; None: there is none.
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
    """Writes the file's data about items, and makes its order a playlist.

    The playlist is `into`, or the one named `playlist`, or the name in an M3U; its entries are
    replaced, or extended with `append`. Lines without an item are skipped, all others are
    applied. Raises `PlaylistError`; then nothing is written. The storage is queried before
    anything is written: call it outside of a transaction, which would last as long.
    """
    outcome = Outcome(problems=list(contents.problems))
    keys, new = _keys(contents.lines, outcome)
    with nullcontext() if dry else transaction.atomic():
        items = _items(contents.lines, keys, new, outcome, dry=dry)
        changes = _Changes()
        for line in contents.lines:
            item = items.get(line.number)
            if item is not None:
                outcome.matched += 1
                outcome.updated += _change(item, line, changes, outcome)
        if not dry:
            changes.write()
        name = playlist.strip() or (contents.name if contents.is_playlist else "")
        if into is not None or name:
            order = [items[line.number].pk for line in contents.lines if line.number in items]
            outcome.entries = len(order)
            if not order and not append:
                _require_entries(into or Playlist.objects.filter(name=name[:120]).first())
            if not dry:
                outcome.playlist = _write_playlist(into, name[:120], order, append=append)
    outcome.problems.sort(key=lambda problem: problem.number)
    return outcome


def _require_entries(target: Playlist | None) -> None:
    """Refuses to empty an existing playlist, perhaps on air, because of a wrong file.

    Raises `EmptyImportError`.
    """
    if target is not None and target.entries.exists():
        raise edit.EmptyImportError(
            f"None of its lines matches the library, so “{target}” is unchanged: check "
            "that it is the right file. To empty a playlist, remove its items by hand."
        )


def _write_playlist(
    into: Playlist | None, name: str, order: Sequence[int], *, append: bool
) -> Playlist:
    target = into or Playlist.objects.get_or_create(name=name)[0]
    if append:
        edit.append(target, order)
    else:
        edit.replace(target, order)
    return target


# ---- matching lines to items -----------------------------------------------------------------


def _keys(lines: Sequence[Line], outcome: Outcome) -> tuple[dict[int, str], dict[str, Facts]]:
    """Returns the key of each line, by line number, and the facts of new objects.

    Lines without a match become problems.
    """
    keys: dict[int, str] = {}
    for some in _batches(lines):
        candidates = {line.number: line.names for line in some}
        existing = _existing_keys({name for names in candidates.values() for name in names})
        for number, names in candidates.items():
            key = next((name for name in names if name in existing), None)
            if key is not None:
                keys[number] = key
    left = [line for line in lines if line.number not in keys]
    keys |= _by_last_name(left, outcome)
    reported = {problem.number for problem in outcome.problems}
    left = [line for line in left if line.number not in keys and line.number not in reported]
    seen, new = _in_storage(left, outcome)
    return keys | seen, new


def _batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _existing_keys(names: set[str]) -> set[str]:
    """Returns the names that are keys of items."""
    keys: set[str] = set()
    for batch in _batches(sorted(names)):
        keys.update(
            MediaItem.objects.filter(key__in=batch).order_by().values_list("key", flat=True)
        )
    return keys


def _by_last_name(lines: Sequence[Line], outcome: Outcome) -> dict[int, str]:
    """Matches by file name in any folder, if only one item has it."""
    last = {line.number: _last(line) for line in lines}
    matches: dict[str, list[str]] = {name: [] for name in last.values()}
    if matches:
        # One scan of the keys (two seconds for a million), whatever the number of names.
        for key in MediaItem.objects.order_by("key").values_list("key", flat=True).iterator():
            name = key.rpartition("/")[2]
            if name in matches and len(matches[name]) < 2:  # noqa: PLR2004 - two: it is ambiguous
                matches[name].append(key)
    matched = {}
    for line in lines:
        keys = matches[last[line.number]]
        if len(keys) == 1:
            matched[line.number] = keys[0]
        elif keys:
            outcome.problems.append(
                Problem(
                    line.number,
                    f"{line.text}: several files have this name, such as {keys[0]} and "
                    f"{keys[1]}. Write the folder too.",
                )
            )
    return matched


def _last(line: Line) -> str:
    return min((name.rpartition("/")[2] for name in line.names), key=len, default="")


def _in_storage(
    lines: Sequence[Line], outcome: Outcome
) -> tuple[dict[int, str], dict[str, Facts]]:
    """Matches objects that no sync has seen yet. An unavailable storage is queried once."""
    keys: dict[int, str] = {}
    facts_by_key: dict[str, Facts | None] = {}
    extensions = frozenset(settings.MEDIA_EXTENSIONS)
    until, fault = monotonic() + STORAGE_LOOKUP_TIMEOUT_S, ""
    for line in lines:
        key = next(iter(line.names), "")
        may = not fault and len(facts_by_key) < MAX_STORAGE_LOOKUPS and monotonic() < until
        if may and key not in facts_by_key and is_media(key, extensions):
            facts_by_key[key] = None
            try:
                facts_by_key[key] = storage.facts(key, brisk=True)
            except StorageError as error:
                # A missing one is reported below.
                fault = "" if error.permanent else str(error)
        if facts_by_key.get(key) is not None:
            keys[line.number] = key
            continue
        sentence = f"{line.text} is not in the library: sync, then try again."
        outcome.problems.append(
            Problem(line.number, f"{sentence} {fault}" if fault else sentence)
        )
    return keys, {key: facts for key, facts in facts_by_key.items() if facts is not None}


def _items(
    lines: Sequence[Line],
    keys: Mapping[int, str],
    new: Mapping[str, Facts],
    outcome: Outcome,
    *,
    dry: bool,
) -> dict[int, MediaItem]:
    """Returns the item of each line in its current state; creates new ones."""
    items = _by_key(set(keys.values()))
    for key in new.keys() - items.keys():
        items[key] = MediaItem(
            key=key, title=title_of(key), size_bytes=new[key].size_bytes, etag=new[key].etag
        )
        if not dry:
            items[key].save(force_insert=True)
        outcome.created += 1
    if outcome.created and not dry:
        transaction.on_commit(enqueue.probe)
    for line in lines:
        if line.number in keys and keys[line.number] not in items:
            outcome.problems.append(
                Problem(line.number, f"{line.text} was deleted from the library just now.")
            )
    return {number: items[key] for number, key in keys.items() if key in items}


def _by_key(keys: set[str]) -> dict[str, MediaItem]:
    items: dict[str, MediaItem] = {}
    for batch in _batches(sorted(keys)):
        for item in MediaItem.objects.filter(key__in=batch).prefetch_related("tags"):
            items[item.key] = item
    return items


# ---- the data about items --------------------------------------------------------------------


@dataclass
class _Changes:
    """Pending writes, in batches: row by row, a long file would block other writers."""

    #: By item: the changed columns.
    columns: dict[MediaItem, set[str]] = field(default_factory=dict)
    #: By item: the names of all its tags.
    tags: dict[MediaItem, set[str]] = field(default_factory=dict)

    def write(self) -> None:
        alike: dict[frozenset[str], list[MediaItem]] = defaultdict(list)
        for item, names in self.columns.items():
            alike[frozenset(names)].append(item)
        for columns, items in alike.items():
            # Django builds all of its batches at once: 60 MB for 20,000 rows.
            for some in _batches(items):
                MediaItem.objects.bulk_update(some, sorted(columns), batch_size=_ROWS)
        self._write_tags()

    def _write_tags(self) -> None:
        names = sorted({name for names in self.tags.values() for name in names})
        Tag.objects.bulk_create([Tag(name=name) for name in names], ignore_conflicts=True)
        tags: dict[str, Tag] = {}
        for batch in _batches(names):
            tags |= {tag.name: tag for tag in Tag.objects.filter(name__in=batch)}
        link = MediaItem.tags.through
        for items in _batches(list(self.tags)):
            link._default_manager.filter(mediaitem__in=items).delete()
            link._default_manager.bulk_create(
                [
                    link(mediaitem=item, tag=tags[name])
                    for item in items
                    for name in sorted(self.tags[item])
                ],
                batch_size=_ROWS,
            )


def _change(item: MediaItem, line: Line, changes: _Changes, outcome: Outcome) -> bool:
    """Returns whether the line changes the item."""
    columns = _columns(line, outcome)
    # The same item may be in the file twice.
    new = {name: value for name, value in columns.items() if value != getattr(item, name)}
    for name, value in new.items():
        setattr(item, name, value)
    if item._state.adding:  # noqa: SLF001 - documented: a dry run makes no row
        return bool(new) or bool(_tags_of(line))
    if new:
        changes.columns.setdefault(item, set()).update(new)
    names = _tags_of(line)
    if names is None:
        return bool(new)
    has = changes.tags.get(item)
    if names == ({tag.name for tag in item.tags.all()} if has is None else has):
        return bool(new)
    changes.tags[item] = names
    return True


def _tags_of(line: Line) -> set[str] | None:
    """Returns the line's tags; None if it has no such column."""
    text = line.values.get("tags")
    return None if text is None else {name[:64] for name in split_tags(text)}


def _columns(line: Line, outcome: Outcome) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in ("title", "source", "rights"):
        value = line.values.get(name)
        if value is None or (name == "title" and not value.strip()):
            continue
        value = value.strip() if name == "title" else value
        columns[name] = value[: _MAX_CHARS.get(name)]
    if "age_rating" in line.values:
        try:
            columns["age_rating"] = _rating(line.values["age_rating"])
        except ValueError:
            outcome.problems.append(
                Problem(
                    line.number,
                    f"{line.values['age_rating']} is no age rating: write one of "
                    f"{', '.join(map(str, MediaItem.Rating.values))}, or nothing. The rest of "
                    "the line is read.",
                )
            )
    return columns


def _rating(text: str) -> int | None:
    plain = text.strip().rstrip("+")
    return MediaItem.Rating(int(plain)).value if plain else None


# ---- the export ------------------------------------------------------------------------------


def rows(playlist: Playlist) -> Iterator[Row]:
    """Yields the playlist's items in its order."""
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
