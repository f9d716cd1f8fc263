"""Which items a page of the library shows, in bounded time however many there are.

Every list is walked along the index of its order (see `MediaItem.Meta.indexes`), which covers
the filters. A database without statistics would rather take the index of a filter and sort all
that it finds: two seconds for a million rows. Where few rows match (a folder, a tag), these are
taken first instead.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Exists, F, Func, OuterRef, Q, QuerySet
from django.db.models.sql.compiler import SQLCompiler

from media_library.models import MediaItem
from media_library.search.query import condition, matching

Items = QuerySet[MediaItem]

#: Items of a filtered list that can be reached by turning pages: who has more narrows it down.
REACH: Final = 10_000
#: Rows that are quicker sorted than met by chance on the walk along an order.
FEW: Final = 50_000
#: Folders shown of one folder.
FOLDERS: Final = 200
#: Keys read in a folder on the way from one of its folders to the next, at once and in all.
STRIDE: Final = 500
LOOKED_AT: Final = 20_000

ORDERS: Final[dict[str, tuple[str, ...]]] = {
    "title": ("title", "pk"),
    "newest": ("-added_at", "-pk"),
    "longest": ("-duration_seconds", "-pk"),
    "shortest": ("duration_seconds", "pk"),
}
#: Value, words, seconds from, seconds below.
LENGTHS: Final[tuple[tuple[str, str, float | None, float | None], ...]] = (
    ("short", "Under 1 min", None, 60),
    ("clip", "1 to 10 min", 60, 600),
    ("show", "10 to 45 min", 600, 2700),
    ("film", "45 min to 2 h", 2700, 7200),
    ("long", "2 h and longer", 7200, None),
)
ADDED: Final = {"1": "24 hours", "7": "7 days", "30": "30 days"}


class Plain(Func):
    """The column without its index: a unary plus makes SQLite walk the list's order instead."""

    template = "%(expressions)s"

    def as_sqlite(self, compiler: SQLCompiler, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template="+%(expressions)s", **context)


def _where(items: Items, column: str, **lookups: object) -> Items:
    """`_where(items, "status", exact="new")`, by the plain column."""
    name = f"plain_{column}"
    found = {f"{name}__{lookup}": value for lookup, value in lookups.items()}
    field: Any = MediaItem._meta.get_field(column)  # noqa: SLF001 - documented, whatever its name
    return items.alias(**{name: Plain(F(column), output_field=field)}).filter(**found)


def with_status(items: Items, status: str) -> Items:
    return _where(items, "status", exact=status)


def rated(items: Items, rating: int | None) -> Items:
    """None: those that nobody has rated."""
    if rating is None:
        return _where(items, "age_rating", isnull=True)
    return _where(items, "age_rating", exact=rating)


def added_since(items: Items, moment: datetime) -> Items:
    return _where(items, "added_at", gte=moment)


def within_days(items: Items, days: str, now: datetime) -> Items:
    return added_since(items, now - timedelta(days=int(days)))


def lasting(items: Items, seconds: float | None, below: float | None) -> Items:
    bounds = {"gte": seconds, "lt": below}
    return _where(
        items, "duration_seconds", **{k: v for k, v in bounds.items() if v is not None}
    )


def with_sound(items: Items, *, sound: bool) -> Items:
    """Of those that were looked into."""
    known = _where(items, "duration_seconds", isnull=False)
    name = Q(plain_audio_codec="")
    column: Any = MediaItem._meta.get_field("audio_codec")  # noqa: SLF001
    plain = known.alias(plain_audio_codec=Plain(F("audio_codec"), output_field=column))
    return plain.filter(~name if sound else name)


# ---- what may be few and may be many ---------------------------------------------------------


def few(rows: QuerySet[Any]) -> bool:
    return rows[: FEW + 1].count() <= FEW


def in_folder(items: Items, folder: str) -> Items:
    """All below the folder, whose name ends with a slash."""
    inside = MediaItem.objects.filter(key__gte=folder, key__lt=_after(folder))
    if few(inside.order_by()):
        return items.filter(pk__in=inside.order_by().values("pk"))
    return _where(items, "key", gte=folder, lt=_after(folder))


def tagged(items: Items, name: str) -> Items:
    links = MediaItem.tags.through.objects.filter(tag__name=name)
    if few(links):
        return items.filter(pk__in=links.values("mediaitem"))
    return items.filter(Exists(links.filter(mediaitem=OuterRef("pk"))))


def not_tagged(items: Items, name: str) -> Items:
    links = MediaItem.tags.through.objects.filter(tag__name=name)
    if few(links):
        return items.exclude(pk__in=links.values("mediaitem"))
    return items.filter(~Exists(links.filter(mediaitem=OuterRef("pk"))))


def searched(items: Items, text: str) -> Items:
    """Those whose title or key has all words of the text; all for an empty one."""
    if not text.strip():
        return items
    if items.query.where:
        found = list(items.order_by().values_list("pk", flat=True)[: REACH + 1])
        if len(found) <= REACH:
            # Read these few, rather than walk through the library a second time.
            those = MediaItem.objects.filter(condition(text), pk__in=found)
            return those.order_by(*items.query.order_by)
    return matching(items, text)


# ---- pages -----------------------------------------------------------------------------------


def reachable(items: Items) -> list[int]:
    """The ids in their order, at most `REACH` and one: that one says that there are more."""
    return list(items.values_list("pk", flat=True)[: REACH + 1])


def rows(ids: list[int], *columns: str) -> list[MediaItem]:
    """These items in this order; who is gone by now is left out."""
    found = MediaItem.objects.only(*columns).order_by().in_bulk(ids)
    return [found[pk] for pk in ids if pk in found]


# ---- folders ---------------------------------------------------------------------------------


def _after(folder: str) -> str:
    """The first key behind all of the folder's: "0" follows "/" in the order of bytes."""
    return folder[:-1] + "0"


def folders(parent: str) -> tuple[list[str], bool]:
    """Names of the folders in a folder ("": the top), and whether there are more.

    Folders are no rows: they are found by leaping from each one's first key to the first key
    behind it. Bounded, for a folder may hold a million files and none or all in one of its own.
    """
    found: list[str] = []
    looked_at = 0
    with connection.cursor() as cursor:
        keys = partial(_keys, cursor, _after(parent) if parent else "")
        start = parent
        stride = 1
        while len(found) < FOLDERS and looked_at < LOOKED_AT:
            read = keys(start, stride)
            looked_at += len(read)
            name = next((key[len(parent) :].partition("/")[0] for key in read
                         if "/" in key[len(parent) :]), None)  # fmt: skip
            if name is not None:
                found.append(name)
                start, stride = _after(f"{parent}{name}/"), 1
            elif len(read) < stride:
                return found, False
            else:
                # Files: many at once, up to the next folder. No key has a lower character.
                start, stride = f"{read[-1]}\x01", STRIDE
        return found, bool(keys(start, 1))


def _keys(cursor: CursorWrapper, end: str, start: str, count: int) -> list[str]:
    """So many keys from `start` on, below `end`.

    Straight to the database: a leap takes 0.03 ms, and building its query ten times that.
    """
    table = connection.ops.quote_name(MediaItem._meta.db_table)  # noqa: SLF001
    below = "AND key < %s" if end else ""
    statement = f"SELECT key FROM {table} WHERE key >= %s {below} ORDER BY key LIMIT %s"  # noqa: S608
    cursor.execute(statement, [start, *([end] if end else []), count])
    return [key for (key,) in cursor.fetchall()]
