"""Which image has which labels: by the names of folders, or by a table beside the images."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import polars as pl

from optidel.corpus.groups import KINDS
from optidel.corpus.manifest import plain_cell, read_listing
from optidel.corpus.walk import printable, walk
from optidel.errors import InputError
from optidel.evaluation.splits import Item
from optidel.readers import READERS
from optidel.readers.decoded import ending
from optidel.records import Rejected
from optidel.words import counted

FOLDERS = "folders"
"""In place of a table: the names of the folders are the classes."""

UNKNOWN = 255
"""The label of an image that may or may not be of a class."""

TABLES = ("labels.csv", "labels.parquet")
"""A table of this name in the labelled set needs not be named."""

# How the published sets call the column of the image (NIH ``Image Index``, ISIC ``image``, HAM10000
# ``image_id``).
PATH_NAMES = ("path", "file_name", "filename", "file", "image", "image_id", "image index", "id")

# And that of the class (NIH ``Finding Labels``, HAM10000 ``dx``).
LABEL_NAMES = ("label", "labels", "class", "diagnosis", "dx", "finding labels")

# Between several labels in one cell, as NIH writes them.
BETWEEN = "|"

YES = frozenset(("1", "1.0", "true", "yes", "positive"))
NO = frozenset(("0", "0.0", "false", "no", "negative"))
# CheXpert's mark of a finding about which the report is uncertain; an empty cell says as little.
UNSURE = frozenset(("-1", "-1.0", "", "nan", "none"))

# Folders that say what kind of file lies in them, and so are no classes.
KINDS_OF_FILE = re.compile(
    r"(images?|img|masks?|labels?|annotations?|gt|ground.?truth|segmentations?)(tr|ts)?", re.I
)

SIDES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
# A part to tune on is tested on where no other is.
TUNING = frozenset(("val", "valid", "validation", "dev"))

Member = TypeVar("Member")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassItem(Item):
    """One image with its labels, one for each class: 0 no, 1 yes, 255 not known."""

    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLabels:
    """The labelled images by side of a given split, or all under the empty name.

    ``classes`` are the names of the columns; ``exclusive``: every image has exactly one; ``text`` says how
    the labels were read.
    """

    sides: Mapping[str, list[ClassItem]]
    classes: tuple[str, ...]
    exclusive: bool
    text: str


def table_in(root: Path) -> Path | None:
    """The table of labels that lies in a labelled set; None without one."""
    return next((root / name for name in TABLES if (root / name).is_file()), None)


def has_class_folders(root: Path) -> bool:
    """Whether a folder has two folders or more with images, none of them called after a kind of file, and no
    two with files of the very same names: those may be images and their masks.
    """
    try:
        sides, _ = _by_folder(root, [])
    except InputError:
        return False
    names: dict[str, set[str]] = defaultdict(set)
    for members in sides.values():
        for name, source in members:
            names[name].add(PurePosixPath(source).name.partition(".")[0])
    distinct = {frozenset(files) for files in names.values()}
    return len(names) > 1 and len(distinct) == len(names)


def folder_labels(root: Path, rejected: list[Rejected]) -> ClassLabels:
    """Labels by the names of the folders, one class an image.

    Args:
        root: the labelled set, with a folder a class, or ``train/`` and ``test/`` with those.
        rejected: files that no reader knows are added here.

    Raises:
        InputError: fewer than two classes.
    """
    by_side, unused = _by_folder(root, rejected)
    classes = tuple(sorted({name for members in by_side.values() for name, _ in members}))
    if len(classes) < 2:
        raise InputError(
            f"{root} is no labelled set; it must hold images/ and masks/, a folder for each class, or a "
            f"table {TABLES[0]} with the columns path and label"
        )
    sides = {
        side: [ClassItem(id=source, image=source, labels=_one_of(classes, name)) for name, source in members]
        for side, members in by_side.items()
    }
    text = _told(sides, classes, "a folder each", unused)
    return ClassLabels(sides=sides, classes=classes, exclusive=True, text=text)


def table_labels(root: Path, table: Path, rejected: list[Rejected]) -> ClassLabels:
    """Labels by a table, CSV or Parquet, with a row an image.

    Its columns: the image (``path``, ``image``, ``file_name``, …), a path below the folder, with or without
    its ending, or a file name that occurs once; either one column ``label`` (``class``, ``diagnosis``, …), of
    one class, or of several with ``|`` between them, or a column for each label with 1 yes, 0 no, and −1 or
    nothing where it is not known; if wanted ``split`` (train, test) and ``group``, ``patient``, ``study``, ….

    Args:
        root: the folder of the images.
        table: the file.
        rejected: images without a file or a label are added here.

    Raises:
        InputError: it cannot be read, has no column of images or of labels, or no image is left.
    """
    rows = read_listing(table, "table of labels").cast(pl.String).fill_null("")
    names = {name.strip().lower(): name for name in rows.columns}
    path_column = next((names[name] for name in PATH_NAMES if name in names), None)
    if path_column is None:
        raise InputError(
            f"the table of labels {table} has no column of images; call it path; "
            f"it has {', '.join(rows.columns)}"
        )
    others = [name for name in rows.columns if name != path_column]
    kinds = {kind: name for name in others if (kind := _kind(name)) is not None}
    cells = {name: [plain_cell(cell) for cell in rows[name]] for name in rows.columns}

    facts = set(kinds.values())
    labelled = {name: cells[name] for name in others if name not in facts}
    classes, values, exclusive, how = _columns(table, labelled)
    groups = _groups(cells, kinds)
    splits = cells[kinds["split"]] if "split" in kinds else [""] * len(rows)

    files = _Files.of(root)
    sides: dict[str, list[ClassItem]] = defaultdict(list)
    seen: set[str] = set()
    for cell, labels, group, split in zip(cells[path_column], values, groups, splits, strict=True):
        if not cell:
            continue  # spreadsheets write empty rows behind the last
        source, reason = files.find(cell)
        if not reason and source in seen:
            reason = "is listed twice in the table of labels"
        if not reason and not any(label != UNKNOWN for label in labels):
            reason = "has no label in the table"
        if reason:
            rejected.append(Rejected(source=printable(cell), reason=reason))
            continue
        seen.add(source)
        sides[split.strip().lower()].append(ClassItem(id=source, image=source, labels=labels, group=group))
    if not sides:
        first = f"; the first, {rejected[0].source}: {rejected[0].reason}" if rejected else ""
        raise InputError(f"the table of labels {table} lists no image of {root}{first}")
    known, unused = _named_sides(sides)
    return ClassLabels(
        sides=known, classes=classes, exclusive=exclusive, text=_told(known, classes, how, unused)
    )


def _one_of(classes: Sequence[str], name: str) -> tuple[int, ...]:
    return tuple(int(name == other) for other in classes)


def _by_folder(root: Path, rejected: list[Rejected]) -> tuple[dict[str, list[tuple[str, str]]], str]:
    """Side to class and file of its images, and which sides are not used; nothing where a folder's name says
    what kind of file lies in it.
    """
    listing = walk(root)
    rejected.extend(listing.refused)
    files = []
    for file in listing.files:
        path = PurePosixPath(file.source)
        suffix = ending(file.source)
        if len(path.parts) < 2:
            continue  # of no class: a licence, a note
        if suffix and suffix not in READERS:
            reason = f"has the ending {path.suffix!r}, which no reader knows"
            rejected.append(Rejected(source=file.source, reason=reason))
        else:
            files.append(path)

    is_split = all(_is_side(path.parts[0]) and len(path.parts) > 2 for path in files)
    sides: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in files:
        side, name = (path.parts[0].lower(), path.parts[1]) if is_split else ("", path.parts[0])
        sides[side].append((name, path.as_posix()))
    if any(KINDS_OF_FILE.fullmatch(name) for members in sides.values() for name, _ in members):
        return {}, ""
    return _named_sides(sides)


def _is_side(name: str) -> bool:
    return name.lower() in SIDES or name.lower() in TUNING


def _named_sides(sides: Mapping[str, list[Member]]) -> tuple[dict[str, list[Member]], str]:
    """The sides ``train`` and ``test``, and the names of others, which are not used; a part to tune on is
    tested on where there is no other. Where there are not both, all under the empty name.
    """
    named = {SIDES[name]: members for name, members in sides.items() if name in SIDES}
    tuning = [name for name in sides if name in TUNING]
    if "test" not in named and tuning:
        named["test"] = sides[tuning.pop(0)]
    if {"train", "test"} > named.keys():
        return {"": [member for members in sides.values() for member in members]}, ""
    used = {id(members) for members in named.values()}
    others = [name or "(empty)" for name, members in sides.items() if id(members) not in used]
    return {side: named[side] for side in ("test", "train")}, ", ".join(sorted(others))


def _told(sides: Mapping[str, Sequence[ClassItem]], classes: Sequence[str], how: str, unused: str) -> str:
    """What was read, in one sentence."""
    items = [item for members in sides.values() for item in members]
    counts = [sum(item.labels[column] == 1 for item in items) for column in range(len(classes))]
    listed = ", ".join(f"{name} {count}" for name, count in zip(classes, counts, strict=True))
    unknown = sum(label == UNKNOWN for item in items for label in item.labels)
    text = f"{counted(len(items), 'image')}, classes from {how}: {listed}"
    if unknown:
        text += f"; {counted(unknown, 'label')} not known (-1 or empty; write 0 where a finding is absent)"
    if unused:
        text += f"; not used, by its split: {unused}"
    return text


def _kind(name: str) -> str | None:
    """What a column says beside labels: ``split``, ``group`` or a kind of group; None for others."""
    words = re.sub(r"[^a-z]", "", name.lower())
    bare = words.removesuffix("id") or words
    kind = {"subject": "patient", "center": "centre"}.get(bare, bare)
    return kind if kind in ("split", "group", *KINDS) else None


def _groups(cells: Mapping[str, list[str]], kinds: Mapping[str, str]) -> list[str | None]:
    """The group of each row: by the first of the columns that says one."""
    count = len(next(iter(cells.values())))
    columns = [(kind, cells[kinds[kind]]) for kind in ("group", *KINDS) if kind in kinds]
    groups: list[str | None] = []
    for row in range(count):
        said = [(kind, column[row]) for kind, column in columns if column[row]]
        groups.append(None if not said else said[0][1] if said[0][0] == "group" else ":".join(said[0]))
    return groups


def _columns(
    table: Path, labelled: Mapping[str, list[str]]
) -> tuple[tuple[str, ...], list[tuple[int, ...]], bool, str]:
    """The classes, the labels of every row, whether they exclude one another, and where they stand."""
    name = next((name for name in labelled if name.lower() in LABEL_NAMES), None)
    if name is not None:
        return _from_texts(table, name, labelled[name])
    columns = {name: _numbers(column) for name, column in labelled.items()}
    usable = {name: column for name, column in columns.items() if column is not None and 1 in column}
    if not usable:
        raise InputError(
            f"the table of labels {table} has no column of labels; call it label, or give every class a "
            f"column of 1 and 0; beside the images it has {', '.join(labelled) or 'nothing'}"
        )
    rows = list(zip(*usable.values(), strict=True))
    # Columns of which just one is 1 in every row are one choice, as ISIC writes it.
    exclusive = len(usable) > 1 and all(sorted(row) == [0] * (len(row) - 1) + [1] for row in rows)
    return tuple(usable), rows, exclusive, f"the columns of {table.name}"


def _from_texts(
    table: Path, name: str, cells: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[int, ...]], bool, str]:
    """Classes named in the cells of one column."""
    said = [tuple(part.strip() for part in cell.split(BETWEEN) if part.strip()) for cell in cells]
    classes = tuple(sorted({part for parts in said for part in parts}))
    filled = sum(map(bool, said))
    if len(classes) < 2 or 2 * len(classes) > filled:
        raise InputError(
            f"the column {name!r} of {table} holds {counted(len(classes), 'different text')} for "
            f"{counted(filled, 'image')}, so it names no classes; it must name two or more, each of several "
            "images"
        )
    unknown = (UNKNOWN,) * len(classes)
    rows = [tuple(int(one in parts) for one in classes) if parts else unknown for parts in said]
    exclusive = all(len(parts) < 2 for parts in said)
    return classes, rows, exclusive, f"the column {name} of {table.name}"


def _numbers(cells: Sequence[str]) -> list[int] | None:
    """Cells as 1 yes, 0 no, 255 not known; None where one says something else."""
    numbers = []
    for cell in cells:
        text = cell.lower()
        if text in YES:
            numbers.append(1)
        elif text in NO:
            numbers.append(0)
        elif text in UNSURE:
            numbers.append(UNKNOWN)
        else:
            return None
    return numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """The files of a labelled set by path, by path without ending, and by name."""

    sources: frozenset[str]
    by_stem: Mapping[str, list[str]]
    by_name: Mapping[str, list[str]]

    @classmethod
    def of(cls, root: Path) -> "_Files":
        by_stem: dict[str, list[str]] = defaultdict(list)
        by_name: dict[str, list[str]] = defaultdict(list)
        sources = []
        for file in walk(root).files:
            suffix = ending(file.source)
            if suffix and suffix not in READERS:
                continue  # the table itself, among others
            sources.append(file.source)
            stem = file.source[: len(file.source) - len(suffix)]
            by_stem[stem].append(file.source)
            for name in {PurePosixPath(file.source).name, PurePosixPath(stem).name}:
                by_name[name].append(file.source)
        return cls(sources=frozenset(sources), by_stem=by_stem, by_name=by_name)

    def find(self, cell: str) -> tuple[str, str]:
        """The file that a cell means, or why there is none."""
        path = cell.replace("\\", "/").removeprefix("./")
        if path in self.sources:
            return path, ""
        name = PurePosixPath(path).name
        # A table may begin its paths with the name of its own folder, and so on up.
        for matches in (self.by_stem.get(path, []), self.by_name.get(name, [])):
            ends = [source for source in matches if path.endswith(source) or source.endswith(path)] or matches
            if len(ends) == 1:
                return ends[0], ""
            if ends:
                return "", f"may be any of {len(ends)} files of that name; give its path"
        return "", "is listed in the table of labels but missing"
