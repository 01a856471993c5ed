"""What a person decided about single frames: keep, drop, look again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from optidel.corpus.manifest import plain_cell, read_listing
from optidel.corpus.names import Names
from optidel.corpus.walk import printable
from optidel.errors import InputError, nearest
from optidel.store import canonical, digest

KEEP, DROP, AGAIN = "keep", "drop", "look again"
TAGS = (KEEP, DROP, AGAIN)

# The first line holds the columns' names, and people count lines from 1.
FIRST_LINE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """Ids of frames by what a person decided, each in the order of the corpus.

    ``keep`` are always chosen, ``drop`` leave the corpus, ``again`` change nothing.
    """

    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    again: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Changes with what was decided, not with how the file says it."""
        return digest(canonical([list(self.keep), list(self.drop)]))


def load_tags(path: Path, ids: Sequence[str], hashed: Names | None = None) -> Tags:
    """Read a CSV or Parquet file with the columns ``id`` and ``tag``, as the gallery saves it.

    Args:
        path: the file.
        ids: of the frames of the corpus.
        hashed: how a gallery with hashed names calls them; such a file is understood too.

    Raises:
        InputError: not readable, without these columns, with an unknown tag, with a frame that is not in the
            corpus, or with two tags for one frame.
    """
    table = read_listing(path, "table of tags")
    missing = [name for name in ("id", "tag") if name not in table.columns]
    if missing:
        columns = ", ".join(map(printable, table.columns))
        raise InputError(f"the tags {path} have no column {missing[0]!r}; they have {columns}")

    id_of = {name: name for name in ids}
    if hashed is not None and not hashed.plain:
        id_of = {hashed(name): name for name in ids} | id_of
    tag_of: dict[str, str] = {}
    for line, (cell, tag) in enumerate(table.select("id", "tag").iter_rows(), start=FIRST_LINE):
        if not cell or not tag:
            continue  # spreadsheets write empty rows behind the last
        where = f"{path}, line {line}"
        if tag.strip() not in TAGS:
            raise InputError(f"{where}: the tag is {tag!r}{nearest(tag, TAGS)}; tags are {', '.join(TAGS)}")
        frame = id_of.get(cell, id_of.get(plain_cell(cell)))
        if frame is None:
            raise InputError(
                f"{where}: {printable(cell)!r} is no frame of this corpus; save the tags again from a "
                "gallery of this run, or delete the line"
            )
        if tag_of.setdefault(frame, tag.strip()) != tag.strip():
            raise InputError(f"{where}: {printable(frame)} is tagged twice, differently; leave one line")

    def tagged(tag: str) -> tuple[str, ...]:
        return tuple(name for name in ids if tag_of.get(name) == tag)

    return Tags(keep=tagged(KEEP), drop=tagged(DROP), again=tagged(AGAIN))
