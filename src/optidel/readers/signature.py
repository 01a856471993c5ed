"""What a file is by its first bytes: a picture under another ending is still a picture."""

import re
import zlib

from optidel.readers.source import Source

HEAD = 1024
"""Bytes that are looked at: DICOM's mark lies at 128, NIfTI's at 344, the third packet of MPEG-TS at 376."""

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", ".dcm"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"GIF8", ".gif"),
    (8, b"WEBP", ".webp"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (0, b"II+\0", ".tif"),
    (0, b"MM\0+", ".tif"),
    (344, b"n+1\0", ".nii"),
    (4, b"n+2\0", ".nii"),
    (344, b"ni1\0", ".hdr"),
    (4, b"ni2\0", ".hdr"),
    (0, b"\x93NUMPY", ".npy"),
    (0, b"NRRD000", ".nrrd"),
    (0, b"\0\0\0\x0cjP  \r\n", ".jp2"),
    (0, b"\xff\x4f\xff\x51", ".j2k"),
    (8, b"AVI ", ".avi"),
    (0, b"\x1a\x45\xdf\xa3", ".mkv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wmv"),
    (0, b"\0\0\x01\xba", ".mpg"),
    (0, b"OggS", ".ogv"),
    (0, b"\x89HDF\r\n\x1a\n", ".h5"),
    (0, b"%PDF-", ".pdf"),
    (0, b"FLV\x01", ".flv"),
    (0, b"\xff\x0a", ".jxl"),
    (0, b"\0\0\0\x0cJXL ", ".jxl"),
    (0, b"7z\xbc\xaf\x27\x1c", ".7z"),
    (0, b"Rar!\x1a\x07", ".rar"),
)
"""Offset, bytes, and the ending that goes with them."""

BRANDS = {b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic", b"msf1": ".heic", b"hevc": ".heic"}
BRANDS |= {b"avif": ".avif", b"avis": ".avif"}
"""Brands of an ISO media file that are no video."""

BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Sizes of the second header of a BMP: two letters alone begin many a text."""

META_IMAGE = re.compile(rb"\s*(ObjectType|NDims|Comment)\s*=")
PACKET, LONG_PACKET = 188, 192
"""Bytes of a packet of MPEG-TS, and with the time stamp of a camera's card in front."""


def kind_of(source: Source) -> str:
    """The ending that a file's contents ask for; empty where the first bytes say nothing.

    A packed file is what is inside: ``.nii.gz`` for NIfTI, ``.gz`` for all else.
    """
    with source.open() as stream:
        head = stream.read(HEAD)
    if head.startswith(b"\x1f\x8b"):
        return ".nii.gz" if _kind(_unpacked(head)) == ".nii" else ".gz"
    return _kind(head)


def _kind(head: bytes) -> str:
    for offset, magic, name in SIGNATURES:
        if head[offset : offset + len(magic)] == magic:
            return name
    # One container for film and stills; the brand tells.
    if head[4:8] == b"ftyp":
        return BRANDS.get(head[8:12], ".mp4")
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BITMAP_HEADERS:
        return ".bmp"
    if META_IMAGE.match(head):
        return ".mha"
    # MPEG-TS has no header: its packets begin alike.
    if _are_packets(head[::PACKET]) or _are_packets(head[4::LONG_PACKET]):
        return ".ts"
    return ""


def _are_packets(first: bytes) -> bool:
    return len(first) > 4 and first.count(b"G") == len(first)  # the sync byte of a packet is 0x47


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD)
    except zlib.error:
        return b""
