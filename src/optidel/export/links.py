"""The two formats that lead to the originals: links, and a list of paths."""

from collections.abc import Sequence

from optidel.errors import InputError
from optidel.export.job import Job
from optidel.progress import say
from optidel.readers import RASTER
from optidel.remote import Remote


def write_links(job: Job) -> list[str]:
    """Make ``images/KEY.ENDING``, symbolic links to the originals.

    Raises:
        InputError: an image is a slice or a member of an archive, and so has no file of its own.
    """
    originals = job.originals()
    rows = list(zip(job.rows["id"], job.rows["locator"], originals, strict=True))
    inner = [name for name, locator, path in rows if locator or path.suffix.lower() not in RASTER]
    if inner:
        raise InputError(
            f"{len(inner)} of {len(originals)} chosen images are no picture file of their own "
            f"and cannot be linked, such as {inner[0]}; pass --format folder"
        )
    # Composites are our own files, and hold pixels alone.
    if not job.selection.compose:
        say(
            "export: the links lead to your own files, with whatever is written in them beside pixels; "
            "--format folder writes pixels alone"
        )

    (job.work.path / "images").mkdir(exist_ok=True)
    names = []
    for key, original in zip(job.rows["key"], originals, strict=True):
        name = f"images/{key}{original.suffix.lower()}"
        link = job.work.path / name
        link.unlink(missing_ok=True)  # a kill may have left it
        link.symlink_to(original)
        names.append(name)
    return names


def write_list(job: Job) -> list[str]:
    """Write nothing: the manifest alone names the originals, a slice by ``FILE#PLACE``."""
    names = []
    root = job.corpus.root
    if isinstance(root, Remote) and not job.selection.compose:
        originals: Sequence[object] = [root / source for source in job.rows["source"]]
    else:
        originals = job.originals()
    for path, locator in zip(originals, job.rows["locator"], strict=True):
        name = str(path)
        if locator:
            name = f"{name}#{locator}"
        names.append(name)
    return names
