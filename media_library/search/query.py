"""Search by words: all of them must be in the title or the key.

SQLite: there is no trigram index. Measured with a million rows, FTS5 would cost 12 µs per
object that a sync adds (a third of its total time) and saves little: scanning the keys' index
takes 0.15 s. So most searches are one such scan. A title that was made from the key adds no
words to it; the others have an index of their own. A common word is found soon on the walk
along the list's order, so that walk is used then. PostgreSQL: a trigram index is used, if the
extension can be installed.
"""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from typing import Final

from django.db import connection
from django.db.models import F, Max, Q, QuerySet
from django.db.models.functions import Collate
from django.db.models.lookups import IContains

from media_library.models import MediaItem

#: Further or longer words are ignored.
MAX_WORDS: Final = 10
MAX_WORD_CHARS: Final = 100
#: PostgreSQL's collation with the upper and lower case of every script (ICU's root).
ANY_SCRIPT: Final = "und-x-icu"
#: Rows sampled to estimate the matches, and the share from which they are many.
SAMPLE_ROWS: Final = 400
MANY_SHARE: Final = 0.15


def matching(items: QuerySet[MediaItem], text: str) -> QuerySet[MediaItem]:
    """Filters by all words of the text, in title or key, ignoring case.

    No filter for an empty text. The queryset can be filtered, ordered and sliced as before.
    """
    words = _words(text)
    if not words:
        return items
    by_row = _all(words, "title", "key")
    if connection.vendor != "sqlite" or _many(by_row):
        return items.filter(by_row)
    by_key = MediaItem.objects.order_by().filter(_all(words, "key"))
    by_title = MediaItem.objects.order_by().filter(by_row, titled=True)
    return items.filter(pk__in=by_key.values("pk").union(by_title.values("pk"), all=True))


def condition(text: str) -> Q:
    """Returns the condition for each row: for a part of the library that is already small."""
    words = _words(text)
    return _all(words, "title", "key") if words else Q()


def _words(text: str) -> list[str]:
    # PostgreSQL stores no NUL, so nothing contains one.
    words = (word[:MAX_WORD_CHARS].replace("\0", "") for word in text.split()[:MAX_WORDS])
    return [word for word in words if word]


def _all(words: list[str], *columns: str) -> Q:
    return reduce(and_, (reduce(or_, _any(word, columns)) for word in words))


def _any(word: str, columns: tuple[str, ...]) -> list[Q]:
    if connection.vendor == "postgresql":
        # As migration 0010 indexes them. The word is folded here: the database's own collation
        # may fold ASCII only, as the keys' does.
        folded = word.upper()
        return [Q(IContains(Collate(F(column), ANY_SCRIPT), folded)) for column in columns]
    # SQLite's LIKE folds ASCII only.
    forms = {word} if word.isascii() else {word, word.lower(), word.capitalize()}
    return [Q(**{f"{column}__icontains": form}) for column in columns for form in forms]


def _many(condition: Q) -> bool:
    """Returns whether a large share matches, by a sample of rows spread over the table."""
    last = MediaItem.objects.aggregate(last=Max("pk"))["last"] or 0
    step = max(1, last // SAMPLE_ROWS)
    some = MediaItem.objects.order_by().filter(pk__in=list(range(last, 0, -step))[:SAMPLE_ROWS])
    return some.filter(condition).count() >= MANY_SHARE * max(1, some.count())
