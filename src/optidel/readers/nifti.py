"""NIfTI-1, NIfTI-2 and Analyze volumes as slices, see ``volume``; in one file, or as a header ``.hdr`` and
its values ``.img``.

Rule: one for the whole volume, a window where its values are HU, else percentiles; colour by bit depth. Of a
4-D file the first volume is read, and the rule says so.
"""

import gzip
import logging
import warnings
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from nibabel import imageglobals

from optidel.errors import InputError
from optidel.readers.decoded import Decoded, DecodeOptions, ShownElsewhereError, check_bytes
from optidel.readers.jpeg import REMEDY
from optidel.readers.source import Source
from optidel.readers.volume import Volume, check_volume, grey_volume, oriented, raw_values, slices

SKIM = 1 << 29
"""Unpacked bytes behind the first volume that are read only for the checksum at their end: a second or
two.
"""

KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}
"""Image class by the size of the header, which is the first number in the file."""

MENDED = "pixdim[1,2,3] should be positive"
"""How nibabel begins what it says of negative voxel sizes, an old way to say left-handed: no value and, where
an affine is stated, no orientation hangs on their sign."""

UNTOUCHED = "leaving at current value"
"""How nibabel ends what it says of fields that another program may not like, and that it takes as stated."""

HEADERS, VALUES = (".hdr", ".HDR"), (".img", ".IMG")
"""How the two files of a pair end."""


def read_nifti(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """Slices ``axial:57`` along the axes of the options."""
    with source.open() as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw as stream:
            volume = _volume(stream, options, strict=locators is None and options.damaged == "refuse")
            if packed and locators is None:
                _check_rest(stream)
    yield from slices(volume, options, locators)


def read_nifti_pair(
    source: Source, options: DecodeOptions, locators: Collection[str] | None
) -> Iterator[Decoded]:
    """Slices ``axial:57`` of a volume in two files, under its header ``.hdr``.

    Analyze states no orientation; its x axis is taken to point to the left, as SPM and nibabel do.
    """
    if source.name.lower().endswith(".img"):
        _beside(source, HEADERS)
        raise ShownElsewhereError("holds the values of a volume, whose planes stand under its header")
    header, note = _pair_header(source, strict=locators is None and options.damaged == "refuse")
    shape, count = _sides(header.get_data_shape(), header.get_data_dtype())
    kind = header.get_data_dtype()
    check_bytes(int(np.prod(shape)) * max(kind.itemsize, 4))
    check_volume(shape)
    slope, offset = header.get_slope_inter()
    with _beside(source, VALUES).open() as stream:
        values = _first(stream, int(header.get_data_offset()), kind, shape)
    affine = header.get_best_affine()
    volume = _scaled(values, affine, count, slope or 1.0, offset or 0.0, options, note)
    yield from slices(volume, options, locators)


def _beside(source: Source, endings: Sequence[str]) -> Source:
    """The other file of a pair."""
    stem = source.name.rpartition("/")[2].rpartition(".")[0]
    for suffix in endings[:-1]:
        with suppress(InputError):
            return source.sibling(stem + suffix)
    try:
        return source.sibling(stem + endings[-1])
    except InputError:
        if source.path is None:
            raise
        raise InputError(
            f"is half of a volume in two files; {stem}{endings[0]}, the other half, is not beside it"
        ) from None


def _pair_header(source: Source, strict: bool) -> tuple[Any, str]:
    """The header, and what to add to the rule."""
    with source.open() as stream:
        start = stream.read(352)
        stream.seek(0)
        size = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
        kind: Any
        if 540 in size:
            kind = nib.nifti2.Nifti2PairHeader
        elif 348 in size:
            is_nifti = start[344:348] == b"ni1\0"
            kind = nib.nifti1.Nifti1PairHeader if is_nifti else nib.spm2analyze.Spm2AnalyzeHeader
        else:
            raise InputError("does not begin with the header of an Analyze or NIfTI volume")
        try:
            with nibabel_heard() as messages:
                header = kind.from_fileobj(stream)
        except Exception as error:  # as in _header
            raise InputError(f"has a header that cannot be read ({type(error).__name__})") from None
    return header, _mended(messages, strict)


def _check_rest(stream: BinaryIO) -> None:
    """Read on to the checksum, which is the last of a packed file; of a very long series it is not waited
    for.
    """
    left = SKIM
    try:
        while left > 0 and (block := stream.read(1 << 20)):
            left -= len(block)
    except (OSError, EOFError, zlib.error):
        raise InputError("is damaged: its checksum fails, or it is cut short") from None


def _volume(stream: BinaryIO, options: DecodeOptions, strict: bool) -> Volume:
    image, note = _header(stream, strict)
    shape, count = _sides(image.shape, image.get_data_dtype())
    stored = image.dataobj
    check_bytes(int(np.prod(shape)) * max(stored.dtype.itemsize, 4))  # grey is scaled in float32
    check_volume(shape)
    values = _first(stream, stored.offset, stored.dtype, shape)
    return _scaled(values, image.affine, count, float(stored.slope), float(stored.inter), options, note)


def _scaled(
    values: np.ndarray[Any, Any],
    affine: np.ndarray[Any, Any],
    count: int,
    slope: float,
    offset: float,
    options: DecodeOptions,
    mended: str,
) -> Volume:
    """The first of ``count`` volumes in RAS+ order, with its scale."""
    voxels, note = oriented(values, affine)
    note += mended
    if count > 1:
        note += f", first of {count} volumes"
    if voxels.ndim == 4:
        return Volume(voxels=voxels, low=0.0, high=255.0, rule=f"bit depth 8{note}")
    return grey_volume(voxels, float(slope), float(offset), options, note)


def _header(stream: BinaryIO, strict: bool) -> tuple[Any, str]:
    """The image, of which nothing but the header is read, and what to add to the rule."""
    # The header begins with its own length, in the byte order of the file.
    start = stream.read(4)
    size = int.from_bytes(start, "little"), int.from_bytes(start, "big")
    kind = next((KINDS[number] for number in size if number in KINDS), None)
    if kind is None:
        raise InputError("does not begin with the header of a NIfTI file")
    stream.seek(0)
    try:
        with nibabel_heard() as messages:
            image = kind.from_stream(stream)
    except Exception as error:  # nibabel raises anything on a damaged header
        raise InputError(f"has a NIfTI header that cannot be read ({type(error).__name__})") from None
    return image, _mended(messages, strict)


@contextmanager
def nibabel_heard() -> Iterator[list[str]]:
    """What nibabel says of the headers that it reads meanwhile, kept off the terminal.

    >>> with nibabel_heard() as messages:
    ...     imageglobals.logger.warning("sform_code 99 not valid; setting to 0")
    >>> messages
    ['sform_code 99 not valid; setting to 0']
    """
    messages = _Messages()
    logger = imageglobals.logger
    before = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [messages], False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield messages.texts
    finally:
        logger.handlers, logger.propagate = before


class _Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _mended(messages: Sequence[str], strict: bool) -> str:
    """What the rule says of a header that nibabel mended.

    Raises:
        InputError: fields contradict each other, and ``strict``.
    """
    serious = [text for text in messages if not text.startswith(MENDED) and UNTOUCHED not in text]
    if serious and strict:
        raise InputError(f"is damaged: its decoder warns {serious[0]!r}; {REMEDY}")
    is_mended = any(text.startswith(MENDED) for text in messages)
    return ", negative voxel sizes taken as positive" if is_mended else ""


def _sides(declared: Sequence[int], kind: np.dtype[Any]) -> tuple[tuple[int, int, int], int]:
    """The shape of a volume, with a depth of 1 for a plane, and the number of volumes; refuses what is
    neither.
    """
    shape = tuple(int(side) for side in declared)
    if len(shape) < 2 or min(shape) < 1 or any(side > 1 for side in shape[4:]):
        raise InputError(f"NIfTI with shape {shape}; only planes, volumes and series of volumes are read")
    if kind.kind == "c":
        raise InputError("NIfTI of complex numbers; save the magnitude")
    width, height, depth, count = (*shape, 1, 1)[:4]
    return (width, height, depth), count


def _first(
    stream: BinaryIO, offset: int, kind: np.dtype[Any], shape: tuple[int, int, int]
) -> np.ndarray[Any, Any]:
    """The first volume (x, y, z), or (x, y, z, 3) where voxels are colours, as stored; one read of exactly
    its bytes.
    """
    stream.seek(offset)
    data = stream.read(int(np.prod(shape)) * kind.itemsize)
    voxels: np.ndarray[Any, Any] = raw_values(data, kind, shape)
    if kind.fields:
        return np.stack([voxels[name] for name in "RGB"], axis=-1)
    return voxels
