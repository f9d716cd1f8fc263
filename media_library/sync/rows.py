"""Reads and writes the library's rows for a sync: in pages, and many per statement.

Plain SQL, because Django's bulk_create takes three times as long; the same SQL works on SQLite
and PostgreSQL.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Final

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Case, Exists, F, OuterRef, Value, When
from django.utils import timezone

from media_library import events
from media_library.models import Absence, MediaItem, PreparedCopy, SyncRun
from media_library.models.titles import title_of
from media_library.storage.list_objects import Listed
from media_library.sync.diff import Row
from streamsite.processes.claims import ClaimLostError, Claims

#: Rows read per query.
PAGE: Final = 5000
#: Rows written per transaction: they hold SQLite's only lock, which channels need too, for
#: 0.1-0.2 s.
MAX_BATCH_ROWS: Final = 5000
#: Kibibytes of SQLite's page cache during a sync: titles are spread over their whole index.
CACHE_KIB: Final = 16 * 1024
#: Transactions between two checkpoints. SQLite's own, after each transaction, rewrite the
#: index's pages repeatedly: a quarter of the total time.
CHECKPOINT_EVERY: Final = 16
#: Bytes of the write-ahead log that stay on the disk afterwards.
MAX_LOG_BYTES: Final = 64 * 1024 * 1024
FAULT: Final = (
    "This file was missing in two listings of the storage: put it back under the same name, or "
    "delete the item."
)
CLAIMS: Final = Claims(SyncRun, "claim")
_TABLE: Final = MediaItem._meta.db_table


@dataclass(slots=True)
class Batch:
    """The objects and rows for one transaction, from `diff.compare`."""

    added: list[Listed] = field(default_factory=list)
    changed: list[tuple[Listed, Row]] = field(default_factory=list)
    back: list[int] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.added) + len(self.changed) + len(self.back) + len(self.absent)


def rows(after: str, began: datetime) -> Iterator[Row]:
    """Yields the items behind the key `after`, by key, for a sync begun at `began`.

    Each page is a separate query: a long cursor would block SQLite's log, or hold a snapshot.
    """
    page = (
        "SELECT key, etag, size_bytes, id, misses, missing_since IS NOT NULL, "  # noqa: S608 - names of ours; values are parameters
        f"added_at >= %s FROM {_TABLE} WHERE key > %s ORDER BY key LIMIT {PAGE}"
    )
    at = connection.ops.adapt_datetimefield_value(began)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(page, [at, after])
            page_rows = cursor.fetchall()
        yield from map(Row._make, page_rows)
        if len(page_rows) < PAGE:
            return
        after = page_rows[-1][0]


def count_present() -> int:
    """Returns the number of items that are not marked as missing."""
    return (
        MediaItem.objects.count()
        - MediaItem.objects.filter(missing_since__isnull=False).count()
    )


def write(run: SyncRun, batch: Batch) -> float:
    """Writes the batch, and the run's cursor and counts, in one transaction.

    A worker that is killed at any moment has written both or neither. The counts of added and
    changed items are those of the database. Returns seconds. Raises `ClaimLostError`.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # SQLite's lock is held from here: waiting for it is not counted.
        began = time.monotonic()
        if batch.added:
            run.added += _add(cursor, batch.added, timezone.now())
        if batch.changed:
            run.changed += _note_changed(cursor, run, batch.changed)
        if batch.back:
            run.changed += _mark_present(batch.back)
        if batch.absent:
            run.absent += _note_absent(cursor, run, batch.absent)
        touch(run)
    return time.monotonic() - began


def _note_absent(cursor: CursorWrapper, run: SyncRun, absent: list[int]) -> int:
    """Records items as absent, if they still exist: they may be deleted meanwhile."""
    statement = (
        f"INSERT INTO {Absence._meta.db_table} (run_id, item_id, before, etag) "  # noqa: S608 - names of ours; values are parameters
        f"SELECT %s, id, '', '' FROM {_TABLE} WHERE id = %s"
    )
    if connection.vendor == "postgresql":
        # They must not be deleted before this is committed, either.
        statement += " FOR KEY SHARE"
    cursor.executemany(statement, [(run.pk, pk) for pk in absent])
    return int(cursor.rowcount)


def _note_changed(
    cursor: CursorWrapper, run: SyncRun, changed: list[tuple[Listed, Row]]
) -> int:
    """Records items with another version in the storage."""
    statement = (
        f"INSERT INTO {Absence._meta.db_table} "  # noqa: S608 - names of ours; values are parameters
        "(run_id, item_id, before, etag, size_bytes) "
        f"SELECT %s, id, %s, %s, %s FROM {_TABLE} WHERE id = %s"
    )
    if connection.vendor == "postgresql":
        statement = statement.replace(", %s FROM", ", %s::bigint FROM") + " FOR KEY SHARE"
    values = [
        (run.pk, row.etag, listed.etag, listed.size_bytes, row.pk) for listed, row in changed
    ]
    cursor.executemany(statement, values)
    return int(cursor.rowcount)


def noted_changes(run: SyncRun) -> int:
    return Absence.objects.filter(run=run).exclude(etag="").count()


def touch(run: SyncRun) -> None:
    """Writes the run's progress, which is a heartbeat too. Raises `ClaimLostError`."""
    run.heartbeat_at = timezone.now()
    names = (
        *("after", "seen", "added", "changed", "absent", "gone", "unchanged"),
        *("left_out", "growing", "heartbeat_at"),
    )
    mine = CLAIMS.mine(run).filter(status=SyncRun.Status.RUNNING)
    values = {name: getattr(run, name) for name in names}
    if not mine.update(**values, differences=run.differences):
        raise ClaimLostError


def _add(cursor: CursorWrapper, listed: list[Listed], now: datetime) -> int:
    added_at = connection.ops.adapt_datetimefield_value(now)
    new = [(one.key, title_of(one.key), one.size_bytes, one.etag) for one in listed]
    # Each page of the titles' index is visited once: 10 % faster than in the order of keys.
    new.sort(key=itemgetter(1))
    if connection.vendor == "postgresql":
        # One statement: a message per row doubles the time.
        source = "unnest(%s::text[], %s::text[], %s::bigint[], %s::text[]) AS n"
        columns = [list(column) for column in zip(*new, strict=True)]
        cursor.execute(_insert("SELECT n.*, {} FROM " + source), [added_at, *columns])  # noqa: S608 - names of ours; values are parameters
    else:
        statement = _insert("VALUES (%s, %s, %s, %s, {})")
        cursor.executemany(statement, [(*row, added_at) for row in new])
    return int(cursor.rowcount)


def _insert(source: str) -> str:
    """Returns the statement for new items; items added meanwhile stay unchanged.

    `source` provides the first four columns and has `{}` for the rest: the time of addition and
    the defaults of all other columns as literals, which saves thirty parameters per row.
    """
    columns = ["key", "title", "size_bytes", "etag", "added_at"]
    rest = ["%s" if connection.vendor == "sqlite" else "%s::timestamptz"]
    for column in MediaItem._meta.concrete_fields:
        name, default = column.column, column.get_default()
        if name is None or name in columns or column.primary_key or default is None:
            continue
        # `title_of` made the title from the key.
        rest.append(_literal(False if name == "titled" else default))
        columns.append(name)
    names = ", ".join(f'"{name}"' for name in columns)
    return (
        f"INSERT INTO {_TABLE} ({names}) {source.format(', '.join(rest))} "
        "ON CONFLICT (key) DO NOTHING"
    )


def _literal(default: object) -> str:
    if isinstance(default, bool):
        return "TRUE" if default else "FALSE"
    if isinstance(default, int):
        return str(int(default))
    text = str(default)
    if not text.replace("_", "").isalnum() and text:
        raise TypeError(f"{default!r} is no default for a statement.")
    return f"'{text}'"


def _change(changed: list[Absence]) -> int:
    """Marks items for inspection. Their prepared copies are played until it is done.

    Only rows that are as they were read: a later change has precedence. Returns how many.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {_TABLE} SET size_bytes = %s, etag = %s, status = 'new', "  # noqa: S608 - names of ours; values are parameters
            "fault = '', probed_at = NULL, probe_claimed_at = NULL, probe_attempts = 0, "
            "misses = 0, missing_since = NULL WHERE id = %s AND etag = %s",
            [(note.size_bytes, note.etag, note.item_id, note.before) for note in changed],
        )
        return int(cursor.rowcount) if changed else 0


def _mark_present(ids: list[int]) -> int:
    """Restores items with unchanged content: earlier results stay valid. Returns how many."""
    marked = 0
    ready = PreparedCopy.objects.filter(item=OuterRef("pk"), status=PreparedCopy.Status.READY)
    for start in range(0, len(ids), 500):
        items = MediaItem.objects.filter(pk__in=ids[start : start + 500])
        marked += items.filter(missing_since__isnull=False).update(
            status=Case(
                When(probed_at=None, then=Value(MediaItem.Status.NEW)),
                When(Exists(ready), then=Value(MediaItem.Status.READY)),
                default=Value(MediaItem.Status.PROBED),
            ),
            fault="",
            misses=0,
            missing_since=None,
            probe_claimed_at=None,
            probe_attempts=0,
        )
        items.filter(misses__gt=0).update(misses=0)
    return marked


def settle_absences(run: SyncRun) -> float:
    """Applies one batch of the changes that the run recorded.

    Changed items are marked for inspection. An absence counts as a miss, and a second miss
    marks the item as missing. A record is removed in the transaction that applies it: a resumed
    run applies none twice. Returns seconds; 0 if no record was left. Raises `ClaimLostError`.
    """
    with transaction.atomic():
        began = time.monotonic()
        notes = list(Absence.objects.filter(run=run).order_by("pk")[:1000])
        if not notes:
            return 0.0
        for start in range(0, len(notes), 500):
            some = notes[start : start + 500]
            changed = [note for note in some if note.etag]
            # The others were changed meanwhile.
            run.changed -= len(changed) - _change(changed)
            items = MediaItem.objects.filter(
                pk__in=[note.item_id for note in some if not note.etag], missing_since=None
            )
            items.update(misses=F("misses") + 1)
            enough = items if run.accept_gone else items.filter(misses__gte=2)
            lost = list(enough.values_list("pk", flat=True))
            run.gone += MediaItem.objects.filter(pk__in=lost).update(
                status=MediaItem.Status.FAULT, fault=FAULT, missing_since=timezone.now()
            )
            events.faults(lost, FAULT)
            Absence.objects.filter(pk__in=[note.pk for note in some]).delete()
        touch(run)
    return time.monotonic() - began


def forget_absences() -> None:
    """Removes the records of unsuccessful syncs, in batches."""
    over = SyncRun.objects.exclude(status=SyncRun.Status.RUNNING).values("pk")
    notes = Absence.objects.filter(run__in=over)
    while some := list(notes.values_list("pk", flat=True)[:500]):
        Absence.objects.filter(pk__in=some).delete()


@contextmanager
def many_writes() -> Iterator[None]:
    """Tunes SQLite for a sync, on this connection and only during the block."""
    # Within an outer transaction the log can't be checkpointed.
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        before = cursor.execute("PRAGMA cache_size").fetchone()[0]
        cursor.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        cursor.execute("PRAGMA wal_autocheckpoint = 0")
        cursor.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
    try:
        yield
    finally:
        checkpoint()
        with connection.cursor() as cursor:
            # SQLite's default, which opening the database sets too.
            cursor.execute("PRAGMA wal_autocheckpoint = 1000")
            cursor.execute(f"PRAGMA cache_size = {before}")


def checkpoint() -> None:
    """Moves SQLite's log into the database file. Blocks no writer."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
