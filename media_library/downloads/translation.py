"""Client of a translation server with LibreTranslate's API.

`GET /languages` lists its languages and the targets of each; `POST /translate` takes a list of
texts (`q`) and answers with as many (`translatedText`), or with `error`. The key is part of the
body. Source: https://docs.libretranslate.com, version 1.6.
"""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from media_library.downloads.errors import plain
from media_library.downloads.subtitles import Cue
from streamsite.security.secret import Secret

#: Seconds per answer, and for a video's subtitles in one language. While waiting for an answer
#: the job sends no heartbeat: less than recovery.HEARTBEAT_TIMEOUT.
ANSWER_TIMEOUT_S: Final = 30.0
TOTAL_TIMEOUT_S: Final = 900.0
#: Characters and texts per request: limits of public servers.
MAX_BATCH_CHARS: Final = 2000
MAX_BATCH_TEXTS: Final = 25
#: Maximum bytes of an answer.
MAX_ANSWER_BYTES: Final = 4 << 20
#: Characters of a line on the screen.
LINE_CHARS: Final = 42


class TranslateError(Exception):
    """The translation failed. `str()` says why, without key and address."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    key: Secret

    def translate(
        self, cues: Sequence[Cue], source: str, target: str, pulse: Callable[[], None]
    ) -> list[Cue]:
        """Translates the cues; calls `pulse` before each request.

        Raises `TranslateError`, and errors of `pulse`.
        """
        pulse()
        languages = self._request("languages")
        pair = codes(languages, source, target)
        made: list[Cue] = []
        until = time.monotonic() + TOTAL_TIMEOUT_S
        for batch in batches(cues):
            pulse()
            if time.monotonic() > until:
                raise TranslateError(f"it takes longer than {TOTAL_TIMEOUT_S:.0f} s.")
            made += self._batch(batch, *pair)
        return made

    def _batch(self, cues: Sequence[Cue], source: str, target: str) -> Iterator[Cue]:
        payload = {
            "q": [" ".join(cue.lines) for cue in cues],
            "source": source,
            "target": target,
            "format": "text",
        }
        if key := self.key.reveal():
            payload["api_key"] = key
        answer = self._request("translate", payload)
        texts = answer.get("translatedText") if isinstance(answer, dict) else None
        if not isinstance(texts, list) or len(texts) != len(cues):
            raise TranslateError("its answer has a wrong number of texts.")
        for cue, text in zip(cues, texts, strict=True):
            if lines := textwrap.wrap(str(text), LINE_CHARS):
                yield replace(cue, lines=tuple(lines))

    def _request(self, path: str, body: dict[str, Any] | None = None) -> Any:
        # Loaded where it is used: 5 MB a process.
        import requests  # noqa: PLC0415 - see above
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - see above

        try:
            # No redirects: the key is sent only to the configured server.
            with requests.request(
                "GET" if body is None else "POST",
                f"{self.url.rstrip('/')}/{path}",
                json=body,
                timeout=ANSWER_TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as answer:
                content = answer.raw.read(MAX_ANSWER_BYTES, decode_content=True)
        except (requests.RequestException, HTTPError) as error:
            # The error's text may contain the address.
            raise TranslateError(f"it can't be reached: {type(error).__name__}.") from None
        if answer.status_code != HTTPStatus.OK:
            raise TranslateError(f"HTTP {answer.status_code}. {self._error_text(content)}")
        try:
            return json.loads(content)
        except ValueError:
            raise TranslateError("its answer can't be read.") from None

    def _error_text(self, content: bytes) -> str:
        """Returns the server's error message, without the key if it repeats it."""
        try:
            message = str(json.loads(content)["error"])
        except (ValueError, LookupError, TypeError):
            return ""
        key = self.key.reveal()
        return plain(message.replace(key, "…") if key else message)


def codes(languages: Any, source: str, target: str) -> tuple[str, str]:
    """Returns the server's codes of both languages: pt-BR becomes pt if necessary. Pure.

    `languages`: its answer to `GET /languages`. Raises `TranslateError`.
    """
    try:
        targets = {
            str(entry["code"]): [str(one) for one in entry["targets"]] for entry in languages
        }
    except (LookupError, TypeError):
        raise TranslateError("its list of languages can't be read.") from None
    begin = _nearest(source, list(targets))
    if not begin:
        raise TranslateError(f"it does not support {source}.")
    end = _nearest(target, targets[begin])
    if not end:
        raise TranslateError(f"it does not translate {source} into {target}.")
    return begin, end


def _nearest(language: str, codes: Sequence[str]) -> str:
    names = {code.lower(): code for code in codes}
    low = language.lower()
    return names.get(low) or names.get(low.partition("-")[0], "")


def batches(cues: Sequence[Cue]) -> Iterator[list[Cue]]:
    """Splits the cues into batches within the server's limits. Pure."""
    batch: list[Cue] = []
    size = 0
    for cue in cues:
        length = sum(len(line) + 1 for line in cue.lines)
        if batch and (len(batch) == MAX_BATCH_TEXTS or size + length > MAX_BATCH_CHARS):
            yield batch
            batch, size = [], 0
        batch.append(cue)
        size += length
    if batch:
        yield batch
