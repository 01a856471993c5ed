"""A table that lists the files of a corpus and says what is known of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import polars as pl

from optidel.corpus.groups import FIELDS
from optidel.corpus.walk import Listing, printable
from optidel.errors import InputError
from optidel.progress import say
from optidel.records import Frame, Rejected
from optidel.store import canonical, digest

COLUMNS = ("path", "group", *FIELDS)
PATHS = ("path", "file_name")
"""Names of the column that says which file, the second being that of Hugging Face image folders."""

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
        found = [self.rows[place] for place in self.paths(frame)]
        return {name: value for row in found for name, value in row.items()} if found else None

    def paths(self, frame: Frame) -> list[str]:
        """The rows that speak of a frame, from its file to itself."""
        places = [frame.source]
        if frame.locator:
            places += [f"{frame.source}#{frame.locator.partition('#')[0]}", frame.id]
        return [place for place in dict.fromkeys(places) if place in self.rows]


def load_manifest(path: Path, root: Path) -> Manifest:
    """Read a CSV or Parquet file with a column ``path`` and any of group, patient, study, series, video,
    centre, label, split.

    Args:
        path: the table.
        root: the images' folder; absolute paths inside it are taken as relative to it.

    Raises:
        InputError: not readable, without a column ``path``, without rows, or with two rows that disagree.
    """
    try:
        table = (
            pl.read_parquet(path)
            if path.suffix.lower() == ".parquet"
            else pl.read_csv(path, infer_schema=False)
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"the manifest {path} cannot be read as CSV or Parquet: {str(error).splitlines()[0]}"
        ) from error
    column = next((name for name in PATHS if name in table.columns), None)
    if column is None:
        raise InputError(f"the manifest {path} has no column 'path'; it has {', '.join(table.columns)}")
    unknown = [name for name in table.columns if name not in (*COLUMNS, column)]
    if unknown:
        say(
            f"manifest {path.name}: not used: {', '.join(map(printable, unknown))}; known columns are {', '.join(COLUMNS)}"
        )
    said = [name for name in table.columns if name in COLUMNS and name not in PATHS]
    rows: dict[str, dict[str, str]] = {}
    for values in table.select(column, *said).cast(pl.String).iter_rows(named=True):
        place = _relative(values.pop(column) or "", root)
        row = {name: value.strip() for name, value in values.items() if value and value.strip()}
        if rows.setdefault(place, row) != row:
            raise InputError(f"the manifest {path} lists {place} twice, with different values; leave one row")
    if not rows:
        raise InputError(f"the manifest {path} lists no file")
    return Manifest(rows=rows)


def _relative(place: str, root: Path) -> str:
    path = PurePosixPath(place.strip())
    return (path.relative_to(root.as_posix()) if path.is_relative_to(root.as_posix()) else path).as_posix()


def listed(listing: Listing, manifest: Manifest) -> Listing:
    """The files that a manifest lists; what it lists and is not there is refused, what it does not list is
    left out, aloud.
    """
    wanted = {
        place if place in manifest.rows and "#" not in place else place.partition("#")[0]
        for place in manifest.rows
    }
    known = {file.source for file in listing.files}
    wanted |= manifest.rows.keys() & known  # names that hold a #
    files = [file for file in listing.files if file.source in wanted]
    refused = [item for item in listing.refused if item.source in wanted]
    there = known | {item.source for item in refused}
    for place in sorted(wanted - there):
        if any(name.startswith(f"{place}#") for name in known & manifest.rows.keys()):
            continue  # the part before the # of such a name
        out = PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts
        reason = (
            "is listed in the manifest but lies outside the images' folder"
            if out
            else "is listed in the manifest but missing"
        )
        refused.append(Rejected(source=printable(place), reason=reason))
    others = len(listing.files) - len(files)
    if others:
        say(f"index: {others} files under {listing.root} are not in the manifest and stay out")
    return replace(listing, files=files, refused=sorted(refused, key=lambda item: item.source))
