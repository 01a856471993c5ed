"""DICOM: single and multi-frame images in any of the usual transfer syntaxes.

Rules, in this order: the file's VOI LUT; its first window; for CT the window 40/400 HU; percentiles for MR,
PET and NM and for values that are signed or floats; else the bits stored. Rescale and modality LUT come
first; MONOCHROME1 is inverted. Of the attributes only those of the picture, the modality and the three
identifiers of ``groups`` are looked at, and no message quotes a value that could hold text.
"""

import logging
import warnings
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import iter_pixels

from optidel.errors import InputError
from optidel.readers.codestream import check_codestreams
from optidel.readers.decoded import (
    MAX_BYTES,
    UNASSEMBLED,
    Decoded,
    DecodeOptions,
    ShownElsewhereError,
    blacked,
    check_bytes,
    check_frames,
    check_size,
    depth_rule,
)
from optidel.readers.dicom_codecs import COMPRESSED, LOSSY, PLUGIN, check_warnings
from optidel.readers.intensity import Greys, add_frame, number, padding, scaling
from optidel.readers.scale import Limits, Spread, remembered
from optidel.readers.series import (
    Series,
    is_among_too_many,
    name_on_shelf,
    scale_files,
    series_of,
    shelf_of,
    stacked,
)
from optidel.readers.source import Shelf, Source
from optidel.readers.volume import AXES, Volume, oriented, slices

MODALITIES = frozenset(
    """
    BI CR CT DG DX ECG ES GM IO IVOCT IVUS LEN MG MR NM OAM OCT OP OPM OPT OPTENF OPV OT PT PX RF RG SM TG
    US XA XC
    """.split()  # noqa: SIM905
)
"""The standard's terms for pictures; another modality is not passed on, for free text may hold a name."""

OTHERS = {
    "SEG": "a segmentation",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a key object selection",
    "DOC": "an encapsulated document",
    "RTSTRUCT": "a set of contours",
    "RTPLAN": "a treatment plan",
    "RTDOSE": "a radiation dose",
    "ECG": "a waveform",
    "REG": "a registration",
}
"""Modalities of DICOM objects that are no pictures."""

REMEDIES = {
    "SEG": "; as masks, convert it to NIfTI or PNG, for instance by segimage2itkimage of dcmqi",
    "RTSTRUCT": "; as masks, convert it to NIfTI, for instance by plastimatch convert",
}
"""What makes masks of objects that outline regions: each refers to slices of other files by their numbers."""

COLOURS = {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"}
GREYS = {"MONOCHROME1", "MONOCHROME2"}

NATIVE = {
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
}

IDENTIFIERS = {"patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID"}


Values = np.ndarray[Any, Any]


def read_dicom(source: Source, options: DecodeOptions, locators: Collection[str] | None) -> Iterator[Decoded]:
    """One frame, or ``frame:i`` of a multi-frame image; everything else that DICOM stores is refused with its
    kind.

    Where other axes than axial are asked for, the single-frame files of a series in one folder, on disk or in
    an archive, are a volume, whose planes ``coronal:57`` stand under its first file; the slices themselves
    are taken if their axis is asked for.
    """
    check_bytes(source.size)
    try:
        with _quiet():
            dataset = _Dataset(source, options)
            if locators is None and options.damaged == "refuse":
                check_warnings(dataset.data, dataset.count)
            series = _series(dataset, options, locators)
            indices = _indices(dataset.count, locators)
            if series is None and _is_across(dataset, options, locators) and is_among_too_many(source):
                dataset.note = f", {UNASSEMBLED}"
        is_taken = series is None or locators is not None or series.axis in options.axes
        if is_taken:
            yield from _frames(dataset, indices)
        if series is not None and series.names[0] == name_on_shelf(source):
            with _quiet():
                volume, groups = _volume(dataset, series, options), dataset.groups
            others = replace(options, axes=tuple(name for name in options.axes if name != series.axis))
            for plane in slices(volume, others, locators):
                yield replace(plane, groups=groups)
        elif not is_taken:
            raise ShownElsewhereError("is a slice of a series whose planes stand under its first file")
    except (InputError, MemoryError):
        raise
    except Exception as error:  # a damaged file raises anything; its own message may quote an attribute
        raise InputError(f"DICOM that cannot be decoded ({type(error).__name__})") from None


def _frames(dataset: "_Dataset", indices: Sequence[int]) -> Iterator[Decoded]:
    with _quiet():
        step = _frame_time(dataset.data)
        groups, modality = dataset.groups, dataset.known_modality
    for i, stored in _stored(dataset.data, dataset.count, indices):
        with _quiet():
            values, low, high, rule = dataset.intensities(stored, i)
        if dataset.note not in rule:
            rule += dataset.note
        yield Decoded(
            locator=f"frame:{i}" if dataset.count > 1 else "",
            values=np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("=")),
            low=low,
            high=high,
            rule=rule,
            modality=modality,
            seconds=None if step is None or dataset.count == 1 else round(i * step, 4),
            groups=groups,
        )


def _series(dataset: "_Dataset", options: DecodeOptions, locators: Collection[str] | None) -> Series | None:
    """The volume that a file is a slice of, where planes across its slices are asked for."""
    if not _is_across(dataset, options, locators):
        return None
    series = series_of(dataset.source)
    return None if series is None or _axes(options, locators) <= {series.axis} else series


def _is_across(dataset: "_Dataset", options: DecodeOptions, locators: Collection[str] | None) -> bool:
    """Whether planes across the slices of a series may be asked for."""
    # By default every file stays one frame, and no folder is looked through.
    is_default = locators is None and options.axes == DecodeOptions().axes
    return dataset.count == 1 and bool(_axes(options, locators)) and not is_default


def _axes(options: DecodeOptions, locators: Collection[str] | None) -> set[str]:
    if locators is None:
        return set(options.axes)
    return {locator.partition(":")[0] for locator in locators} & AXES.keys()


def _volume(dataset: "_Dataset", series: Series, options: DecodeOptions) -> Volume:
    """The slices of a series with one rule.

    Where all share one linear scale, values stay as stored; else each slice is shown as it is by itself.
    """
    # Headers are kept, for the scales of all slices decide how any of them is shown.
    parts: dict[str, _Dataset] = {}

    def stored(source: Source) -> Values:
        part = _Dataset(source, options)
        parts[name_on_shelf(source)] = part
        return part.first()

    first = dataset.first()
    voxels = stacked(series, series.sources(), stored, first)
    scales = {part.scale for part in parts.values()}
    if len(scales) == 1 and dataset.scale is not None:
        mask = padding(dataset.data, voxels)
        low, high, rule = dataset.rule_of(voxels if mask is None else voxels[~mask])
        voxels = voxels if mask is None else blacked(voxels, low, high, mask)
    else:

        def shown(source: Source) -> Values:
            part = parts[name_on_shelf(source)]
            values, low, high, _ = part.intensities(part.first(), 0)
            return blacked(((values[..., 0] - low) / (high - low)).clip(0, 1).astype(np.float32), 0.0, 1.0)

        voxels = stacked(series, (part.source for part in parts.values()), shown, first.astype(np.float32))
        low, high, rule = 0.0, 1.0, dataset.intensities(first, 0)[3]
    turned, note = oriented(blacked(voxels, low, high), series.affine)
    return Volume(
        voxels=turned[..., None],
        low=low,
        high=high,
        rule=f"{rule}{note}{series.note}",
        modality=dataset.known_modality,
    )


class _Dataset:
    """An opened file: what its frames share, modality, identifiers, and the scale of their values."""

    def __init__(self, source: Source, options: DecodeOptions) -> None:
        self.source, self.note = source, ""
        self.data = data = _opened(source)
        self.count = _checked(data)
        self.modality = str(data.get("Modality", ""))
        self.known_modality = self.modality if self.modality in MODALITIES else None
        self.kind = str(data.get("PhotometricInterpretation", ""))
        identifiers = {name: str(data.get(tag, "")).strip() for name, tag in IDENTIFIERS.items()}
        self.groups = {name: value for name, value in identifiers.items() if value}
        self.greys = Greys(data=data, modality=self.modality, window=options.window, shared=self._limits)

    def first(self) -> Values:
        """The first frame as stored, (h, w)."""
        ((_, values),) = _stored(self.data, self.count, [0])
        return values

    @property
    def scale(self) -> tuple[float, float] | None:
        """Slope and intercept of a grey image without tables, else None."""
        tables = any(self.data.get(name) for name in ("ModalityLUTSequence", "VOILUTSequence"))
        is_sigmoid = self.data.get("VOILUTFunction", "") == "SIGMOID"
        return None if tables or is_sigmoid or self.kind not in GREYS else scaling(self.data, 0)

    def rule_of(self, values: Values) -> Limits:
        """The rule of many values of frames like the first one, in stored units; only linear ones."""

        def measured() -> Limits:
            spread = Spread(values.size)
            spread.add(values, *scaling(self.data, 0))
            return spread.percentiles()

        _, low, high, rule = replace(self.greys, shared=measured).frame(self.first(), 0)
        return (high, low, f"{rule}, inverted") if self.kind == "MONOCHROME1" else (low, high, rule)

    def intensities(self, values: Values, i: int) -> tuple[Values, float, float, str]:
        """Values (h, w, c), what becomes 0 and 1, and the rule."""
        if self.kind == "PALETTE COLOR":
            values = _coloured(self.data, values)
            return values, *depth_rule(values)
        # Colour has no window: its full range is what the file means.
        if values.ndim == 3:
            bits = _whole(self.data, "BitsStored", values.dtype.itemsize * 8)
            return values, 0.0, float(2**bits - 1), depth_rule(values, bits)[2]

        mask = padding(self.data, values)
        values, low, high, rule = self.greys.frame(values, i)
        if self.kind == "MONOCHROME1":
            low, high, rule = high, low, f"{rule}, inverted"
        # Padding is black whichever way the values are shown.
        values = blacked(values, low, high)
        if mask is not None:
            values = blacked(values, low, high, mask)
        return values[..., None], low, high, rule

    def _limits(self) -> Limits:
        """Percentiles of the rescaled values of all frames; of a single one, those of its series."""
        shelf = shelf_of(self.source)
        note = ""
        if self.count == 1 and shelf is not None:
            files = scale_files(self.source)
            if len(files) > 1:
                return _series_limits(shelf, files)
            note = f", {UNASSEMBLED}" if is_among_too_many(self.source) else ""
        low, high, rule = remembered(self.source, ("dicom",), self._measured)
        return low, high, rule + note

    def _measured(self) -> Limits:
        spread = Spread(self.values)
        self.add_to(spread)
        return spread.percentiles()

    @property
    def values(self) -> int:
        """How many all frames together have."""
        return self.count * _whole(self.data, "Columns", 0) * _whole(self.data, "Rows", 0)

    def add_to(self, spread: Spread) -> None:
        """Take all frames into a rule."""
        for i, values in _stored(self.data, self.count, range(self.count)):
            with _quiet():
                add_frame(spread, self.data, values, i)


@lru_cache(maxsize=64)
def _series_limits(shelf: Shelf, files: tuple[str, ...]) -> Limits:
    """Percentiles of several files; those that cannot be decoded have no part, and say why themselves."""
    spread: Spread | None = None
    for source in shelf.again(files):
        try:
            part = _Dataset(source, DecodeOptions())
            spread = spread or Spread(part.values * len(files))
            part.add_to(spread)
        except MemoryError:
            raise
        except Exception:
            continue
    if spread is None:
        raise InputError("holds only values that are not finite")
    return spread.percentiles()


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning and no log line: they quote attributes."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _opened(source: Source) -> Dataset:
    with source.open() as stream:
        # pydicom would unpack a bomb as a whole.
        _check_inflated(stream)
        stream.seek(0)
        data = pydicom.dcmread(stream, force=True)
    meta = getattr(data, "file_meta", FileMetaDataset())
    if "TransferSyntaxUID" not in meta:
        implicit, little = data.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
        data.file_meta = meta
    return data


def _check_inflated(stream: BinaryIO) -> None:
    """A deflated dataset is unpacked once, piece by piece and thrown away, before pydicom unpacks it as a
    whole.
    """
    head = stream.read(4096)
    if uid.DeflatedExplicitVRLittleEndian.encode() not in head or head[128:136] != b"DICM\x02\x00\x00\x00":
        return
    stream.seek(144 + int.from_bytes(head[140:144], "little"))
    unpack, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while piece := unpack.unconsumed_tail or stream.read(1 << 16):
        total += len(unpack.decompress(piece, 1 << 24))
        if total > MAX_BYTES // 4:
            raise InputError(f"unpacks to more than the limit of {MAX_BYTES >> 22} MiB")


def _checked(data: Dataset) -> int:
    """The number of frames of a picture whose declared size is within the limits."""
    if (
        "DirectoryRecordSequence" in data
        or data.get("MediaStorageSOPClassUID", "") == uid.MediaStorageDirectoryStorage
    ):
        raise InputError(
            "is a DICOMDIR, the table of contents of a DICOM folder; "
            "the images it lists are read by themselves"
        )
    # Some reports carry the modality of the study, so their content is looked at first.
    kind = "DOC" if "EncapsulatedDocument" in data else str(data.get("Modality", ""))
    pixels = [name for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in data]
    if kind in OTHERS and (kind != "ECG" or not pixels):
        raise InputError(f"is DICOM that holds {OTHERS[kind]}, no picture{REMEDIES.get(kind, '')}")
    # Reports, plans and contours are datasets without pixels.
    if len(pixels) != 1 or "Rows" not in data or "Columns" not in data:
        raise InputError("is no DICOM image: it has no pixels")
    syntax = data.file_meta.TransferSyntaxUID
    if syntax not in NATIVE | COMPRESSED | {uid.RLELossless}:
        name = syntax.name if syntax.name != str(syntax) else "unknown"
        raise InputError(f"has pixels in the transfer syntax {name}, which no decoder knows")
    samples, kind = _whole(data, "SamplesPerPixel", 1), str(data.get("PhotometricInterpretation", ""))
    if (samples, kind in COLOURS, kind in GREYS or kind == "PALETTE COLOR") not in (
        (3, True, False),
        (1, False, True),
    ):
        raise InputError(
            f"has {samples} samples a pixel and a photometric interpretation that does not go with them"
        )
    check_size(width := _whole(data, "Columns", 0), height := _whole(data, "Rows", 0))
    count = _whole(data, "NumberOfFrames", 1)
    check_frames(count)
    if syntax in NATIVE:
        _check_length(data, pixels[0], count * width * height * samples, kind)
    if syntax in COMPRESSED:
        check_codestreams(data.PixelData, count, width, height, samples)
    return count


def _check_length(data: Dataset, pixels: str, values: int, kind: str) -> None:
    """Pixels that are stored plainly are all there."""
    stored = values * _whole(data, "BitsAllocated", 8) // 8
    declared = stored * 2 // 3 if kind == "YBR_FULL_422" else stored
    present = len(data[pixels].value)
    if present < declared:
        raise InputError(f"is cut: it declares {declared} bytes of pixels and holds {present}")


def _whole(data: Dataset, name: str, default: int) -> int:
    value = data.get(name)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InputError(f"has no whole number as {name}") from None


def _frame_time(data: Dataset) -> float | None:
    """Seconds between two frames of a cine loop."""
    # FrameTime is in milliseconds (PS3.3 C.7.6.5), CineRate in frames a second.
    if (milliseconds := number(data.get("FrameTime"))) is not None and milliseconds > 0:
        return milliseconds / 1000
    rate = number(data.get("CineRate"))
    return 1 / rate if rate is not None and rate > 0 else None


def _indices(count: int, locators: Collection[str] | None) -> Sequence[int]:
    if locators is None:
        return range(count)
    return [i for i in range(count) if (f"frame:{i}" if count > 1 else "") in locators]


def _stored(data: Dataset, count: int, indices: Sequence[int]) -> Iterator[tuple[int, Values]]:
    """Decoded frames (h, w) or (h, w, 3), one at a time, with one and the same decoder on every machine."""
    syntax = data.file_meta.TransferSyntaxUID
    plugin = PLUGIN if syntax in COMPRESSED else "pydicom" if syntax == uid.RLELossless else ""
    frames = iter_pixels(
        data, indices=indices, decoding_plugin=plugin, allow_excess_frames=False, correct_unused_bits=False
    )
    for i in indices:
        with _quiet():
            values = next(frames, None)
            if values is None:
                raise InputError(f"is cut: it declares {count} frames and holds {i}")
            values = _significant(data, values)
        yield i, values


def _significant(data: Dataset, values: Values) -> Values:
    """The bits of each value that hold the sample, and its sign: others may hold an overlay, and where the
    sample is left-aligned it is shifted.

    Source: PS3.5 8.1.1; GDCM reads alike.
    """
    if values.dtype.kind not in "iu" or data.file_meta.TransferSyntaxUID in LOSSY:
        return values
    # Left to the edge of the word and back: what stood above falls out, and a sign is extended.
    size = values.dtype.itemsize * 8
    stored = _whole(data, "BitsStored", size)
    top = _whole(data, "HighBit", stored - 1) + 1
    if not 1 <= stored <= top <= size:
        top = stored
    if data.file_meta.TransferSyntaxUID in COMPRESSED and not (values >> stored).any():
        top = stored  # a code stream of few bits is right-aligned, whatever the dataset says
    if not 1 <= stored < size:
        return values
    samples: Values = np.right_shift(np.left_shift(values, size - top), size - stored)
    return samples


def _coloured(data: Dataset, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Through the palette, whose entries of 16 bits hold 8: in the upper byte by the standard, in the lower
    one in some files.
    """
    # 65,536 entries do not fit into the 16 bits that count them, and are written as 0.
    entries = int(data.RedPaletteColorLookupTableDescriptor[0]) or 1 << 16
    first = int(data.RedPaletteColorLookupTableDescriptor[1])
    indices = np.arange(entries) + first
    table = apply_color_lut(indices[indices <= np.iinfo(values.dtype).max].astype(values.dtype)[None], data)
    shift = 8 if int(table.max()) > 255 else 0
    return (apply_color_lut(values, data)[..., :3] >> shift).astype(np.uint8)
