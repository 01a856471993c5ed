"""What belongs together: patient, study, series, video and centre, from DICOM tags, the path, or a manifest."""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from optidel.errors import RecipeError, StoreError, nearest
from optidel.records import Frame

KINDS = ("patient", "video", "study", "series", "centre")
"""Groups a frame can have, in the order in which the first known becomes the frame's ``group``."""

FIELDS = (*KINDS, "label", "split")
"""What a pattern or a manifest can say of a frame, beside ``group`` itself."""

KEY_FILE = ".group-key"
KEY_BYTES = 32


def group_key(root: Path | None) -> bytes:
    """The secret with which identifiers are hashed: kept in the run folder, readable by its owner only; a
    fresh one without a folder.

    Equal patients have equal hashes inside one run folder and nowhere else, and without the key a hash cannot
    be checked against a list of names.

    Raises:
        StoreError: the file holds no key.
    """
    if root is None:
        return secrets.token_bytes(KEY_BYTES)
    path = root / KEY_FILE
    if not path.exists():
        _write_key(path)
    key = path.read_bytes()
    if len(key) != KEY_BYTES or not any(key):  # a power cut leaves an empty file, or one of zeros
        what = f"{len(key)} bytes, not the {KEY_BYTES} of a key" if any(key) or not key else "zeros, no key"
        raise StoreError(
            f"{path} holds {what}; delete it, and the folders index-* beside it, whose hashes of patients "
            "were made with another, and run the same command again"
        )
    return key


def _write_key(path: Path) -> None:
    """Make the secret; the first of several processes wins, and nobody ever reads a part of it."""
    scratch = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(secrets.token_bytes(KEY_BYTES))
        out.flush()
        os.fsync(out.fileno())
    try:
        os.link(scratch, path)
    except FileExistsError:
        pass
    except OSError:  # a disk without hard links
        scratch.replace(path)
    scratch.unlink(missing_ok=True)


def hashed(key: bytes, kind: str, value: str) -> str | None:
    """Keyed BLAKE2b of an identifier, 16 hex digits; None for an empty one. ``kind`` keeps equal patient and
    study ids apart.
    """
    text = value.strip()
    return (
        hashlib.blake2b(text.encode(), digest_size=8, key=key, person=kind.encode()).hexdigest()
        if text
        else None
    )


def compile_pattern(pattern: str | None) -> re.Pattern[str] | None:
    """A regular expression over relative paths whose named groups are among :data:`FIELDS`.

    Raises:
        RecipeError: no regular expression, no named group, or an unknown one.
    """
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise RecipeError(
            f"pattern {pattern!r} is no regular expression ({error}); an example is '(?P<patient>P[0-9]+)/'"
        ) from error
    if not compiled.groupindex:
        raise RecipeError(f"pattern {pattern!r} names no group; an example is '(?P<patient>P[0-9]+)/'")
    for name in compiled.groupindex:
        if name not in FIELDS:
            raise RecipeError(
                f"pattern {pattern!r}: unknown group {name!r}{nearest(name, FIELDS)}; there are {', '.join(FIELDS)}"
            )
    return compiled


def match(pattern: re.Pattern[str], path: str) -> dict[str, str]:
    """What a pattern says of a POSIX path (searched for anywhere in it); empty where it does not match."""
    found = pattern.search(path)
    return {name: value for name, value in found.groupdict().items() if value} if found else {}


def resolve(
    frame: Frame, pattern: re.Pattern[str] | None, row: Mapping[str, str], chosen: str | None
) -> Frame:
    """A frame with its groups, label and split, and the one ``group`` that must stay on one side of a split.

    What a manifest says wins over the pattern, and that over what the file itself says.

    Args:
        frame: as scanned, with what its file says.
        pattern: over the path and, behind ``#``, the place in the file.
        row: the manifest's row for it.
        chosen: the kind that makes ``group``; None for the first known of :data:`KINDS`.
    """
    said = (match(pattern, frame.id) if pattern else {}) | dict(row)
    known: dict[str, Any] = {name: said.get(name) or getattr(frame, name) for name in FIELDS}
    kinds = (chosen,) if chosen else KINDS
    group = said.get("group") or next((f"{kind}:{known[kind]}" for kind in kinds if known[kind]), None)
    if all(getattr(frame, name) == value for name, value in known.items()) and frame.group == group:
        return frame
    return replace(frame, group=group, **known)
