"""Files whose rows hang on other files of their folder: they are read again when one of those changes.

A detached header names the file that holds its values; slices of a DICOM series share a scale, and planes
across them stand under the first.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from optidel.readers import READERS
from optidel.readers.decoded import ending
from optidel.readers.series import ALONE

MAX_FETCHED = 5_000
"""Files of a folder at a URL that are fetched for the series of some: each block of frames would fetch them
all, some GiB.
"""

DETACHED = (".mhd", ".nhdr", ".hdr")
"""Headers whose values lie in another file of the folder."""

HALVES = (".hdr", ".img", ".hdr.gz", ".img.gz", ".HDR", ".IMG")
"""Endings of the halves of an Analyze or NIfTI pair, which share a stem."""

HEADER = 1 << 16
"""Bytes of a detached header in which its values' file is looked for; such headers have some hundred."""

DICOM = (".dcm", ".dicom", ".ima")
"""Endings of DICOM; it may also have none, or one that no reader knows."""


def values_beside(listed: Collection[str], others: Collection[str]) -> set[str]:
    """Of files that a manifest leaves out, those that may hold the values of a header that it lists.

    Args:
        listed: files that are indexed.
        others: files that are not.
    """
    folders = {_folder(source) for source in listed if ending(source) in DETACHED}
    return {
        source
        for source in others
        if _folder(source) in folders and (ending(source) == ".img" or ending(source) not in READERS)
    }


def with_values_beside(kept: Collection[str], beside: Collection[str]) -> set[str]:
    """The headers among files that did not change whose values may have: nobody noted when those were
    written.
    """
    folders = {_folder(source) for source in beside}
    return {source for source in kept if ending(source) in DETACHED and _folder(source) in folders}


def touched(
    changed: Collection[str], kept: Iterable[str], frames: Mapping[str, int], in_series: Collection[str]
) -> set[str]:
    """The files that did not change and whose rows may be others all the same.

    Args:
        changed: files that were added, removed or written since.
        kept: files that were not.
        frames: how many frames each file of the earlier index has.
        in_series: files with frames of a series.
    """
    near_headers = {_folder(source) for source in changed}
    near_slices = {_folder(source) for source in changed if _may_be_dicom(source)}
    return {
        source
        for source in kept
        if (ending(source) in DETACHED and _folder(source) in near_headers)
        or (
            _folder(source) in near_slices
            and _may_be_dicom(source)
            # Without a frame: a slice whose planes stand under another file.
            and (source in in_series or frames.get(source) == 0)
        )
    }


def beside(root: Path, sources: Sequence[str], names_in: Callable[[str], list[str]]) -> set[str]:
    """Of files that were fetched from elsewhere, those that their readers look for beside them.

    Args:
        root: where they were fetched to.
        sources: POSIX paths below it.
        names_in: the names of the files in a folder, where they come from.
    """
    further: set[str] = set()
    slices = {_folder(source) for source in sources if _may_be_dicom(source)}
    for folder in slices:
        names = names_in("" if folder == "." else folder)
        if len(names) > MAX_FETCHED:
            (root / folder / ALONE).touch()
        else:
            further |= {_inside(folder, name) for name in names if _may_be_dicom(name)}
    for source in sources:
        if ending(source) in (*DETACHED, ".img"):
            folder = _folder(source)
            present = set(names_in("" if folder == "." else folder))
            further |= {_inside(folder, name) for name in _named(root / source) if name in present}
    return further


def _named(header: Path) -> Iterator[str]:
    """What a detached header may call its other half: a text behind a mark, or its own stem."""
    stem = header.name.rpartition(".")[0]
    yield from (f"{stem}{suffix}" for suffix in HALVES)
    with header.open("rb") as stream:
        text = stream.read(HEADER).decode("latin-1")
    for line in text.splitlines():
        for mark in ("=", ":"):
            yield line.partition(mark)[2].strip().removeprefix("./")


def _inside(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _folder(source: str) -> str:
    return PurePosixPath(source).parent.as_posix()


def _may_be_dicom(source: str) -> bool:
    suffix = ending(source)
    return suffix in DICOM or suffix not in READERS
