"""What belongs together: patient, study, series, video, centre; from DICOM tags, the path or a manifest."""

import hashlib
import os
import re
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
"""Of the secret: 256 bits, as long as any hash that it keys."""

PATTERN_SECONDS = 5.0
"""Seconds of computing that a pattern may take over one path. A sound one takes microseconds; one such as
``(a+)+b`` takes twice as long with each letter, which would be years.
"""


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
    if not text:
        return None
    return hashlib.blake2b(text.encode(), digest_size=8, key=key, person=kind.encode()).hexdigest()


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
                f"pattern {pattern!r}: unknown group {name!r}{nearest(name, FIELDS)}; "
                f"there are {', '.join(FIELDS)}"
            )
    return compiled


def match(pattern: re.Pattern[str], path: str) -> dict[str, str]:
    """What a pattern says of a POSIX path (searched for anywhere in it); empty where it does not match.

    Raises:
        RecipeError: the pattern takes too long.
    """
    result = search(pattern, path)
    if result is None:
        return {}
    return {name: value for name, value in result.groupdict().items() if value}


def search(pattern: re.Pattern[str], path: str) -> re.Match[str] | None:
    """Search a path, for at most ``PATTERN_SECONDS``.

    Raises:
        RecipeError: it takes longer.
    """
    with _at_most(PATTERN_SECONDS, pattern.pattern, path):
        return pattern.search(path)


@contextmanager
def _at_most(seconds: float, pattern: str, path: str) -> Iterator[None]:
    """End a search that computes for longer; not in a thread or on Windows, where nothing can."""
    can_be_ended = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not can_be_ended:
        yield
        return

    def end(*_: object) -> None:
        raise RecipeError(
            f"pattern {pattern!r} takes more than {seconds:g} s over {path!r}: a repetition inside a "
            "repetition, such as (a+)+, tries every way to share the letters; write it without"
        )

    # The matcher of Python looks for signals now and then, so that one can end it from inside.
    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def resolve(frame: Frame, pattern: re.Pattern[str] | None, row: Mapping[str, str], kind: str | None) -> Frame:
    """A frame with its groups, label and split, and the one ``group`` that must stay on one side of a split.

    What a manifest says wins over the pattern, and that over what the file itself says.

    Args:
        frame: as scanned, with what its file says.
        pattern: over the path and, behind ``#``, the place in the file.
        row: the manifest's row for it.
        kind: the kind that makes ``group``; None for the first known of :data:`KINDS`.
    """
    statements = match(pattern, frame.id) if pattern else {}
    statements |= row
    fields: dict[str, Any] = {name: statements.get(name) or getattr(frame, name) for name in FIELDS}
    kinds = (kind,) if kind else KINDS
    # The kind is part of the name, so that patient 7 and video 7 are two groups.
    first = next((name for name in kinds if fields[name]), None)
    group = statements.get("group") or (f"{first}:{fields[first]}" if first else None)

    changes = {name: value for name, value in fields.items() if getattr(frame, name) != value}
    if not changes and frame.group == group:
        return frame
    return replace(frame, group=group, **changes)
