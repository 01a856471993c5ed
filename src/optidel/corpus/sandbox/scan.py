"""One file to the records of its frames: what a decoding process does. Nothing of a file but these records
leaves that process.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from optidel.archives.archive import SpoiledError, members
from optidel.archives.member import Member
from optidel.corpus.groups import hashed
from optidel.corpus.quality import examine
from optidel.corpus.walk import printable
from optidel.errors import InputError
from optidel.readers import Decoded, DecodeOptions, Reader, reader_for, unread
from optidel.readers.decode import cropped
from optidel.readers.decoded import ShownElsewhereError
from optidel.readers.source import SIGN_OF_LIFE, Source
from optidel.records import Quality

MEASURES = tuple(item.name for item in fields(Quality))
LONGEST_REASON = 300
"""Letters of a reason that are kept: a round number, three lines of a terminal."""

PLAIN = ("raster",)
"""Reader families whose libraries' own error messages quote no content of a file; of the others only the kind
of error is kept.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How files are decoded and what one may cost: ``seconds`` without a new frame, ``memory`` bytes; ``key``
    hashes identifiers.

    ``crop``: ``none``, or ``content`` for the lit area of a frame alone.
    """

    decode: DecodeOptions
    seconds: float
    memory: int
    key: bytes
    crop: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One file to scan. After a process died over part ``n`` of it, its successor is told to ``start`` behind
    what is known, to refuse the parts in ``skip`` for their reason, and to end where unpacking itself
    (``stop``) was fatal."""

    source: str
    start: int = 0
    skip: Mapping[int, str] = field(default_factory=dict)
    stop: tuple[int, str] | None = None


Beat = Callable[[int, bool], None]
"""Called with the number of a part and whether its decoding (or else unpacking) begins or goes on: a sign of
life.
"""


def scan(root: Path, ask: Ask, options: ScanOptions, beat: Beat) -> Iterator[dict[str, Any]]:
    """Yield one record a part: a plain file is its own only part, an archive has one a member.

    A record has ``part``, ``member`` (empty for the file itself), and either ``frames`` and ``quality``, or
    the ``reason`` for which it is quarantined (with ``spoiled`` where that casts doubt on every other part),
    or the ``label`` of the images of its name.
    """
    entries = iter(_members(root, ask.source))
    number = 0
    is_empty = ask.start == 0  # nothing yet but labels and what is passed over
    while True:
        if ask.stop and number >= ask.stop[0]:
            yield {"part": number, "member": "", "reason": ask.stop[1]}
            return
        beat(number, False)
        try:
            member = next(entries)
        except StopIteration:
            if is_empty:
                yield {"part": number, "member": "", "reason": "holds no image; hidden files are passed over"}
            return
        except BaseException as error:  # whatever a damaged archive raises, the next file follows
            why = reason(error, None, root, options)
            yield {"part": number, "member": "", "reason": why, "spoiled": isinstance(error, SpoiledError)}
            return
        is_empty = is_empty and member.source is None and not member.reason
        if number >= ask.start:
            if number in ask.skip:
                yield {"part": number, "member": member.name, "reason": ask.skip[number]}
            else:
                beat(number, True)
                record = _record(root, ask.source, number, member, options, beat)
                yield {"part": number, "member": member.name} | record
        number += 1


def _members(root: Path, name: str) -> Iterator[Member]:
    path = root / name
    try:
        status = path.stat()  # the file may have gone, or become a pipe, since the folder was listed
    except OSError as error:
        raise InputError(f"cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is no regular file")
    if status.st_size == 0:
        raise InputError("has zero bytes")
    yield from members(Source(name=name, path=path))


def _record(
    root: Path, name: str, number: int, member: Member, options: ScanOptions, beat: Beat
) -> dict[str, Any]:
    if member.reason:
        return {"reason": printable(member.reason)[:LONGEST_REASON]}
    if member.source is None:
        return {"label": member.label}
    reader = None
    try:
        if member.source.size == 0:
            raise InputError("has zero bytes")
        reader = reader_for(member.source)
        if reader is None:
            raise InputError(unread(member.source))
        frames, quality = [], []
        SIGN_OF_LIFE.set(partial(beat, number, True))
        for whole in reader(member.source, options.decode, None):
            decoded = cropped(whole) if options.crop == "content" else whole
            frame, marks = _measure(decoded, options.key)
            frames.append(frame | {"label": member.label, "split": member.split})
            quality.append(marks)
            beat(number, True)
        if not frames:
            raise InputError("holds no frame")
    except ShownElsewhereError:
        return {"frames": [], "quality": []}
    except BaseException as error:
        # Decoders raise anything on a broken file, those written in Rust what is no Exception.
        return {"reason": reason(error, reader, root, options)}
    _stay_together(frames, f"{name}#{member.name}" if member.name else name)
    return {"frames": frames, "quality": quality}


def _measure(decoded: Decoded, key: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    height, width, channels = decoded.values.shape
    quality = examine(decoded.image)
    groups = {
        kind: hashed(key, kind, decoded.groups[kind])
        for kind in ("patient", "study", "series")
        if kind in decoded.groups
    }
    frame = {
        "locator": decoded.locator,
        "height": height,
        "width": width,
        "channels": channels,
        "modality": decoded.modality,
        "sha256": fingerprint(decoded),
        "flaw": quality.flaw,
        "seconds": decoded.seconds,
        "rule": decoded.rule,
    }
    return frame | groups, {name: getattr(quality, name) for name in MEASURES}


def fingerprint(decoded: Decoded) -> str:
    """SHA-256 of the values as stored and of the rule that makes intensities of them: equal hashes are equal
    pixels.
    """
    # In the order of this machine's bytes, so that a file has one hash on every machine of its kind.
    values = np.ascontiguousarray(decoded.values, decoded.values.dtype.newbyteorder("="))
    head = repr((values.dtype.str, values.shape, float(decoded.low), float(decoded.high)))
    state = hashlib.sha256(head.encode())
    state.update(values.data)
    return state.hexdigest()


def _stay_together(frames: list[dict[str, Any]], file: str) -> None:
    """Frames of one file are of one video or one series, if nothing else is known of them: they must not be
    split.
    """
    if len(frames) > 1:
        for frame in frames:
            if frame["seconds"] is not None:
                frame["video"] = file
            elif not frame.get("series"):
                frame["series"] = file


def reason(error: BaseException, reader: Reader | None, root: Path, options: ScanOptions) -> str:
    """Why a file is quarantined, in words that quote no content of it."""
    if isinstance(error, MemoryError):
        return f"needs more than {options.memory / 2**30:g} GiB of memory"
    # What a library says may quote the file: only our own words and those of a few libraries are kept.
    if isinstance(error, InputError):
        text = str(error)
    elif reader is None or reader.__module__.rpartition(".")[2] in PLAIN:
        text = f"cannot be decoded ({type(error).__name__}: {getattr(error, 'strerror', None) or error})"
    else:
        text = f"cannot be decoded ({type(error).__name__})"
    return printable(text.replace(str(root) + os.sep, ""))[:LONGEST_REASON]
