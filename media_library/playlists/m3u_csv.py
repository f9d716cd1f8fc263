"""M3U and CSV: playlists and what people know of items, as other programs write them. Pure.

An M3U names files, a CSV has columns of the library; both are read line by line, and a line
that can't be used is told with its number, while all others are.
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

#: Characters of a key: what its column takes.
LONGEST_KEY: Final = 1024
#: Lines of one file, its head included.
MOST_LINES: Final = 20_000
#: Bytes of one file: so many lines with long names, in two bytes each letter.
LARGEST: Final = 4 * 1024 * 1024
#: Characters of a line, or of a cell: a key in an address, each of its letters quoted.
LONGEST_LINE: Final = 4096
#: Characters of a line of a CSV: some cells as long as that.
_LONGEST_ROW: Final = 8 * LONGEST_LINE
#: Folders and file of a path that may be a key.
DEEPEST: Final = 32
#: Columns of a CSV that can be read. Others are left alone.
COLUMNS: Final = ("key", "title", "tags", "age_rating", "source", "rights", "seconds")
#: A spreadsheet takes a cell that begins so for a formula; text that itself begins with
#: apostrophes before it must not lose one.
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
_LINE_END: Final = re.compile(r"\r|\n")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE: Final = re.compile(r"^[A-Za-z]:[\\/]")


class ExchangeError(Exception):
    """The file can't be read at all. `str()` of it is a sentence for whoever brought it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One item of the file."""

    number: int
    text: str
    #: Keys that it may mean as they stand.
    whole: tuple[str, ...]
    #: What the file says of it, by column; a column that it does not have is not there.
    said: Mapping[str, str] = field(default_factory=dict)
    #: Paths that may have a key at their end.
    paths: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Keys that it may mean, the likeliest first.

        Made when asked for: those of all lines of a file would take hundreds of megabytes.
        """
        found = [*self.whole, *(name for path in self.paths for name in _within(path))]
        return tuple(dict.fromkeys(name for name in found if name and len(name) <= LONGEST_KEY))


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that was left out. Number 0: the file as a whole."""

    number: int
    sentence: str

    def __str__(self) -> str:
        return f"Line {self.number}: {self.sentence}" if self.number else self.sentence


@dataclass(frozen=True, slots=True)
class Contents:
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...] = ()
    #: Of the playlist, where the file has one.
    name: str = ""
    is_playlist: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """What is written of an item."""

    key: str
    title: str
    tags: Sequence[str] = ()
    age_rating: int | None = None
    source: str = ""
    rights: str = ""
    seconds: float | None = None


def decoded(content: bytes) -> str:
    """Text in UTF-8, with or without its mark, or as Windows wrote it.

    Raises `ExchangeError`.
    """
    if b"\0" in content:
        raise ExchangeError("This is no text: send an M3U or a CSV in UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read(content: bytes, *, folder: str = "", host: str = "") -> Contents:
    """An M3U or a CSV, by what is in it.

    `folder` is where the file itself lies in the library, as a prefix of keys; `host` is the
    one whose addresses are the library's own. Raises `ExchangeError`.
    """
    if len(content) > LARGEST:
        raise ExchangeError(f"The file is larger than {LARGEST >> 20} MiB: split it.")
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
        if len(raw) > LONGEST_LINE:
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
            whole, paths = _meant(raw, folder, host)
        except ExchangeError as error:
            problems.append(Problem(number, str(error)))
        else:
            said = {"title": title} if title else {}
            lines.append(Line(number, raw, whole, said, paths))
        title = ""
    return Contents(tuple(lines), tuple(problems), name, is_playlist=True)


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    if text.count("\n") >= MOST_LINES:
        raise ExchangeError(f"The file has more than {MOST_LINES:,} lines: split it.")
    # Not splitlines(), which also breaks at characters that a name may have.
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        yield number, line.removesuffix("\r\n").removesuffix("\n")


def _too_long(what: str) -> str:
    return f"{what} is longer than {LONGEST_LINE:,} characters: shorten it."


def _meant(line: str, folder: str, host: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys that a line of an M3U may be, and paths that may have one at their end.

    Raises `ExchangeError` for a foreign address.
    """
    path = line.strip()
    if not _SCHEME.match(line):
        return (line, path, folder + path), (path, unquote(path))
    try:
        address = urlsplit(path)
        asked = address.hostname or ""
    except ValueError:
        raise ExchangeError("This is no proper address: look at it.") from None
    if address.scheme.lower() == "file":
        # A "#" or "?" of the name is quoted in a proper address, and meant if not.
        plain = path[len("file://") :]
        return (unquote(plain).lstrip("/"),), (unquote(plain), plain)
    if host and address.netloc.lower() == host.lower():
        return (), (unquote(address.path),)
    raise ExchangeError(
        f"{address.scheme}://{asked}/… is another host's: only files of the library can be "
        "played. Upload it first."
    )


def _within(path: str) -> list[str]:
    """The path below each of its folders: which of them the library begins with is unknown."""
    plain = _DRIVE.sub("", path)
    found = []
    for each in dict.fromkeys((plain, plain.replace("\\", "/"))):
        parts = [part for part in each.split("/") if part not in {"", "."}][-DEEPEST:]
        found += ["/".join(parts[start:]) for start in range(len(parts))]
    return found


def write_m3u(name: str, rows: Iterable[Row]) -> str:
    lines = ["#EXTM3U", f"#PLAYLIST:{one_line(name)}"]
    for row in rows:
        seconds = -1 if row.seconds is None else round(row.seconds)
        lines += [f"#EXTINF:{seconds},{one_line(row.title)}", _path(row.key)]
    return "\n".join(lines) + "\n"


def _path(key: str) -> str:
    """The key as a path; as an address where a reader would not take it for one."""
    odd = key.startswith("#") or key.strip() != key or not key.isprintable()
    return f"file:///{quote(key)}" if odd or _SCHEME.match(key) else key


# ---- CSV -------------------------------------------------------------------------------------


def _head(text: str) -> str:
    # As much as can be a head: csv takes no longer cell than 128 kB.
    return _LINE_END.split(text.lstrip(), maxsplit=1)[0][:LONGEST_LINE]


def _delimiter(head: str) -> str | None:
    """What stands between the columns, told by the head that has a "key"."""
    for mark in ",;\t":
        names = next(csv.reader([head], delimiter=mark), [])
        if "key" in (name.strip().lower() for name in names):
            return mark
    return None


def read_csv(text: str) -> Contents:
    """Columns that are there are meant, an empty cell too. Raises `ExchangeError`."""
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
            if len(lines) + len(problems) >= MOST_LINES:
                raise ExchangeError(f"The file has more than {MOST_LINES:,} lines: split it.")
            if cut or any(len(cell) > LONGEST_LINE for cell in cells):
                problems.append(Problem(reader.line_num, _too_long("A cell of it")))
                cut.clear()
                continue
            said = {
                name: _plain(cell)
                for name, cell in zip(head, cells, strict=False)
                if name in COLUMNS
            }
            key = said.pop("key", "")
            if key:
                lines.append(Line(reader.line_num, key, (key, key.strip()), said))
            elif any(cells):
                problems.append(Problem(reader.line_num, "It has no key."))
    except csv.Error as error:
        problems.append(Problem(reader.line_num, f"From here on it can't be read: {error}."))
    return Contents(tuple(lines), tuple(problems))


def _rows(text: str, cut: list[int]) -> Iterator[str]:
    """The lines of a CSV; of one that is far too long only its end, and its number in `cut`."""
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if len(line) > _LONGEST_ROW:
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
    """The cell as text that no spreadsheet runs."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def join_tags(tags: Iterable[str]) -> str:
    out = io.StringIO()
    listed = list(tags)
    if listed:
        csv.writer(out, delimiter=";", lineterminator="").writerow(listed)
    text = out.getvalue()
    # One tag with a comma: the semicolon says that it is one.
    return f"{text};" if "," in text and ";" not in text else text


def split_tags(text: str) -> list[str]:
    """Tags between semicolons, or between commas where there is no semicolon."""
    mark = ";" if ";" in text or "," not in text else ","
    cells = next(csv.reader([text], delimiter=mark, skipinitialspace=True), [])
    return list(dict.fromkeys(cell.strip() for cell in cells if cell.strip()))
