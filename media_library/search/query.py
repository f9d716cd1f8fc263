"""Items by words: all of them must be in the title or the key.

SQLite: no index of trigrams is kept. Measured with a million rows, FTS5 would cost 12 µs for
each object that a sync adds (a third of all it does) and saves little: a walk through the keys'
own index takes 0.15 s. So most searches are one such walk. A title that was made from the key
adds no words to it; the others have an index of their own. What matches a large part of the
library is met soon on the walk along the list's order, so that is taken then.
PostgreSQL: its trigrams do it, where the extension may be installed.
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

#: More words, or longer ones, find nothing else.
MOST_WORDS: Final = 10
LONGEST_WORD: Final = 100
#: PostgreSQL's collation that knows upper and lower case of every script (ICU's root).
ANY_SCRIPT: Final = "und-x-icu"
#: Rows looked at to tell how many match, and the part of them from which that is many.
SAMPLE: Final = 400
MANY: Final = 0.15


def matching(items: QuerySet[MediaItem], text: str) -> QuerySet[MediaItem]:
    """Those of the items whose title or key has all words of the text, in any case.

    All for an empty text. The queryset is as good to filter, order and cut as before.
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
    """The same of each row by itself: for a part of the library that is small already."""
    words = _words(text)
    return _all(words, "title", "key") if words else Q()


def _words(text: str) -> list[str]:
    # PostgreSQL stores no NUL, so nothing has one.
    words = (word[:LONGEST_WORD].replace("\0", "") for word in text.split()[:MOST_WORDS])
    return [word for word in words if word]


def _all(words: list[str], *columns: str) -> Q:
    return reduce(and_, (reduce(or_, _any(word, columns)) for word in words))


def _any(word: str, columns: tuple[str, ...]) -> list[Q]:
    if connection.vendor == "postgresql":
        # As migration 0010 indexes them. The word itself is folded here: the database's own
        # collation may be one that knows ASCII only, as the keys' does.
        folded = word.upper()
        return [Q(IContains(Collate(F(column), ANY_SCRIPT), folded)) for column in columns]
    # SQLite's LIKE folds the case of ASCII only.
    forms = {word} if word.isascii() else {word, word.lower(), word.capitalize()}
    return [Q(**{f"{column}__icontains": form}) for column in columns for form in forms]


def _many(condition: Q) -> bool:
    """Whether a large part of the library matches, by a look at rows evenly spread over it."""
    last = MediaItem.objects.aggregate(last=Max("pk"))["last"] or 0
    step = max(1, last // SAMPLE)
    some = MediaItem.objects.order_by().filter(pk__in=list(range(last, 0, -step))[:SAMPLE])
    return some.filter(condition).count() >= MANY * max(1, some.count())
