"""Writing a page or a sheet beside the artifacts: whole or not at all, and a full disk is one clear sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from optidel.errors import StoreError


def environment(*folders: Path) -> Environment:
    """Where pages find their templates: those of ``folders`` first, then the report's own; a name that is not given is an error."""
    loader = FileSystemLoader([*folders, Path(__file__).parent])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Write to the yielded path; it becomes ``target`` when the block ends without an error. Two processes may do so at once.

    Raises:
        StoreError: the disk is full or the folder cannot be written to.
    """
    scratch = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        yield scratch
        scratch.replace(target)
    except OSError as error:
        remedy = "free some space or make the folder writable, then run `optidel report` again; the run itself is complete"
        raise StoreError(f"cannot write {target}: {error.strerror}; {remedy}") from error
    finally:
        scratch.unlink(missing_ok=True)
