"""Which reader reads which file, by ending and by content. A new format is one function and one line in ``READERS``."""

from collections.abc import Collection, Iterator
from importlib import import_module

from optidel.readers.decoded import Decoded, DecodeOptions, Reader, ending
from optidel.readers.raster import read_raster
from optidel.readers.source import Source


def _late(module: str, name: str) -> Reader:
    """A reader whose libraries are imported with the first file that needs them: together they take a second
    at every start.
    """

    def read(source: Source, options: DecodeOptions, wanted: Collection[str] | None) -> Iterator[Decoded]:
        reader: Reader = getattr(import_module(f"optidel.readers.{module}"), name)
        return reader(source, options, wanted)

    return read


read_dicom = _late("dicom", "read_dicom")
read_nifti = _late("nifti", "read_nifti")
read_npy = _late("arrays", "read_npy")
read_npz = _late("arrays", "read_npz")
read_tiff = _late("tiff", "read_tiff")
read_video = _late("video", "read_video")

READERS: dict[str, Reader] = {
    ".avi": read_video,
    ".bmp": read_raster,
    ".dcm": read_dicom,
    ".dicom": read_dicom,
    ".gif": read_raster,
    ".ima": read_dicom,
    ".jpeg": read_raster,
    ".jpg": read_raster,
    ".m4v": read_video,
    ".mkv": read_video,
    ".mov": read_video,
    ".mp4": read_video,
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".npy": read_npy,
    ".npz": read_npz,
    ".png": read_raster,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".webm": read_video,
    ".webp": read_raster,
}

RASTER = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Endings of pictures that hold one frame, as labelled sets are made of."""

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", ".dcm"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"BM", ".bmp"),
    (0, b"GIF8", ".gif"),
    (8, b"WEBP", ".webp"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (344, b"n+1\0", ".nii"),
    (4, b"n+2\0", ".nii"),
    (0, b"\x93NUMPY", ".npy"),
)
"""Offset and bytes by which a file without a known ending is recognised."""


def reader_for(source: Source) -> Reader | None:
    """The reader of a file by its ending, else by its first bytes (DICOM files often have no ending); None
    where neither is known.
    """
    if (known := READERS.get(ending(source.name))) is not None:
        return known
    with source.open() as stream:
        head = stream.read(512)
    return next(
        (READERS[name] for offset, magic, name in SIGNATURES if head[offset : offset + len(magic)] == magic),
        None,
    )
