"""The one door to a server that translates, by LibreTranslate's API.

`GET /languages` tells which it knows and into which it translates each; `POST /translate` takes
a list of texts (`q`) and answers with as many (`translatedText`), or with `error`. The key goes
in the body. Source: https://docs.libretranslate.com, version 1.6.
"""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
)

from media_library.downloads.errors import plain
from media_library.downloads.subtitles import Cue
from streamsite.security.secret import Secret

#: Seconds for one answer, and for a film's subtitles in one language. While an answer is waited
#: for the job is not heard of: less than recovery.SILENT.
ANSWER: Final = 30.0
PATIENCE: Final = 900.0
#: Characters and texts of one question: what public servers take.
LONGEST: Final = 2000
MOST: Final = 25
#: Bytes of an answer.
LARGEST: Final = 4 << 20
#: Characters of a line on the screen.
WIDTH: Final = 42


class TranslateError(Exception):
    """There is no translation. `str()` says why; no key and no address is in it."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    key: Secret

    def translate(
        self, cues: Sequence[Cue], source: str, target: str, pulse: Callable[[], None]
    ) -> list[Cue]:
        """The same cues in another language; `pulse` is called before each question.

        Raises `TranslateError`, and what `pulse` raises.
        """
        pulse()
        known = self._asked("languages")
        pair = codes(known, source, target)
        made: list[Cue] = []
        until = time.monotonic() + PATIENCE
        for batch in batches(cues):
            pulse()
            if time.monotonic() > until:
                raise TranslateError(f"it takes longer than {PATIENCE:.0f} s.")
            made += self._batch(batch, *pair)
        return made

    def _batch(self, cues: Sequence[Cue], source: str, target: str) -> Iterator[Cue]:
        asked = {
            "q": [" ".join(cue.lines) for cue in cues],
            "source": source,
            "target": target,
            "format": "text",
        }
        if key := self.key.reveal():
            asked["api_key"] = key
        answer = self._asked("translate", asked)
        texts = answer.get("translatedText") if isinstance(answer, dict) else None
        if not isinstance(texts, list) or len(texts) != len(cues):
            raise TranslateError("its answer has not as many texts as were asked for.")
        for cue, text in zip(cues, texts, strict=True):
            if lines := textwrap.wrap(str(text), WIDTH):
                yield replace(cue, lines=tuple(lines))

    def _asked(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = Request(  # noqa: S310 - the settings let http and https pass alone
            f"{self.url.rstrip('/')}/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Accept": "application/json"},
        )
        try:
            with _opener.open(request, timeout=ANSWER) as answer:
                return json.loads(answer.read(LARGEST))
        except HTTPError as error:
            raise TranslateError(f"HTTP {error.code}. {self._said(error)}") from None
        except (OSError, HTTPException) as error:
            # Its words may hold the address.
            raise TranslateError(f"it can't be reached: {type(error).__name__}.") from None
        except ValueError:
            raise TranslateError("its answer can't be read.") from None

    def _said(self, error: HTTPError) -> str:
        """Its own words, without the key should it repeat that."""
        try:
            told = str(json.loads(error.read(10_000))["error"])
        except (OSError, HTTPException, ValueError, LookupError, TypeError):
            return ""
        key = self.key.reveal()
        return plain(told.replace(key, "…") if key else told)


def codes(known: Any, source: str, target: str) -> tuple[str, str]:
    """Both languages by the server's names: pt-BR is pt where it knows no closer. Pure.

    `known`: its answer to `GET /languages`. Raises `TranslateError`.
    """
    try:
        targets = {str(each["code"]): [str(one) for one in each["targets"]] for each in known}
    except (LookupError, TypeError):
        raise TranslateError("its list of languages can't be read.") from None
    begin = _nearest(source, list(targets))
    if not begin:
        raise TranslateError(f"it does not know {source}.")
    end = _nearest(target, targets[begin])
    if not end:
        raise TranslateError(f"it does not translate {source} into {target}.")
    return begin, end


def _nearest(language: str, known: Sequence[str]) -> str:
    names = {each.lower(): each for each in known}
    low = language.lower()
    return names.get(low) or names.get(low.partition("-")[0], "")


def batches(cues: Sequence[Cue]) -> Iterator[list[Cue]]:
    """So many at once as a server takes. Pure."""
    batch: list[Cue] = []
    size = 0
    for cue in cues:
        length = sum(len(line) + 1 for line in cue.lines)
        if batch and (len(batch) == MOST or size + length > LONGEST):
            yield batch
            batch, size = [], 0
        batch.append(cue)
        size += length
    if batch:
        yield batch


_opener: Final = OpenerDirector()
# No redirects: the key goes where the settings say, or nowhere.
for _handler in (HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor):
    _opener.add_handler(_handler())
