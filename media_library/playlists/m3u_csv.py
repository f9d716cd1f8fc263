"""Reads and writes playlists and data about items as M3U and CSV. Pure.

An M3U lists files, a CSV has columns of the library; both are read line by line. An unusable
line is reported with its number, and the others are still used.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from streamsite.security.text import one_line

#: Maximum characters of a key: the size of its column.
MAX_KEY_CHARS: Final = 1024
#: Lines of one file, including its header.
MAX_LINES: Final = 20_000
#: Bytes of one file: that many lines with long names, at two bytes per letter.
MAX_BYTES: Final = 4 * 1024 * 1024
#: Characters of a line, or of a cell: a key in a URL, each of its letters quoted.
MAX_LINE_CHARS: Final = 4096
#: Characters of a line of a CSV: some cells of that length.
_MAX_ROW_CHARS: Final = 8 * MAX_LINE_CHARS
#: Folders and file of a path that may be a key.
MAX_DEPTH: Final = 32
#: Columns of a CSV that are read. Others are ignored.
COLUMNS: Final = ("key", "title", "tags", "age_rating", "source", "rights", "seconds")
#: Spreadsheets take a cell with these first characters for a formula; a text that itself begins
#: with apostrophes before them must not lose one.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
_LINE_END: Final = re.compile(r"\r|\n")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE: Final = re.compile(r"^[A-Za-z]:[\\/]")


class ExchangeError(Exception):
    """The file can't be read at all. `str()` is a sentence for the sender."""


@dataclass(frozen=True, slots=True)
class Line:
    """One item of the file."""

    number: int
    text: str
    #: Complete keys that the line may mean.
    whole: tuple[str, ...]
    #: The line's values by column; columns that the file does not have are missing.
    values: Mapping[str, str] = field(default_factory=dict)
    #: Paths that may have a key at their end.
    paths: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the keys that the line may mean, the most likely first.

        Computed on demand: the candidates of a whole file would take hundreds of megabytes.
        """
        candidates = [*self.whole, *(name for path in self.paths for name in _within(path))]
        return tuple(
            dict.fromkeys(name for name in candidates if name and len(name) <= MAX_KEY_CHARS)
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that was skipped. Number 0: the file as a whole."""

    number: int
    sentence: str

    def __str__(self) -> str:
        return f"Line {self.number}: {self.sentence}" if self.number else self.sentence


@dataclass(frozen=True, slots=True)
class Contents:
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...] = ()
    #: The playlist's name, if the file has one.
    name: str = ""
    is_playlist: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """The values of one item to write."""

    key: str
    title: str
    tags: Sequence[str] = ()
    age_rating: int | None = None
    source: str = ""
    rights: str = ""
    seconds: float | None = None


def decoded(content: bytes) -> str:
    """Decodes UTF-8, with or without its byte order mark, or Windows' code page.

    Raises `ExchangeError`.
    """
    if b"\0" in content:
        raise ExchangeError("This is not a text file: send an M3U or a CSV in UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read(content: bytes, *, folder: str = "", host: str = "") -> Contents:
    """Reads an M3U or a CSV, by its content.

    `folder` is the folder of the file itself in the library, as a prefix of keys; `host` is the
    host of the library's own URLs. Raises `ExchangeError`.
    """
    if len(content) > MAX_BYTES:
        raise ExchangeError(f"The file is larger than {MAX_BYTES >> 20} MiB: split it.")
    text = decoded(content)
    head = _head(text)
    if head.startswith("#EXTM3U"):
        return read_m3u(text, folder=folder, host=host)
    if _delimiter(head) is not None:
        return read_csv(text)
    if any(mark in head for mark in ",;\t") and "key" in head.lower():
        raise ExchangeError("The CSV has no column “key”: name its first line's columns.")
    return read_m3u(text, folder=folder, host=host)


# ---- M3U -------------------------------------------------------------------------------------


def read_m3u(text: str, *, folder: str = "", host: str = "") -> Contents:
    lines: list[Line] = []
    problems: list[Problem] = []
    name, title = "", ""
    for number, raw in _numbered(text):
        if len(raw) > MAX_LINE_CHARS:
            problems.append(Problem(number, _too_long("It")))
            title = ""
            continue
        line = raw.lstrip(" \t")
        if line.startswith("#EXTINF:"):
            title = line.partition(",")[2].strip()
        elif line.startswith("#PLAYLIST:"):
            name = line.partition(":")[2].strip()
        if not line.strip() or line.startswith("#"):
            continue
        try:
            whole, paths = _candidates(raw, folder, host)
        except ExchangeError as error:
            problems.append(Problem(number, str(error)))
        else:
            values = {"title": title} if title else {}
            lines.append(Line(number, raw, whole, values, paths))
        title = ""
    return Contents(tuple(lines), tuple(problems), name, is_playlist=True)


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    if text.count("\n") >= MAX_LINES:
        raise ExchangeError(f"The file has more than {MAX_LINES:,} lines: split it.")
    # Not splitlines(), which also splits at characters that a name may contain.
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        yield number, line.removesuffix("\r\n").removesuffix("\n")


def _too_long(what: str) -> str:
    return f"{what} is longer than {MAX_LINE_CHARS:,} characters: shorten it."


def _candidates(line: str, folder: str, host: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns keys that a line of an M3U may be, and paths that may end with one.

    Raises `ExchangeError` for a foreign URL.
    """
    path = line.strip()
    if not _SCHEME.match(line):
        return (line, path, folder + path), (path, unquote(path))
    try:
        address = urlsplit(path)
        host_name = address.hostname or ""
    except ValueError:
        raise ExchangeError("This is no valid URL: check it.") from None
    if address.scheme.lower() == "file":
        # A "#" or "?" of the name is quoted in a valid URL; otherwise it is part of the name.
        plain = path[len("file://") :]
        return (unquote(plain).lstrip("/"),), (unquote(plain), plain)
    if host and address.netloc.lower() == host.lower():
        return (), (unquote(address.path),)
    raise ExchangeError(
        f"{address.scheme}://{host_name}/… is on another host: only files of the library can "
        "be played. Upload it first."
    )


def _within(path: str) -> list[str]:
    """Returns the path below each of its folders, because the library's root is unknown."""
    plain = _DRIVE.sub("", path)
    paths = []
    for variant in dict.fromkeys((plain, plain.replace("\\", "/"))):
        parts = [part for part in variant.split("/") if part not in {"", "."}][-MAX_DEPTH:]
        paths += ["/".join(parts[start:]) for start in range(len(parts))]
    return paths


def write_m3u(name: str, rows: Iterable[Row]) -> str:
    lines = ["#EXTM3U", f"#PLAYLIST:{one_line(name)}"]
    for row in rows:
        seconds = -1 if row.seconds is None else round(row.seconds)
        lines += [f"#EXTINF:{seconds},{one_line(row.title)}", _path(row.key)]
    return "\n".join(lines) + "\n"


def _path(key: str) -> str:
    """Returns the key as a path; as a URL if a reader would not take it for a path."""
    odd = key.startswith("#") or key.strip() != key or not key.isprintable()
    return f"file:///{quote(key)}" if odd or _SCHEME.match(key) else key


# ---- CSV -------------------------------------------------------------------------------------


def _head(text: str) -> str:
    # As much as can be a header: csv accepts no cell longer than 128 kB.
    return _LINE_END.split(text.lstrip(), maxsplit=1)[0][:MAX_LINE_CHARS]


def _delimiter(head: str) -> str | None:
    """Returns the delimiter with which the header has a "key"."""
    for mark in ",;\t":
        names = next(csv.reader([head], delimiter=mark), [])
        if "key" in (name.strip().lower() for name in names):
            return mark
    return None


def read_csv(text: str) -> Contents:
    """Reads a CSV; a cell of an existing column counts even if it is empty.

    Raises `ExchangeError`.
    """
    lines: list[Line] = []
    problems: list[Problem] = []
    mark = _delimiter(_head(text))
    if mark is None:
        raise ExchangeError("The CSV has no column “key”: name its first line's columns.")
    cut: list[int] = []
    reader = csv.reader(_rows(text.lstrip(), cut), delimiter=mark)
    try:
        head = [name.strip().lower() for name in next(reader)]
    except csv.Error as error:
        raise ExchangeError(f"The CSV's first line can't be read: {error}.") from None
    if cut:
        raise ExchangeError(_too_long("The CSV's first line"))
    try:
        for cells in reader:
            if len(lines) + len(problems) >= MAX_LINES:
                raise ExchangeError(f"The file has more than {MAX_LINES:,} lines: split it.")
            if cut or any(len(cell) > MAX_LINE_CHARS for cell in cells):
                problems.append(Problem(reader.line_num, _too_long("A cell of it")))
                cut.clear()
                continue
            values = {
                name: _plain(cell)
                for name, cell in zip(head, cells, strict=False)
                if name in COLUMNS
            }
            key = values.pop("key", "")
            if key:
                lines.append(Line(reader.line_num, key, (key, key.strip()), values))
            elif any(cells):
                problems.append(Problem(reader.line_num, "It has no key."))
    except csv.Error as error:
        problems.append(Problem(reader.line_num, f"It can't be read from here on: {error}."))
    return Contents(tuple(lines), tuple(problems))


def _rows(text: str, cut: list[int]) -> Iterator[str]:
    """Yields the lines of a CSV; an overlong line becomes empty, with its number in `cut`."""
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if len(line) > _MAX_ROW_CHARS:
            cut.append(number)
            yield "\n"
        else:
            yield line


def write_csv(rows: Iterable[Row]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        rating = "" if row.age_rating is None else str(row.age_rating)
        seconds = "" if row.seconds is None else f"{row.seconds:.3f}"
        tags = join_tags(row.tags)
        cells = (row.key, row.title, tags, rating, row.source, row.rights, seconds)
        writer.writerow([harmless(cell) for cell in cells])
    return out.getvalue()


def harmless(cell: str) -> str:
    """Returns the cell as text that no spreadsheet executes."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def join_tags(tags: Iterable[str]) -> str:
    out = io.StringIO()
    listed = list(tags)
    if listed:
        csv.writer(out, delimiter=";", lineterminator="").writerow(listed)
    text = out.getvalue()
    # A single tag with a comma: the semicolon marks it as one.
    return f"{text};" if "," in text and ";" not in text else text


def split_tags(text: str) -> list[str]:
    """Splits at semicolons, or at commas if there is no semicolon."""
    mark = ";" if ";" in text or "," not in text else ","
    cells = next(csv.reader([text], delimiter=mark, skipinitialspace=True), [])
    return list(dict.fromkeys(cell.strip() for cell in cells if cell.strip()))
