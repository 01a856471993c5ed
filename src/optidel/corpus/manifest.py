"""A table that lists the files of a corpus and says what is known of them."""

import codecs
import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import polars as pl

from optidel.corpus.companions import values_beside
from optidel.corpus.groups import FIELDS
from optidel.corpus.walk import Listing, printable
from optidel.errors import InputError
from optidel.progress import say
from optidel.records import Frame, Rejected
from optidel.remote import COLLAPSED, Remote, Root, is_url
from optidel.store import canonical, digest
from optidel.words import counted

COLUMNS = ("path", "group", *FIELDS)
PATHS = ("path", "file_name")
"""Names of the column that says which file, the second being that of Hugging Face image folders."""

SEPARATORS = (",", ";", "\t", "|")
"""Between columns. Excel writes semicolons wherever a comma is the decimal mark."""

SPREADSHEETS = (".xls", ".xlsx", ".xlsm", ".ods", ".numbers")

FORMULA_STARTS = tuple("=+-@\t\r")
"""What makes a spreadsheet take a cell for a formula; exports put an apostrophe before it."""

QUOTED = re.compile(r'"[^"]*"')
"""A column's name in quotes, which may hold a separator."""

COMMENT = "#"
"""Begins a line for people, as pandas, R and many devices write them above a table and between its rows."""

ABSENT = frozenset(["nan", "na", "n/a", "<na>", "none", "null", "#n/a"])
"""What pandas, R and spreadsheets write for a value that is not there, in lower case."""

WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is said of each path: a file relative to the images' folder, or ``file#place`` for one member or
    frame of a file.
    """

    rows: dict[str, dict[str, str]]

    @property
    def digest(self) -> str:
        """Changes with what the table says, not with its format or order."""
        return digest(canonical(self.rows))

    def of(self, frame: Frame) -> Row | None:
        """What is said of a frame, the more precise winning; None where it is not listed."""
        paths = self.paths(frame)
        if not paths:
            return None
        row: dict[str, str] = {}
        for path in paths:
            row |= self.rows[path]
        return row

    def paths(self, frame: Frame) -> list[str]:
        """The rows that speak of a frame, from its file to itself."""
        paths = [frame.source]
        if frame.locator:
            member, _, _ = frame.locator.partition("#")
            paths += [f"{frame.source}#{member}", frame.id]
        return [path for path in dict.fromkeys(paths) if path in self.rows]


def load_manifest(path: Path, root: Root) -> Manifest:
    """Read a CSV or Parquet file with a column ``path`` and any of group, patient, study, series, video,
    centre, label, split.

    A CSV may be as Excel writes it: in UTF-8, UTF-16 or Latin-1, with semicolons or tabs, with backslashes in
    its paths. A row whose path begins with ``#`` is a comment unless there is a file of that name.

    Args:
        path: the table.
        root: the images' folder, or its URL; absolute paths inside it are taken as relative to it.

    Raises:
        InputError: not readable, without a column ``path``, without rows, or with two rows that disagree.
    """
    table = read_listing(path, "manifest")
    column = next((name for name in PATHS if name in table.columns), None)
    if column is None:
        raise InputError(f"the manifest {path} has no column 'path'; it has {', '.join(table.columns)}")
    unknown = [name for name in table.columns if name not in (*COLUMNS, column)]
    if unknown:
        names = ", ".join(map(printable, unknown))
        say(f"manifest {path.name}: not used: {names}; known columns are {', '.join(COLUMNS)}")

    stated = [name for name in table.columns if name in COLUMNS and name not in PATHS]
    rows: dict[str, dict[str, str]] = {}
    absent = comments = 0
    for values in table.select(column, *stated).cast(pl.String).iter_rows(named=True):
        cell = values.pop(column)
        if not cell or not cell.strip():
            continue  # spreadsheets write empty rows behind the last
        if _is_comment(cell, path, root):
            comments += 1
            continue
        file = _relative(cell, root)
        given = {name: value for name, value in values.items() if value and value.strip()}
        row = {name: plain_cell(value) for name, value in given.items() if not _is_absent(value)}
        absent += len(given) - len(row)
        if rows.setdefault(file, row) != row:
            raise InputError(f"the manifest {path} lists {file} twice, with different values; leave one row")
    if not rows:
        raise InputError(f"the manifest {path} lists no file")
    if comments:
        lines = counted(comments, "row", ("begins", "begin"))
        say(f"manifest {path.name}: {lines} with #, the name of no file, and so a comment")
    if absent:
        cells = counted(absent, "cell", ("says", "say"))
        say(f"manifest {path.name}: {cells} NaN, NA, None or null, which is taken for empty")
    return Manifest(rows=rows)


def read_listing(path: Path, kind: str) -> pl.DataFrame:
    """The table of a CSV or Parquet file, all columns as they stand there; ``kind`` is its name in errors.

    Raises:
        InputError: it cannot be read.
    """
    if path.suffix.lower() in SPREADSHEETS:
        raise InputError(f"the {kind} {path} is a spreadsheet; save it as CSV")
    try:
        if path.suffix.lower() == ".parquet":
            return pl.read_parquet(path)
        text = _decoded(path.read_bytes())
        return _parsed(text)
    except InputError as error:
        raise InputError(f"the {kind} {path} cannot be read: {error}") from error
    except (OSError, csv.Error, pl.exceptions.PolarsError) as error:
        first_line = str(error).partition("\n")[0].rstrip(". ")
        raise InputError(f"the {kind} {path} cannot be read as CSV or Parquet: {first_line}") from error


def _parsed(text: str) -> pl.DataFrame:
    """CSV to a table of texts, whatever stands between the columns."""
    text = text.lstrip("\ufeff")  # joined files have a mark each
    if "\n" not in text:  # lines as old spreadsheets of the Macintosh end them
        text = text.replace("\r", "\n")
    first, _, rest = text.partition("\n")
    separator = ""
    if first.strip().lower().startswith("sep="):  # how Excel is told of a separator
        separator, text = first.strip()[len("sep=") :] or "\t", rest
    text = _from_header(text)
    if not separator:
        header = QUOTED.sub("", text.partition("\n")[0])
        separator = max(SEPARATORS, key=header.count)
    try:
        table = pl.read_csv(text.encode(), separator=separator, infer_schema=False)
    except pl.exceptions.ComputeError:  # a comment with more separators than the header, or a lone quote
        table = _row_by_row(text, separator)
    names = {name: _column(name) for name in table.columns}
    return table.rename(names) if len(set(names.values())) == len(names) else table


def _from_header(text: str) -> str:
    """A table without the comments and empty lines above its header, which may itself begin with ``#``."""
    while text:
        first, _, rest = text.partition("\n")
        line = first.strip()
        if line.startswith(COMMENT):
            header = line.lstrip(f"{COMMENT} ")
            names = re.split(f"[{''.join(SEPARATORS)}]", header.replace('"', ""))
            if any(_column(name) in PATHS for name in names):
                return f"{header}\n{rest}"
        elif line:
            return text
        text = rest
    return text


def _row_by_row(text: str, separator: str) -> pl.DataFrame:
    """A table whose rows have not all as many cells as its header.

    Raises:
        InputError: a row with more cells, no comment.
    """
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator)
    header = next(reader)
    rows: list[list[str | None]] = []
    for cells in reader:
        while len(cells) > len(header) and not cells[-1].strip():
            cells.pop()
        if len(cells) <= len(header):
            rows.append([*cells, *[None] * (len(header) - len(cells))])
        elif not cells[0].lstrip().startswith(COMMENT):
            raise InputError(
                f"line {reader.line_num} has {len(cells)} cells, the header {len(header)}; put a cell that "
                f"holds {separator!r} in double quotes"
            )
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    return pl.DataFrame(
        [pl.Series(name, cells, pl.String) for name, cells in zip(header, columns, strict=True)]
    )


def _column(name: str) -> str:
    """A column's name as it is known here, however a person wrote it."""
    lower = name.strip().lower()
    return lower if lower in (*COLUMNS, *PATHS) else name.strip()


def _decoded(content: bytes) -> str:
    """Text of a CSV by its byte-order mark, else UTF-8, else what Excel writes in western Europe."""
    # The mark of UTF-32 begins with that of UTF-16.
    if content.startswith(WIDE_MARKS):
        return content.decode("utf-32", "replace")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", "replace")
    # Without a mark: every other byte of plain letters is zero.
    if content[1:4:2] == b"\0\0":
        return content.decode("utf-16-le", "replace")
    if content[0:3:2] == b"\0\0":
        return content.decode("utf-16-be", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _is_comment(cell: str, table: Path, root: Root) -> bool:
    text = cell.strip()
    return text.startswith(COMMENT) and table.suffix.lower() != ".parquet" and not _exists(text, root)


def _is_absent(cell: str) -> bool:
    return cell.strip().lower() in ABSENT


def plain_cell(cell: str) -> str:
    """A cell without the apostrophe that keeps a spreadsheet from running it."""
    text = cell.strip()
    return text[1:] if text.startswith("'") and text[1:2] in FORMULA_STARTS else text


def _relative(cell: str, root: Root) -> str:
    """The path of a cell, relative to the images' folder where it leads into it."""
    text = cell.strip()
    if is_url(text):
        if isinstance(root, Remote) and text.startswith(f"{root.url}/"):
            return text.removeprefix(f"{root.url}/")
        # Of another place only the name: the rest may hold a password or a signature.
        scheme, _, rest = text.partition("://")
        name = rest.partition("?")[0].partition("#")[0].rpartition("/")[2]
        return f"{scheme}://…/{name}"
    if not _exists(text, root):
        text = plain_cell(text)
    if "\\" in text and not _exists(text, root):
        text = text.replace("\\", "/")  # from Windows; elsewhere a name may hold a backslash
    path = PurePosixPath(text)
    if isinstance(root, Path) and path.is_relative_to(root.as_posix()):
        path = path.relative_to(root.as_posix())
    return path.as_posix()


def as_on_disk(manifest: Manifest, listing: Listing) -> Manifest:
    """The manifest with the names that the files have: a Mac writes an accent as a letter of its own, another
    system as a part of its letter, and the two look alike.
    """
    sources = {file.source for file in listing.files} | {item.source for item in listing.refused}
    names: dict[str, list[str]] = {}
    for source in sources:
        names.setdefault(unicodedata.normalize("NFC", source), []).append(source)

    rows: dict[str, dict[str, str]] = {}
    for path, row in manifest.rows.items():
        file, mark, place = path.partition("#")
        alike = names.get(unicodedata.normalize("NFC", file), [])
        is_other = path not in sources and file not in sources and len(alike) == 1
        rows.setdefault(f"{alike[0]}{mark}{place}" if is_other else path, row)
    return Manifest(rows=rows)


def _exists(text: str, root: Root) -> bool:
    """Whether there is a file of that name, or an archive of which it is a member; at a URL nobody looks."""
    if isinstance(root, Remote):
        return False
    archive, _, _ = text.partition("#")
    try:
        return (root / text).exists() or (root / archive).is_file()
    except (OSError, ValueError):  # too long for a name, or with a byte that no name has
        return False


def listed(listing: Listing, manifest: Manifest) -> Listing:
    """The files that a manifest lists; what it lists and is not there is refused, what it does not list is
    left out, aloud.
    """
    sources = {file.source for file in listing.files}
    requested = manifest.rows.keys() & sources  # names may hold a #
    requested |= {path if path in sources else path.partition("#")[0] for path in manifest.rows}
    files = [file for file in listing.files if file.source in requested]
    refused = [item for item in listing.refused if item.source in requested]

    present = sources | {item.source for item in refused}
    heads = {path.partition("#")[0] for path in manifest.rows.keys() & sources if "#" in path}
    for path in sorted(requested - present - heads):
        refused.append(Rejected(source=printable(path), reason=_why_absent(path)))

    others = len(listing.files) - len(files)
    if others:
        stay = "stays" if others == 1 else "stay"
        say(f"index: {counted(others, 'file')} under {listing.root} {stay} out: not in the manifest")
    names = values_beside(requested & sources, sources - requested)
    beside = tuple(file for file in listing.files if file.source in names)
    refused.sort(key=lambda item: item.source)
    return replace(listing, files=files, refused=refused, beside=beside)


def _why_absent(path: str) -> str:
    """Why a path of the manifest is no file of the folder."""
    file = PurePosixPath(path)
    if (
        COLLAPSED.match(path)
        or file.is_absolute()
        or ".." in file.parts
        or (len(path) > 1 and path[1] == ":")
    ):  # C:/ is a drive
        return "is listed in the manifest but lies outside the images' folder"
    return "is listed in the manifest but missing"
