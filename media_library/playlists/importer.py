"""What an M3U or a CSV changes in the library."""

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

#: Names that are looked for in the storage itself: each is a request to the bucket.
MOST_ASKED: Final = 100
#: Seconds after which the storage is asked for no further name: a person waits.
LONGEST_ASKING: Final = 20.0
_BATCH: Final = 500
#: Rows written by one statement.
_ROWS: Final = 100
T = TypeVar("T")
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
    all others are. Raises `PlaylistError`; then nothing is written. The storage is asked
    before anything is written: call it outside of a transaction, which would last so long.
    """
    outcome = Outcome(problems=list(contents.problems))
    keys, new = _keys(contents.lines, outcome)
    with nullcontext() if dry else transaction.atomic():
        items = _items(contents.lines, keys, new, outcome, dry=dry)
        changes = _Changes()
        for line in contents.lines:
            item = items.get(line.number)
            if item is not None:
                outcome.found += 1
                outcome.updated += _change(item, line, changes, outcome)
        if not dry:
            changes.write()
        name = playlist.strip() or (contents.name if contents.is_playlist else "")
        if into is not None or name:
            order = [items[line.number].pk for line in contents.lines if line.number in items]
            outcome.entries = len(order)
            if not order and not append:
                _spare(into or Playlist.objects.filter(name=name[:120]).first())
            if not dry:
                outcome.playlist = _listed(into, name[:120], order, append=append)
    outcome.problems.sort(key=lambda problem: problem.number)
    return outcome


def _spare(target: Playlist | None) -> None:
    """A wrong file must not empty a playlist that is there, perhaps on air.

    Raises `NothingFoundError`.
    """
    if target is not None and target.entries.exists():
        raise edit.NothingFoundError(
            f"None of its lines was found in the library, so “{target}” stays as it was: see "
            "if it is the right file. To empty a playlist, remove its items by hand."
        )


def _listed(
    into: Playlist | None, name: str, order: Sequence[int], *, append: bool
) -> Playlist:
    target = into or Playlist.objects.get_or_create(name=name)[0]
    if append:
        edit.append(target, order)
    else:
        edit.replace(target, order)
    return target


# ---- which items are meant -------------------------------------------------------------------


def _keys(lines: Sequence[Line], outcome: Outcome) -> tuple[dict[int, str], dict[str, Facts]]:
    """The key of each line, by the line's number, and what the storage says of new ones.

    What is not found is a problem.
    """
    found: dict[int, str] = {}
    for some in _batches(lines):
        meant = {line.number: line.names for line in some}
        known = _known({name for names in meant.values() for name in names})
        for number, names in meant.items():
            key = next((name for name in names if name in known), None)
            if key is not None:
                found[number] = key
    left = [line for line in lines if line.number not in found]
    found |= _by_last_name(left, outcome)
    told = {problem.number for problem in outcome.problems}
    left = [line for line in left if line.number not in found and line.number not in told]
    seen, new = _in_storage(left, outcome)
    return found | seen, new


def _batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _BATCH):
        yield values[start : start + _BATCH]


def _known(names: set[str]) -> set[str]:
    """Those that are keys of items."""
    known: set[str] = set()
    for batch in _batches(sorted(names)):
        known.update(
            MediaItem.objects.filter(key__in=batch).order_by().values_list("key", flat=True)
        )
    return known


def _by_last_name(lines: Sequence[Line], outcome: Outcome) -> dict[int, str]:
    """The only item whose file has the same name, in whatever folder."""
    last = {line.number: _last(line) for line in lines}
    matches: dict[str, list[str]] = {name: [] for name in last.values()}
    if matches:
        # One walk through the keys (two seconds for a million), however many are sought.
        for key in MediaItem.objects.order_by("key").values_list("key", flat=True).iterator():
            name = key.rpartition("/")[2]
            if name in matches and len(matches[name]) < 2:  # noqa: PLR2004 - two: not the only
                matches[name].append(key)
    found = {}
    for line in lines:
        keys = matches[last[line.number]]
        if len(keys) == 1:
            found[line.number] = keys[0]
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


def _in_storage(
    lines: Sequence[Line], outcome: Outcome
) -> tuple[dict[int, str], dict[str, Facts]]:
    """Objects that no sync has seen yet. A storage that is out of order is asked once."""
    found: dict[int, str] = {}
    asked: dict[str, Facts | None] = {}
    extensions = frozenset(settings.MEDIA_EXTENSIONS)
    until, fault = monotonic() + LONGEST_ASKING, ""
    for line in lines:
        key = next(iter(line.names), "")
        may = not fault and len(asked) < MOST_ASKED and monotonic() < until
        if may and key not in asked and is_media(key, extensions):
            asked[key] = None
            try:
                asked[key] = storage.facts(key, brisk=True)
            except StorageError as error:
                # One that is not there is told below as not found.
                fault = "" if error.permanent else str(error)
        if asked.get(key) is not None:
            found[line.number] = key
            continue
        sentence = f"{line.text} is not in the library: sync, then try again."
        outcome.problems.append(
            Problem(line.number, f"{sentence} {fault}" if fault else sentence)
        )
    return found, {key: facts for key, facts in asked.items() if facts is not None}


def _items(
    lines: Sequence[Line],
    keys: Mapping[int, str],
    new: Mapping[str, Facts],
    outcome: Outcome,
    *,
    dry: bool,
) -> dict[int, MediaItem]:
    """The item of each line, as it is by now; new ones are made."""
    known = _by_key(set(keys.values()))
    for key in new.keys() - known.keys():
        known[key] = MediaItem(
            key=key, title=title_of(key), size_bytes=new[key].size_bytes, etag=new[key].etag
        )
        if not dry:
            known[key].save(force_insert=True)
        outcome.created += 1
    if outcome.created and not dry:
        transaction.on_commit(enqueue.probe)
    for line in lines:
        if line.number in keys and keys[line.number] not in known:
            outcome.problems.append(
                Problem(line.number, f"{line.text} was taken out of the library just now.")
            )
    return {number: known[key] for number, key in keys.items() if key in known}


def _by_key(keys: set[str]) -> dict[str, MediaItem]:
    known: dict[str, MediaItem] = {}
    for batch in _batches(sorted(keys)):
        for item in MediaItem.objects.filter(key__in=batch).prefetch_related("tags"):
            known[item.key] = item
    return known


# ---- what is said of them --------------------------------------------------------------------


@dataclass
class _Changes:
    """What is to be written. Row by row, a long file would keep other writers out for long."""

    #: By item: the columns that differ.
    columns: dict[MediaItem, set[str]] = field(default_factory=dict)
    #: By item: the names of all its tags.
    tags: dict[MediaItem, set[str]] = field(default_factory=dict)

    def write(self) -> None:
        alike: dict[frozenset[str], list[MediaItem]] = defaultdict(list)
        for item, names in self.columns.items():
            alike[frozenset(names)].append(item)
        for columns, items in alike.items():
            # Django lays out all of its batches at once: of 20,000 rows, 60 MB.
            for some in _batches(items):
                MediaItem.objects.bulk_update(some, sorted(columns), batch_size=_ROWS)
        self._write_tags()

    def _write_tags(self) -> None:
        wanted = sorted({name for names in self.tags.values() for name in names})
        Tag.objects.bulk_create([Tag(name=name) for name in wanted], ignore_conflicts=True)
        known: dict[str, Tag] = {}
        for batch in _batches(wanted):
            known |= {tag.name: tag for tag in Tag.objects.filter(name__in=batch)}
        link = MediaItem.tags.through
        for items in _batches(list(self.tags)):
            link._default_manager.filter(mediaitem__in=items).delete()  # noqa: SLF001
            link._default_manager.bulk_create(  # noqa: SLF001 - documented
                [
                    link(mediaitem=item, tag=known[name])
                    for item in items
                    for name in sorted(self.tags[item])
                ],
                batch_size=_ROWS,
            )


def _change(item: MediaItem, line: Line, changes: _Changes, outcome: Outcome) -> bool:
    """Whether the line said anything new of the item."""
    columns = _columns(line, outcome)
    # The same item may stand in the file twice.
    new = {name: value for name, value in columns.items() if value != getattr(item, name)}
    for name, value in new.items():
        setattr(item, name, value)
    if item._state.adding:  # noqa: SLF001 - documented: a dry run makes no row
        return bool(new) or bool(_said_tags(line))
    if new:
        changes.columns.setdefault(item, set()).update(new)
    wanted = _said_tags(line)
    if wanted is None:
        return bool(new)
    has = changes.tags.get(item)
    if wanted == ({tag.name for tag in item.tags.all()} if has is None else has):
        return bool(new)
    changes.tags[item] = wanted
    return True


def _said_tags(line: Line) -> set[str] | None:
    """None: the line says nothing of tags."""
    text = line.said.get("tags")
    return None if text is None else {name[:64] for name in split_tags(text)}


def _columns(line: Line, outcome: Outcome) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name in ("title", "source", "rights"):
        value = line.said.get(name)
        if value is None or (name == "title" and not value.strip()):
            continue
        value = value.strip() if name == "title" else value
        said[name] = value[: _LONGEST.get(name)]
    if "age_rating" in line.said:
        try:
            said["age_rating"] = _rating(line.said["age_rating"])
        except ValueError:
            outcome.problems.append(
                Problem(
                    line.number,
                    f"{line.said['age_rating']} is no age rating: write one of "
                    f"{', '.join(map(str, MediaItem.Rating.values))}, or nothing. The rest of "
                    "the line is read.",
                )
            )
    return said


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
